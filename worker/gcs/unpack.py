"""Unpacking: originals that lie gzipped in their bucket (`Content-Encoding: gzip`)."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

from worker.errors import CorruptOriginal

_PIECE_BYTES = 1 << 20
_GZIP = b"\x1f\x8b"


def unpack(file: Path, check_bytes: Callable[[int], None]) -> None:
    """Unpack a gzipped file in place; one that is none, whatever its encoding says, stays as it is.

    `check_bytes` gets the size reached so far, and refuses too large a one by an exception.

    Raises:
        CorruptOriginal: it ends early or cannot be unpacked.
    """
    unpacked = file.with_name(f"{file.name}-unpacked")
    size_bytes = 0
    try:
        with file.open("rb") as packed:
            if packed.read(len(_GZIP)) != _GZIP:
                return
        with gzip.open(file) as pieces, unpacked.open("wb", buffering=0) as into:
            while piece := pieces.read(_PIECE_BYTES):
                size_bytes += len(piece)
                check_bytes(size_bytes)
                into.write(piece)
        check_bytes(size_bytes)
        unpacked.replace(file)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CorruptOriginal(f"it is stored as gzip, which cannot be unpacked: {error}") from error
    finally:
        unpacked.unlink(missing_ok=True)
