"""crc32c as Cloud Storage states it: base64 of its four bytes, big-endian."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final

import google_crc32c

_PIECE_BYTES: Final = 1 << 20


def stated(crc32c: int) -> str:
    """Return a checksum as base64."""
    return base64.b64encode(crc32c.to_bytes(4, "big")).decode()


def crc32c_of(data: bytes) -> str:
    """Return the crc32c of bytes in memory, as base64."""
    return stated(google_crc32c.value(data))


def crc32c_of_file(path: Path) -> str:
    """Return the crc32c of a file, as base64; the file is read in pieces.

    Raises:
        OSError: the file cannot be read.
    """
    checksum = 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE_BYTES):
            checksum = google_crc32c.extend(checksum, piece)
    return stated(checksum)
