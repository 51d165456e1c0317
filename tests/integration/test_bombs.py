"""Made bombs through the real render pool: a small file that asks for much costs little.

Each ends with a reason, or as a photo where what it asks for is harmless; the pool serves on.
"""

from __future__ import annotations

import base64
import gzip
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.pictures import corners_jpeg, is_upright
from tests.support.pool import outcome, render_pool
from tests.support.skeletons import LONG, SHORT, chunk, png, segment, tiff
from worker.render.pool import RenderPool

SCAN = segment(0xDA, b"\x01\x01\x00\x00\x3f\x00") + b"\0"
WIDE = segment(0xC2, b"\x08" + struct.pack(">HH", 12_000, 12_000) + b"\x01\x01\x11\x00")
GIF_FRAME = struct.pack("<BHHHHB", 0x2C, 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"


def zeros(megabytes: int) -> bytes:
    return zlib.compress(bytes(megabytes << 20), 9)


def drawing(inside: str) -> bytes:
    return f"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'>{inside}</svg>".encode()


def embedded(width: int, height: int) -> str:
    picture = base64.b64encode(png(chunk(b"IDAT", zeros(1)), width=width, height=height)).decode()
    return f"<image href='data:image/png;base64,{picture}'/>"


def one_strip(width: int, height: int) -> bytes:
    """A TIFF whose packed pixels libtiff would have to hold at once."""
    tags = [(256, SHORT, width), (257, SHORT, height), (258, SHORT, 8), (259, SHORT, 8)]
    tags += [(262, SHORT, 1), (273, LONG, -1), (277, SHORT, 1), (278, SHORT, height)]
    packed = zlib.compress(bytes(width * height), 0)
    return tiff([*tags, (279, LONG, len(packed))], tail=packed)


JPEG = corners_jpeg(400, 300)

BOMBS: dict[str, tuple[Callable[[], bytes], set[str]]] = {
    "png-canvas": (lambda: png(chunk(b"IDAT", zeros(1)), width=60_000, height=60_000),
                   {"original_too_large"}),
    "png-canvas-allowed": (lambda: png(chunk(b"IDAT", zeros(1)), width=12_000, height=12_000),
                           {"corrupt_original"}),
    "png-profile": (lambda: png(chunk(b"iCCP", b"a\0\0" + zeros(200)), chunk(b"IDAT", zeros(0))),
                    {"original_too_large"}),
    "png-texts": (lambda: png(*[chunk(b"zTXt", b"a\0\0" + zeros(7))] * 900),
                  {"original_too_large"}),
    "png-chunks": (lambda: png(*[chunk(b"tEXt", b"a\0")] * 300_001),
                           {"original_too_large"}),
    "jpeg-scans": (lambda: b"\xff\xd8" + WIDE + SCAN * 5000 + b"\xff\xd9", {"original_too_large"}),
    "jpeg-canvas": (lambda: b"\xff\xd8" + WIDE + SCAN + b"\xff\xd9", {"corrupt_original"}),
    "jpeg-exif": (lambda: JPEG[:2] + segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 400 + JPEG[2:],
                  {"original_too_large"}),
    "jpeg-comments": (lambda: JPEG[:2] + segment(0xFE, b"") * 5_000_000 + JPEG[2:],
                      {"original_too_large"}),
    "gif-frames": (lambda: b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)
                   + GIF_FRAME * 500_000 + b";", {"original_too_large"}),
    "gif-screen": (lambda: b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0x80, 0, 0) + bytes(6)
                   + GIF_FRAME + b";", {"original_too_large"}),
    "tiff-pages": (lambda: tiff(*[[(0x100, SHORT, 1)]] * 20_000), {"original_too_large"}),
    "svg-deep": (lambda: drawing("<g>" * 1_000_000), {"original_too_large"}),
    "svg-many": (lambda: drawing("<g/>" * 2_000_000), {"original_too_large"}),
    "svgz": (lambda: gzip.compress(drawing(" " * (400 << 20)), 6), {"original_too_large"}),
    "svg-embedded": (lambda: drawing(embedded(20_000, 20_000)), {"original_too_large"}),
    "svg-attribute": (lambda: drawing(f"<path d='{'M0 0L9 9' * 1_900_000}'/>"),
                      {"original_too_large"}),
    "svg-style": (lambda: drawing(f"<style>{'a b c{d:e}' * 100_000}</style>" + "<g/>" * 1000),
                  {"original_too_large"}),
    "svg-selectors": (lambda: drawing(f"<style>{'a b c,' * 300_000}z{{d:e}}</style>"
                                      + "<g/>" * 3000), {"original_too_large"}),
    "svg-styled-filter": (lambda: drawing("<style>rect{filter:url(#f)}</style><filter id='f'>"
                                          + "<feGaussianBlur stdDeviation='9'/>" * 30 + "</filter>"
                                          + "<rect width='9' height='9'/>" * 2000),
                          {"original_too_large"}),
    "svg-import": (lambda: drawing("<style>@import 'data:text/css,"
                                   + "a b c%7Bd:e%7D" * 300_000 + "';</style>" + "<g/>" * 3000),
                   {"unsupported_format"}),
    "svg-prefix": (lambda: drawing(embedded(20_000, 20_000)
                                   .replace("href", "xmlns:x='x' x:href")),
                   {"original_too_large"}),
    "svg-length": (lambda: drawing("").replace(b"width='9'", b"width='" + b"1" * 200_000 + b"x'"),
                   {"unsupported_format"}),
    "svg-infinite": (lambda: drawing("").replace(b"'9'", b"'1e400'"), {"unsupported_format"}),
    "svg-surfaces": (lambda: drawing("<g opacity='.5'>" * 250 + "<rect width='9' height='9'/>"
                                     + "</g>" * 250), {"original_too_large"}),
    "tiff-strip": (lambda: one_strip(8000, 8000), {"original_too_large"}),
    "heic-empty-boxes": (lambda: struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic"
                         + struct.pack(">I", 8) + b"free" * 1, {"corrupt_original"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RenderPool]:
    with render_pool(tmp_path_factory.getbasetemp(), slots=1, memory_bytes=3 << 29) as pool:
        yield pool


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_its_own_message_only(
    name: str, pool: RenderPool, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    made, reasons = BOMBS[name]
    came = outcome(pool, made(), tmp_path)
    record_property("seconds", round(came.seconds, 3))
    print(f"\n{name:22}{came.reason or 'ok':22}{came.seconds:7.2f} s")  # noqa: T201
    assert came.reason in reasons, came.message
    photo = outcome(pool, corners_jpeg(400, 300, 8), tmp_path)
    assert is_upright(photo.renditions["full"])
