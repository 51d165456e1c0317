"""The skeleton of a JPEG: its frame, its scans, and the damage that decoders pass over in silence.

Pure; every loop has an end, and pixels stay encoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from worker.errors import CorruptOriginal, OriginalTooLarge, UnsupportedFormat

MAX_SCANS = 100
"""Passes of a JPEG over its pixels. Encoders write 10 (libjpeg's script for progressive files);
880 over 17 megapixels cost 5 CPU seconds (measured). NVIDIA's nvImageCodec stops at 256, after the
same finding in an audit of libjpeg-turbo."""

_MAX_SEGMENTS = 100_000
"""A JPEG has a few dozen."""

# A marker except stuffed zeros, restarts and TEM, which belong to a scan's data. It begins with
# one literal byte, which the search can skip to: with `\xff+` it takes twelve times as long.
_MARKER = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd7])")
_TABLES, _START, _END, _SCAN, _RESTARTS = 0xC4, 0xD8, 0xD9, 0xDA, 0xDD
_EOI = b"\xff\xd9"
_FILL = b"\xff"
# Zeros before a restart marker, but not the stuffed one that belongs to a 0xff.
_PADDING = re.compile(rb"(?:(?<=[^\xff\x00])|(?<=\xff\x00))\x00+(?=\xff[\xd0-\xd7])")
_APP1, _APP2 = 0xE1, 0xE2
_FRAMES = {*range(0xC0, 0xD0)} - {_TABLES, 0xC8, 0xCC}
_SEQUENTIAL = {0xC0, 0xC1}
_PROGRESSIVE = {0xC2, 0xCA}
_ARITHMETIC = {0xC9, 0xCA}
_OTHER_PROCESSES = {
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "a hierarchical JPEG"),
    0xCB: "a lossless JPEG in arithmetic coding",
    0xF7: "a JPEG-LS",
}

_WHOLE_SPECTRUM = b"\x00\x3f\x00"
"""The end of a sequential scan's header: all coefficients, at once."""

_HOLE = bytes(256)
"""More than a block of any kind takes, several times over."""

_SPARE_ZEROS = 3
"""Zeros that may belong to the last blocks: a stuffed one, and two of flat colours."""

_MOST_COMPONENTS = 4

_BITS = 8


@dataclass(slots=True)
class Skeleton:
    """What a walk finds; sizes in pixels.

    `mends` are places of a few bytes that must be others for a decoder to read the file without a
    warning: in silence it can be told when something is wrong.
    """

    width: int = 0
    height: int = 0
    scans: int = 0
    profile_bytes: int = 0
    metadata_bytes: int = 0
    mends: list[tuple[int, bytes]] = field(default_factory=list)


def walk_jpeg(data: bytes) -> Skeleton:
    """Up to the first end of an image: what follows (previews, gain maps, films) is another.

    An end that is missing, or stands behind zeros, is mended: the decoder then tells whether the
    rows before it are all there.

    Raises:
        CorruptOriginal: it ends before its last scan, or pixels are missing in its midst.
        UnsupportedFormat: a kind of JPEG that the decoders here cannot read.
        OriginalTooLarge: segments without an end.
    """
    found = Skeleton()
    tables = _JpegTables()
    at = 2
    for _ in range(_MAX_SEGMENTS):
        marker = _MARKER.search(data, at)
        end = marker.start() if marker else len(data)
        hole = data.find(_HOLE, at, end) if tables.tell_holes else -1
        if hole >= 0 and data.count(b"\0", hole, end) < end - hole:
            raise CorruptOriginal("zeros in the midst of its pixels")
        tables.check_restarts(data, at, end)
        if found.scans > MAX_SCANS:
            return found
        if marker is None or marker[1][0] == _END or (marker[1][0] == _START and found.scans):
            whole = marker is not None and marker[1][0] == _END
            if not whole and not tables.complete:
                raise CorruptOriginal(f"the file ends without a JPEG's end, at byte {end:,}")
            place = _end_of_pixels(data, at, end)
            if not whole or place < end:
                found.mends.append((place, _EOI))
            return found
        if not found.scans and marker.start() > at:
            # Bytes between segments are harmless there; behind pixels the same warning is damage.
            found.mends.append((at, _FILL * (marker.start() - at)))
        at = marker.end()
        if marker[1][0] != _START:
            length = max(2, int.from_bytes(data[at : at + 2], "big"))
            content = data[at + 2 : at + length]
            _segment(marker[1][0], content, found)
            tables.take(marker[1][0], content)
            at += length
            if tables.scan_is_odd:
                # Some Samsung phones write 00 00 00, and libjpeg warns (libvips#2309).
                found.mends.append((at - 3, _WHOLE_SPECTRUM))
    raise OriginalTooLarge(f"more than {_MAX_SEGMENTS:,} segments")


def _end_of_pixels(data: bytes, start: int, end: int) -> int:
    """Where an end belongs: before the zeros of an interrupted copy, and before half an end."""
    if end == len(data) and end > start and data[end - 1 :] == _FILL:
        return end - 1
    pixels = len(data[start:end].rstrip(b"\0"))
    return start + min(pixels + _SPARE_ZEROS, end - start)


def padding_mends(data: bytes) -> list[tuple[int, bytes]]:
    """Fill bytes in place of zeros before restart markers, as webcams write them."""
    return [(run.start(), _FILL * len(run[0])) for run in _PADDING.finditer(data)]


def _segment(code: int, content: bytes, found: Skeleton) -> None:
    if code == _SCAN:
        count = content[0] if content else 0
        if not 1 <= count <= _MOST_COMPONENTS or len(content) != 4 + 2 * count:
            raise CorruptOriginal(f"a scan's header of {len(content)} bytes for {count} components")
        found.scans += 1
    elif code in _OTHER_PROCESSES and not found.width:
        raise UnsupportedFormat(f"{_OTHER_PROCESSES[code]}, which is not read")
    elif code in _FRAMES and not found.width:
        if len(content) < 6 or len(content) != 6 + 3 * content[5]:  # noqa: PLR2004
            raise CorruptOriginal(f"a frame's header of {len(content)} bytes")
        if content[0] != _BITS:
            raise UnsupportedFormat(f"a JPEG of {content[0]} bits a sample, not of {_BITS}")
        found.height = int.from_bytes(content[1:3], "big")
        found.width = int.from_bytes(content[3:5], "big")
        if not found.height:
            raise UnsupportedFormat("a JPEG that tells its height after its pixels (DNL)")
    elif code == _APP1:
        found.metadata_bytes += len(content)
    elif code == _APP2 and content.startswith(b"ICC_PROFILE\0"):
        found.profile_bytes += len(content)


class _JpegTables:
    """What the segments so far say of the scan that follows.

    Zeros are the first code of a Huffman table. In tables made for one picture it may be "end of
    block", and zeros then are flat blocks, of which a picture can have any number. In the table
    that cameras use for brightness it is a coefficient of -1: a photo does
    not have 63 of them in block after block. So only that table (`tell_holes`) tells zeros where a
    copy was interrupted.
    """

    def __init__(self) -> None:
        self.tell_holes = False
        self.scan_is_odd = False
        self._sequential = False
        self._first: dict[int, int] = {}
        self._size = (0, 0)
        self._sampling: dict[int, tuple[int, int]] = {}
        self._interval = 0
        self._restarts: int | None = None
        self._frame = 0
        # The coefficients of each component that no scan so far has told to the last bit.
        self._missing: dict[int, set[int]] = {}

    @property
    def complete(self) -> bool:
        """Whether a decoder can tell that all is there, should the file end with this scan.

        In arithmetic coding it cannot: there zeros are left out at the end of each scan.
        """
        return (
            bool(self._missing)
            and not any(self._missing.values())
            and self._frame not in _ARITHMETIC
        )

    def take(self, code: int, content: bytes) -> None:
        """The next segment; `tell_holes`, `scan_is_odd` and the restarts are of what follows it."""
        self.tell_holes = self.scan_is_odd = False
        self._restarts = None
        if code in _FRAMES:
            self._take_frame(code, content)
        elif code == _TABLES:
            at = 0
            while at + 17 < len(content):
                self._first[content[at]] = content[at + 17]
                at += 17 + sum(content[at + 1 : at + 17])
        elif code == _RESTARTS:
            self._interval = int.from_bytes(content[:2], "big")
        elif code == _SCAN:
            components = content[1 : 1 + 2 * content[0]]
            self._restarts = self._expected_restarts(components[::2])
            first, last, bits = content[-3:]
            for each in components[::2]:
                if self._frame not in _PROGRESSIVE:
                    self._missing[each] = set()
                elif not bits & 15:
                    self._missing[each] = self._missing.get(each, set()) - {*range(first, last + 1)}
            if self._sequential:
                used = {0x10 | which & 0x0F for which in components[1::2]}
                self.tell_holes = any(self._first.get(table) for table in used)
                self.scan_is_odd = content[-3:] != _WHOLE_SPECTRUM

    def _take_frame(self, code: int, content: bytes) -> None:
        self._frame = code
        self._missing = {each: {*range(64)} for each in content[6::3]}
        self._sequential = code in _SEQUENTIAL
        self._size = int.from_bytes(content[3:5], "big"), int.from_bytes(content[1:3], "big")
        # Of a lossless frame the units are pixels, not blocks.
        dct = self._sequential or code in {0xC2, 0xC9, 0xCA}
        self._sampling = {
            content[at]: (content[at + 1] >> 4, content[at + 1] & 15)
            for at in range(6, len(content) - 2, 3)
            if dct
        }

    def _expected_restarts(self, components: bytes) -> int | None:
        """How many markers belong into the scan; None where that is not known."""
        factors = [self._sampling.get(each, (0, 0)) for each in components]
        if not self._interval or not factors or not all(h and v for h, v in factors):
            return None
        most_h, most_v = (max(each[axis] for each in self._sampling.values()) for axis in (0, 1))
        # A scan of one component counts its own blocks, not those that fill up the last unit.
        own_h, own_v = factors[0] if len(factors) == 1 else (1, 1)
        across = -(-self._size[0] * own_h // (8 * most_h))
        down = -(-self._size[1] * own_v // (8 * most_v))
        return -(-across * down // self._interval) - 1

    def check_restarts(self, data: bytes, start: int, end: int) -> None:
        """Whether rows are missing, or there twice: a decoder sees only seven of eight such holes.

        They are numbered from 0 to 7, so that the count of one of them tells; one more at the very
        end is harmless.

        Raises:
            CorruptOriginal
        """
        if self._restarts is None:
            return
        found = data.count(b"\xff\xd0", start, end)
        if found not in {-(-self._restarts // 8), -(-(self._restarts + 1) // 8)}:
            raise CorruptOriginal(
                f"parts of its pixels are missing or there twice: {found:,} of its restart markers "
                f"are number 0, of {self._restarts:,} in all"
            )
