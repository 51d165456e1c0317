"""The skeletons of JPEG, PNG, GIF, WebP, AVIF and HEIC, walked without decoding a pixel.

Decoders forgive much: a JPEG may ask for a thousand passes over its pixels, a profile may inflate
a thousandfold, half a file may make half a photo. What a walk over markers, chunks and
boxes can see of that is seen here, in milliseconds. Pure; every loop has an end.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from worker.errors import CorruptOriginal, OriginalTooLarge, UnsupportedFormat
from worker.render.formats.boxes import walk_boxes
from worker.render.formats.gif import walk_gif
from worker.render.formats.guard import judged
from worker.render.formats.jpeg import MAX_SCANS, walk_jpeg
from worker.render.formats.stated import PngColour, Stated, by_numbers
from worker.render.formats.tiff_layout import survey_tiff

MAX_PAGES = 10_000
"""Pages or frames, counted before a decoder builds a table of them."""

MAX_PROFILE_BYTES = 8_000_000
"""A colour profile, inflated: libpng's own limit for a chunk (PNG_USER_CHUNK_MALLOC_MAX)."""

MAX_METADATA_BYTES = 16 << 20
"""EXIF, XMP and text together, inflated; libraries read them into memory."""

_MAX_PARTS = 300_000
"""Chunks or blocks; sound pictures have fewer."""


@dataclass(slots=True, kw_only=True)
class Anatomy:
    """What a walk finds; sizes in pixels (0: not looked for), counts at least what a reader sees.

    `stated` is colour by other means than a profile. `narrow` says that codes are of 16 to 235
    and no decoder widens them. `premultiplied` says that the colours of an AVIF or HEIC are
    multiplied with alpha; `chroma` and `coded_bits` are how they are coded (`Header` has them).
    `page` of a TIFF is the one to render, `tiled` how it is stored, `lab` that its bytes are
    CIELAB, and `bands` those that are colours and alpha, where there are others too. `exif` is a
    PNG's, wherever it stands in the file. `frame` is the rectangle (left, top, width, height) that
    a GIF's first frame covers, where that is less than the whole. `mends` are places and what must
    be written there before a decoder reads the file.
    """

    width: int = 0
    height: int = 0
    pages: int = 1
    scans: int = 1
    profile_bytes: int = 0
    metadata_bytes: int = 0
    stated: Stated | None = None
    narrow: bool = False
    premultiplied: bool = False
    chroma: str = ""
    coded_bits: int = 0
    page: int = 0
    tiled: bool = False
    part_rows: int = 0
    lab: bool = False
    bands: tuple[int, ...] = ()
    exif: bytes = b""
    frame: tuple[int, int, int, int] | None = None
    mends: list[tuple[int, bytes]] = field(default_factory=list)

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


@judged
def dissect(name: str, data: bytes) -> Anatomy:
    """Walk an original of the format `name`.

    Raises:
        CorruptOriginal: it ends before its own skeleton does.
        UnsupportedFormat: a variety that the decoders here cannot read, or read wrongly.
        OriginalTooLarge: see `Anatomy.check`.
    """
    anatomy = Anatomy()
    _WALKS[name](data, anatomy)
    anatomy.check()
    return anatomy


def _jpeg(data: bytes, anatomy: Anatomy) -> None:
    found = walk_jpeg(data)
    anatomy.width, anatomy.height, anatomy.scans = found.width, found.height, found.scans
    anatomy.profile_bytes, anatomy.metadata_bytes = found.profile_bytes, found.metadata_bytes
    anatomy.mends = found.mends


def _png(data: bytes, anatomy: Anatomy) -> None:
    colour = PngColour()
    at = 8
    for _ in range(_MAX_PARTS):
        length, kind = struct.unpack(">I4s", data[at : at + 8].ljust(8, b"\0"))
        body, end = at + 8, at + 12 + length
        if end > len(data):
            raise CorruptOriginal(f"the file ends inside a PNG chunk, at byte {len(data):,}")
        if kind == b"IEND":
            anatomy.stated, anatomy.narrow = colour.stated(), colour.narrow
            return
        chunk = data[body : end - 4] if kind != b"IDAT" else b""
        colour.take(kind, chunk)
        _png_chunk(kind, chunk, anatomy)
        if max(anatomy.profile_bytes, anatomy.metadata_bytes) > MAX_METADATA_BYTES:
            return
        at = end
    raise OriginalTooLarge(f"more than {_MAX_PARTS:,} PNG chunks")


def _png_chunk(kind: bytes, chunk: bytes, anatomy: Anatomy) -> None:
    if kind == b"CgBI":
        raise UnsupportedFormat("a PNG of Apple's own kind (CgBI), as iOS apps contain them")
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
        if kind == b"eXIf" and not anatomy.exif:
            anatomy.exif = chunk


def _inflated(chunk: bytes, start: int, most: int) -> int:
    """How many bytes the compressed part of a chunk makes, counted to one more than `most`."""
    try:
        return len(zlib.decompressobj().decompress(chunk[start:], most + 1))
    except zlib.error:
        return 0


def _after_nul(chunk: bytes, start: int) -> int:
    return chunk.find(b"\0", start) + 1


def _gif(data: bytes, anatomy: Anatomy) -> None:
    found = walk_gif(data, MAX_PAGES)
    anatomy.width, anatomy.height = found.width, found.height
    anatomy.pages, anatomy.frame = found.frames, found.first
    anatomy.mends = found.mends


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
    layout = survey_tiff(data, MAX_PAGES)
    anatomy.pages, anatomy.page = layout.pages, layout.page
    anatomy.tiled, anatomy.part_rows = layout.tiled, layout.part_rows
    anatomy.profile_bytes, anatomy.metadata_bytes = layout.profile_bytes, layout.metadata_bytes
    anatomy.lab, anatomy.mends = layout.lab, layout.mends
    anatomy.bands = layout.bands


def _heif(data: bytes, anatomy: Anatomy) -> None:
    boxes = walk_boxes(data)
    anatomy.stated = by_numbers(*boxes.nclx) if boxes.nclx else None
    anatomy.premultiplied = boxes.premultiplied
    # libheif widens the codes of colours, and leaves those of grey as they are.
    anatomy.narrow = boxes.chroma == "400" and not boxes.full_range
    anatomy.chroma, anatomy.coded_bits = boxes.chroma, boxes.coded_bits
    anatomy.profile_bytes, anatomy.metadata_bytes = boxes.profile_bytes, boxes.metadata_bytes


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
