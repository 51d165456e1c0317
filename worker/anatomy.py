"""The skeletons of JPEG, PNG, GIF, WebP, AVIF and HEIC, walked without decoding a pixel.

Decoders forgive much: a JPEG may ask for a thousand passes over its pixels, a profile may inflate
a thousandfold, half a file may make half a photo. What a walk over markers, chunks and
boxes can see of that is seen here, in milliseconds. Pure; every loop has an end.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from worker.boxes import walk_boxes
from worker.errors import CorruptOriginal, OriginalTooLarge
from worker.tiff import directories

MAX_SCANS = 100
"""Passes of a JPEG over its pixels. Encoders write 10 (libjpeg's script for progressive files);
880 over 17 megapixels cost 5 CPU seconds (measured). NVIDIA's nvImageCodec stops at 256, after the
same finding in an audit of libjpeg-turbo."""

MAX_PAGES = 10_000
"""Pages or frames, counted before a decoder builds a table of them."""

MAX_PROFILE_BYTES = 8_000_000
"""A colour profile, inflated: libpng's own limit for a chunk (PNG_USER_CHUNK_MALLOC_MAX)."""

MAX_METADATA_BYTES = 16 << 20
"""EXIF, XMP and text together, inflated; they are read into memory, never rendered."""

_MAX_PARTS = 300_000
"""Chunks or blocks: more are no picture's, and only cost time."""

_MAX_SEGMENTS = 100_000
"""Of a JPEG, which has a few dozen."""


@dataclass(slots=True, kw_only=True)
class Anatomy:
    """What a walk finds; sizes in pixels (0: not looked for), counts at least what a reader sees.

    `nclx` are AVIF's and HEIC's colour numbers: primaries and transfer (ISO/IEC 23091-2).
    """

    width: int = 0
    height: int = 0
    pages: int = 1
    scans: int = 1
    profile_bytes: int = 0
    metadata_bytes: int = 0
    nclx: tuple[int, int] | None = None

    def check(self) -> None:
        """Compare with the limits above.

        Raises:
            OriginalTooLarge: more of something than any picture needs.
        """
        for count, most, what in (
            (self.scans, MAX_SCANS, "scans"),
            (self.pages, MAX_PAGES, "pages or frames"),
            (self.profile_bytes, MAX_PROFILE_BYTES, "bytes of colour profile"),
            (self.metadata_bytes, MAX_METADATA_BYTES, "bytes of metadata"),
        ):
            if count > most:
                raise OriginalTooLarge(f"more than {most:,} {what}")


def dissect(name: str, data: bytes) -> Anatomy:
    """Walk an original of the format `name`.

    Raises:
        CorruptOriginal: it ends before its own skeleton does.
        OriginalTooLarge: see `Anatomy.check`.
    """
    anatomy = Anatomy()
    _WALKS[name](data, anatomy)
    anatomy.check()
    return anatomy


# A marker, but neither a stuffed zero, a restart, nor TEM: those belong to a scan's data. One
# literal byte first, which the search can skip to: with `\xff+` it takes twelve times as long.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd7])")
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_TABLES, _JPEG_START, _JPEG_END, _JPEG_SCAN = 0xC4, 0xD8, 0xD9, 0xDA
_JPEG_APP1, _JPEG_APP2 = 0xE1, 0xE2

_HOLE = bytes(256)
"""More than a block of any kind takes, several times over."""


def _jpeg(data: bytes, anatomy: Anatomy) -> None:
    """Up to the first end of an image: what follows (previews, gain maps, films) is another."""
    anatomy.scans = 0
    tables = _JpegTables()
    at = 2
    for _ in range(_MAX_SEGMENTS):
        marker = _JPEG_MARKER.search(data, at)
        if tables.tell_holes and data.find(_HOLE, at, marker and marker.start()) >= 0:
            raise CorruptOriginal("zeros in the midst of its pixels")
        if marker is None:
            raise CorruptOriginal(f"the file ends without a JPEG's end, at byte {len(data):,}")
        if marker[1][0] == _JPEG_END or anatomy.scans > MAX_SCANS:
            return
        at = marker.end()
        if marker[1][0] != _JPEG_START:
            length = max(2, int.from_bytes(data[at : at + 2], "big"))
            content = data[at + 2 : at + length]
            tables.take(marker[1][0], content)
            _jpeg_segment(marker[1][0], content, anatomy)
            at += length
    raise OriginalTooLarge(f"more than {_MAX_SEGMENTS:,} segments")


def _jpeg_segment(code: int, content: bytes, anatomy: Anatomy) -> None:
    if code == _JPEG_SCAN:
        anatomy.scans += 1
    elif code in _JPEG_FRAMES and not anatomy.width:
        anatomy.height, anatomy.width = struct.unpack(">HH", content[1:5].ljust(4))
    elif code == _JPEG_APP1:
        anatomy.metadata_bytes += len(content)
    elif code == _JPEG_APP2 and content.startswith(b"ICC_PROFILE\0"):
        anatomy.profile_bytes += len(content)


class _JpegTables:
    """Whether zeros in a scan are damage: zeros where a copy was interrupted decode in silence.

    Zeros are the first code of a Huffman table. In tables made for one picture it may be "end of
    block", and zeros then are flat blocks, of which a picture can have any number. In the table
    that cameras use for brightness it is a coefficient of -1: 63 of them in block after block are
    no photo's.
    """

    def __init__(self) -> None:
        self.tell_holes = False
        self._sequential = False
        self._first: dict[int, int] = {}

    def take(self, code: int, content: bytes) -> None:
        """The next segment; `tell_holes` is about what follows it."""
        self.tell_holes = False
        if code in _JPEG_FRAMES:
            self._sequential = code in {0xC0, 0xC1}
        elif code == _JPEG_TABLES:
            at = 0
            while at + 17 < len(content):
                self._first[content[at]] = content[at + 17]
                at += 17 + sum(content[at + 1 : at + 17])
        elif code == _JPEG_SCAN and self._sequential:
            used = {0x10 | which & 0x0F for which in content[2 : 1 + 2 * content[0] : 2]}
            self.tell_holes = any(self._first.get(table) for table in used)


def _png(data: bytes, anatomy: Anatomy) -> None:
    at = 8
    for _ in range(_MAX_PARTS):
        length, kind = struct.unpack(">I4s", data[at : at + 8].ljust(8, b"\0"))
        body, end = at + 8, at + 12 + length
        if end > len(data):
            raise CorruptOriginal(f"the file ends inside a PNG chunk, at byte {len(data):,}")
        if kind == b"IEND":
            return
        _png_chunk(kind, data[body : end - 4] if kind != b"IDAT" else b"", anatomy)
        if max(anatomy.profile_bytes, anatomy.metadata_bytes) > MAX_METADATA_BYTES:
            return
        at = end
    raise OriginalTooLarge(f"more than {_MAX_PARTS:,} PNG chunks")


def _png_chunk(kind: bytes, chunk: bytes, anatomy: Anatomy) -> None:
    if kind == b"IHDR":
        anatomy.width, anatomy.height = struct.unpack(">II", chunk[:8].ljust(8))
    elif kind == b"acTL":
        anatomy.pages = max(1, int.from_bytes(chunk[:4], "big"))
    elif kind == b"iCCP":
        anatomy.profile_bytes += _inflated(chunk, _after_nul(chunk, 0) + 1, MAX_PROFILE_BYTES)
    elif kind in {b"zTXt", b"iTXt"}:
        start = _after_nul(chunk, 0) + 1
        if kind == b"iTXt":  # one byte, a language and a translated keyword more
            start = _after_nul(chunk, _after_nul(chunk, start + 1))
        left = max(0, MAX_METADATA_BYTES - anatomy.metadata_bytes)
        anatomy.metadata_bytes += _inflated(chunk, start, left) + len(chunk)
    elif kind in {b"eXIf", b"tEXt"}:
        anatomy.metadata_bytes += len(chunk)


def _inflated(chunk: bytes, start: int, most: int) -> int:
    """How many bytes the compressed part of a chunk makes, counted to one more than `most`."""
    try:
        return len(zlib.decompressobj().decompress(chunk[start:], most + 1))
    except zlib.error:
        return 0


def _after_nul(chunk: bytes, start: int) -> int:
    return chunk.find(b"\0", start) + 1


def _gif(data: bytes, anatomy: Anatomy) -> None:
    """To the trailer; a file without one is whole if it ends between two blocks."""
    anatomy.width, anatomy.height, flags = struct.unpack("<HHB", data[6:11].ljust(5, b"\0"))
    anatomy.pages = 0
    at = 13 + _gif_table_bytes(flags)
    for _ in range(_MAX_PARTS):
        kind = data[at : at + 1]
        if anatomy.pages > MAX_PAGES:
            return
        if kind == b"\x2c":  # an image
            left, top, width, height, flags = struct.unpack(
                "<HHHHB", data[at + 1 : at + 10].ljust(9, b"\0")
            )
            # A frame may be larger than the screen that the file claims to be for.
            anatomy.width = max(anatomy.width, left + width)
            anatomy.height = max(anatomy.height, top + height)
            anatomy.pages += 1
            at = _after_gif_blocks(data, at + 11 + _gif_table_bytes(flags))
        elif kind == b"\x21":  # an extension
            at = _after_gif_blocks(data, at + 2)
        elif anatomy.pages:
            return
        else:
            raise CorruptOriginal("a GIF without a frame")
    raise OriginalTooLarge(f"more than {_MAX_PARTS:,} GIF blocks")


def _gif_table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_gif_blocks(data: bytes, at: int) -> int:
    for _ in range(_MAX_PARTS):
        if at >= len(data):
            raise CorruptOriginal(f"the file ends inside a GIF block, at byte {len(data):,}")
        size = data[at]
        at += 1 + size
        if size == 0:
            return at
    raise OriginalTooLarge(f"more than {_MAX_PARTS:,} GIF blocks")


def _webp(data: bytes, anatomy: Anatomy) -> None:
    end = int.from_bytes(data[4:8], "little") + 8
    if end & ~1 > len(data):
        raise CorruptOriginal(f"the file has {len(data):,} bytes and claims {end:,}")
    frames = 0
    at = 12
    for _ in range(_MAX_PARTS):
        kind, size = struct.unpack("<4sI", data[at : at + 8].ljust(8, b"\0"))
        if at + 8 > end or not any(kind) or frames > MAX_PAGES:
            anatomy.pages = max(1, frames)
            return
        body = data[at + 8 : at + 18].ljust(10, b"\0")
        if kind == b"ANMF":
            frames += 1
        elif kind == b"ICCP":
            anatomy.profile_bytes += size
        elif kind in {b"EXIF", b"XMP "}:
            anatomy.metadata_bytes += size
        elif kind == b"VP8X":
            anatomy.width = int.from_bytes(body[4:7], "little") + 1
            anatomy.height = int.from_bytes(body[7:10], "little") + 1
        elif kind == b"VP8 " and not anatomy.width:
            width, height = struct.unpack("<HH", body[6:10])
            anatomy.width, anatomy.height = width & 0x3FFF, height & 0x3FFF
        elif kind == b"VP8L" and not anatomy.width:
            packed = int.from_bytes(body[1:5], "little")
            anatomy.width, anatomy.height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
        at += 8 + size + (size & 1)
    raise OriginalTooLarge(f"more than {_MAX_PARTS:,} WebP chunks")


def _tiff(data: bytes, anatomy: Anatomy) -> None:
    anatomy.pages = sum(1 for _ in directories(data, MAX_PAGES))


def _heif(data: bytes, anatomy: Anatomy) -> None:
    boxes = walk_boxes(data)
    anatomy.nclx, anatomy.profile_bytes = boxes.nclx, boxes.profile_bytes


def _none(_data: bytes, _anatomy: Anatomy) -> None:
    """SVG is text; its own room reads it."""


_WALKS: dict[str, Callable[[bytes, Anatomy], None]] = {
    "jpeg": _jpeg,
    "png": _png,
    "webp": _webp,
    "gif": _gif,
    "tiff": _tiff,
    "avif": _heif,
    "heic": _heif,
    "svg": _none,
}
