"""The boxes of AVIF and HEIC: whether all of the picture is in the file, and its colour numbers.

libheif draws a photo of grey tiles from the first tenth of a file, and says nothing. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from worker.errors import CorruptOriginal

_MAX_BOXES = 100_000
_ESSENTIAL = {b"ftyp", b"meta", b"mdat", b"moov", b"idat"}


@dataclass(slots=True)
class Boxes:
    """What the boxes say of colour: `nclx` is primaries and transfer (ISO/IEC 23091-2)."""

    nclx: tuple[int, int] | None = None
    profile_bytes: int = 0


def walk_boxes(data: bytes) -> Boxes:
    """Walk a whole file.

    Raises:
        CorruptOriginal: a box that holds the picture, or a part of an item, is not all there.
    """
    found = Boxes()
    for kind, start, end in _boxes(data, 0, len(data)):
        if end > len(data):
            if kind in _ESSENTIAL:
                raise CorruptOriginal(
                    f"the file ends at byte {len(data):,}, inside its box {kind!r} up to {end:,}"
                )
            break  # what phones append after the last box
        if kind == b"meta":
            for inner, inner_start, inner_end in _boxes(data, start + 4, end):
                if inner == b"iloc":
                    _check_extents(data, inner_start, min(inner_end, end))
                elif inner == b"iprp":
                    _properties(data, inner_start, min(inner_end, end), found)
    return found


def _boxes(data: bytes, at: int, limit: int) -> Iterator[tuple[bytes, int, int]]:
    """Each box's kind, where its content starts, and where it claims to end."""
    for _ in range(_MAX_BOXES):
        if at + 8 > limit:
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if size == 1 and at + 16 <= limit:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
            start = at + 16
        end = limit if size == 0 else at + size
        if end < start:
            return
        yield kind, start, end
        at = end


def _properties(data: bytes, start: int, end: int, found: Boxes) -> None:
    for kind, at, until in _boxes(data, start, end):
        if kind != b"ipco":
            continue
        for name, inner, inner_end in _boxes(data, at, min(until, end)):
            if name != b"colr":
                continue
            if data[inner : inner + 4] == b"nclx" and found.nclx is None:
                primaries, transfer = struct.unpack(">HH", data[inner + 4 : inner + 8].ljust(4))
                found.nclx = primaries, transfer
            elif data[inner : inner + 4] in {b"prof", b"rICC"}:
                found.profile_bytes += inner_end - inner


def _check_extents(data: bytes, start: int, end: int) -> None:
    """Walk an `iloc` box (ISO/IEC 14496-12, 8.11.3)."""
    box = data[start:end]
    version = box[0] if box else 0
    sizes = int.from_bytes(box[4:6], "big")
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    wide = 4 if version > 1 else 2
    at = 6 + wide
    for _ in range(int.from_bytes(box[6:at], "big")):
        at += wide
        in_file = not version or box[at + 1 : at + 2] in {b"\0", b""}
        at += (2 if version else 0) + 2
        base = int.from_bytes(box[at : at + base_size], "big")
        at += base_size + 2
        for _ in range(int.from_bytes(box[at - 2 : at], "big")):
            at += index_size
            offset = base + int.from_bytes(box[at : at + offset_size], "big")
            at += offset_size
            length = int.from_bytes(box[at : at + length_size], "big")
            at += length_size
            if at > len(box):
                raise CorruptOriginal("its table of items ends early")
            if in_file and offset + length > len(data):
                raise CorruptOriginal(
                    f"the file ends at byte {len(data):,}, a part of it at {offset + length:,}"
                )
