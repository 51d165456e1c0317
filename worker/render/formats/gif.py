"""The skeleton of a GIF: its frames, and whether the first is all there. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from worker.errors import CorruptOriginal, OriginalTooLarge

_IMAGE, _EXTENSION, _TRAILER = b"\x2c", b"\x21", b"\x3b"
_SPARE_ZEROS = 8
_MAX_PARTS = 300_000
_CODE_MAX_BITS = 12
_MAX_CODE_BYTES = 4 << 20
"""Read code by code, which takes a second; a larger damaged GIF is corrupt."""


@dataclass(slots=True)
class Frames:
    """What a walk finds; sizes in pixels.

    `first` is the rectangle (left, top, width, height) of the first frame, where that is less than
    the whole, and `codes` where its codes begin and how many pixels they have to make. `mends`
    write a trailer where the file is junk behind its first frame.
    """

    width: int = 0
    height: int = 0
    frames: int = 0
    first: tuple[int, int, int, int] | None = None
    codes: tuple[int, int] = 0, 0
    mends: list[tuple[int, bytes]] = field(default_factory=list)


def walk_gif(data: bytes, most_frames: int) -> Frames:
    """To the trailer; a file without one is whole if it ends between two blocks.

    Only the first frame is rendered, so it alone has to be whole: behind it a file may be damaged.

    Raises:
        CorruptOriginal: the first frame is not all there.
        OriginalTooLarge: blocks without an end.
    """
    width, height, flags = struct.unpack("<HHB", data[6:11].ljust(5, b"\0"))
    found = Frames(width=width, height=height)
    at = 13 + _table_bytes(flags)
    for _ in range(_MAX_PARTS):
        ended = found.frames and data[at : at + 1] in {_TRAILER, b""}
        if ended or found.frames > most_frames:
            return found
        try:
            at = _after(data, at, found)
        except CorruptOriginal:
            # Zeros where a copy was interrupted look like the end of a frame, too.
            if not found.frames or not _has_pixels(data, *found.codes):
                raise
            found.mends.append((at, _TRAILER))
            return found
    raise OriginalTooLarge(f"more than {_MAX_PARTS:,} GIF blocks")


def _after(data: bytes, at: int, found: Frames) -> int:
    """Where the next block begins, behind the one at `at`."""
    kind = data[at : at + 1]
    if kind == _IMAGE:
        left, top, width, height, flags = struct.unpack(
            "<HHHHB", data[at + 1 : at + 10].ljust(9, b"\0")
        )
        codes_at = at + 10 + _table_bytes(flags)
        behind = _after_blocks(data, codes_at + 1)
        if not found.frames:
            found.codes = codes_at, width * height
            if left or top or width < found.width or height < found.height:
                found.first = left, top, width, height
        # A frame may be larger than the screen that the file claims to be for.
        found.width = max(found.width, left + width)
        found.height = max(found.height, top + height)
        found.frames += 1
        return behind
    if kind == _EXTENSION:
        return _after_blocks(data, at + 2)
    if not found.frames:
        raise CorruptOriginal("a GIF without a frame")
    if kind == b"\0" and any(data[at : at + _SPARE_ZEROS]):
        return at + 1  # some writers end their blocks twice
    raise CorruptOriginal(f"no block of a GIF begins at byte {at:,}")


def _table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    for _ in range(_MAX_PARTS):
        if at >= len(data):
            raise CorruptOriginal(f"the file ends inside a GIF block, at byte {len(data):,}")
        size = data[at]
        at += 1 + size
        if size == 0:
            return at
    raise OriginalTooLarge(f"more than {_MAX_PARTS:,} GIF blocks")


def _has_pixels(data: bytes, at: int, wanted: int) -> bool:
    """Whether a frame's codes stand for so many pixels; `at` is where it tells their width.

    Of the dictionary only the length of each entry is needed.
    """
    least_bits = data[at]
    if not 1 <= least_bits < _CODE_MAX_BITS:
        return False
    clear = 1 << least_bits
    lengths, size = [1] * (clear + 2), least_bits + 1
    held = bits = pixels = previous = 0
    codes = _codes(data, at + 1)
    if len(codes) > _MAX_CODE_BYTES:
        return False
    for byte in codes:
        held |= byte << bits
        bits += 8
        while bits >= size:
            code = held & (1 << size) - 1
            held >>= size
            bits -= size
            if code == clear:
                del lengths[clear + 2 :]
                size, previous = least_bits + 1, 0
                continue
            if previous and len(lengths) < 1 << _CODE_MAX_BITS:
                lengths.append(previous + 1)
            if code == clear + 1 or code >= len(lengths):
                return False
            previous = lengths[code]
            pixels += previous
            if pixels >= wanted:
                return True
            if len(lengths) == 1 << size and size < _CODE_MAX_BITS:
                size += 1
    return False


def _codes(data: bytes, at: int) -> bytes:
    """The bytes of a frame's blocks, joined."""
    pieces = []
    while at < len(data) and data[at]:
        pieces.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return b"".join(pieces)
