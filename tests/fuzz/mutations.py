"""Pictures of every format, and ways to damage them; each by its number, the same everywhere."""

from __future__ import annotations

import gzip
import random
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from tests.support.pictures import corners_jpeg, upright
from worker.render.image.vips import pyvips

_SVG = b"""<?xml version="1.0"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
 width="120" height="80" viewBox="0 0 120 80"><style>.a{fill:#d22;stroke:url(#g)}</style>
<defs><linearGradient id="g"><stop offset="0" stop-color="red"/><stop offset="1"/></linearGradient>
<filter id="f"><feGaussianBlur stdDeviation="2"/></filter><rect id="r" width="9" height="9"/></defs>
<g class="a" transform="scale(1.5)"><use xlink:href="#r" x="4"/><path d="M1 2L30 40Q9 9 7 7z"/></g>
<text x="5" y="70" filter="url(#f)">Hanoi &amp; Hue</text></svg>"""

_HEIC = Path(__file__).parents[3] / "shared" / "odd" / "immich-IMG_2682.heic"


def _exif() -> pyvips.Image:
    image = upright(120, 80).copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    image.set_type(pyvips.GValue.gstr_type, "exif-ifd0-Make", "Maker")
    image.set_type(pyvips.GValue.gstr_type, "exif-ifd2-DateTimeOriginal", "2026:05:01 12:34:56")
    return image.icc_transform("p3", input_profile="srgb")


def _frames() -> pyvips.Image:
    image = upright(60, 40)
    frames = pyvips.Image.arrayjoin([image, image.fliphor(), image.rot180()], across=1).copy()
    frames.set_type(pyvips.GValue.gint_type, "page-height", 40)
    return frames


def seeds() -> dict[str, bytes]:
    """One sound picture of each kind, all small; HEIC only where a file of it is at hand."""
    plain, exif, frames = upright(120, 80), _exif(), _frames()
    alpha = plain.bandjoin(plain[0]).copy(interpretation="srgb")
    made = {
        "jpeg": corners_jpeg(240, 160, 6),
        "jpeg-exif": exif.jpegsave_buffer(),
        "jpeg-progressive": plain.jpegsave_buffer(interlace=True),
        "jpeg-cmyk": plain.icc_transform("cmyk", input_profile="srgb").jpegsave_buffer(),
        "jpeg-twice": corners_jpeg(120, 80) * 2,
        "png": exif.pngsave_buffer(),
        "png-16": plain.colourspace("rgb16").pngsave_buffer(),
        "png-palette": alpha.pngsave_buffer(palette=True),
        "png-interlaced": alpha.pngsave_buffer(interlace=True),
        "webp": exif.webpsave_buffer(),
        "webp-alpha": alpha.webpsave_buffer(),
        "webp-lossless": alpha.webpsave_buffer(lossless=True),
        "webp-frames": frames.webpsave_buffer(),
        "gif": plain.gifsave_buffer(),
        "gif-frames": frames.gifsave_buffer(interlace=True),
        "tiff": exif.tiffsave_buffer(),
        "tiff-deflate": alpha.tiffsave_buffer(compression="deflate", predictor="horizontal"),
        "tiff-lzw-pages": frames.tiffsave_buffer(compression="lzw", page_height=40),
        "tiff-jpeg": plain.tiffsave_buffer(compression="jpeg", tile=True),
        "tiff-float": (plain / 255).cast("float").tiffsave_buffer(),
        "avif": exif.heifsave_buffer(compression="av1", effort=0),
        "avif-alpha": alpha.heifsave_buffer(compression="av1", effort=0, bitdepth=10),
        "svg": _SVG,
        "svgz": gzip.compress(_SVG, mtime=0),
    }
    if _HEIC.is_file():
        made["heic"] = _HEIC.read_bytes()
    return {kind: bytes(data) for kind, data in made.items()}


def mutated(number: int, pictures: dict[str, bytes]) -> tuple[str, bytes]:
    """The picture of that number: its kind, and one to four injuries to it."""
    chance = random.Random(number)  # noqa: S311 (repeatable, not secret)
    kind = list(pictures)[number % len(pictures)]
    data = bytearray(pictures[kind])
    done = []
    for _ in range(chance.choice((1, 1, 2, 4))):
        injury = chance.choice(_INJURIES)
        injury(data, chance, pictures)
        done.append(injury.__name__.strip("_"))
        if not data:
            data += b"\0"
    if kind.startswith("png") and chance.random() < 0.5:
        data = _with_true_checksums(data)
    return f"{kind}: {', '.join(done)}", bytes(data)


def _place(data: bytearray, chance: random.Random) -> int:
    """Anywhere, and every other time in the head, where the structure is."""
    return chance.randrange(min(len(data), 600) if chance.random() < 0.5 else len(data))


def _flip(data: bytearray, chance: random.Random, _: dict[str, bytes]) -> None:
    data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _byte(data: bytearray, chance: random.Random, _: dict[str, bytes]) -> None:
    data[_place(data, chance)] = chance.choice(
        (0, 1, 0x7F, 0x80, 0xFE, 0xFF, chance.randrange(256))
    )


def _number(data: bytearray, chance: random.Random, _: dict[str, bytes]) -> None:
    """A field of a header: a size, a count, an offset."""
    at = _place(data, chance)
    width = chance.choice(("B", "H", "I"))
    value = chance.choice(
        (0, 1, 2**31 - 1, 2**32 - 1, 65535, 16384, 12000, len(data), len(data) // 2)
    )
    field = struct.pack(
        chance.choice("<>") + width, value & (2 ** (8 * struct.calcsize(width)) - 1)
    )
    data[at : at + len(field)] = field


def _cut(data: bytearray, chance: random.Random, _: dict[str, bytes]) -> None:
    del data[max(_place(data, chance), 4) :]


def _remove(data: bytearray, chance: random.Random, _: dict[str, bytes]) -> None:
    at = _place(data, chance)
    del data[at : at + chance.randint(1, 64)]


def _double(data: bytearray, chance: random.Random, _: dict[str, bytes]) -> None:
    at = _place(data, chance)
    data[at:at] = data[at : at + chance.choice((4, 12, 64, 1024))] * chance.choice((1, 1, 50))


def _zero(data: bytearray, chance: random.Random, _: dict[str, bytes]) -> None:
    at = _place(data, chance)
    size = len(data[at : at + chance.choice((2, 16, 400))])
    data[at : at + size] = bytes(size)


def _splice(data: bytearray, chance: random.Random, pictures: dict[str, bytes]) -> None:
    """A piece of another picture, often of another format."""
    other = pictures[chance.choice(list(pictures))]
    start = chance.randrange(len(other))
    at = _place(data, chance)
    data[at : at + chance.choice((0, 0, 64))] = other[start : start + chance.choice((8, 64, 2048))]


def _mark(data: bytearray, chance: random.Random, _: dict[str, bytes]) -> None:
    """Move what looks like a marker, a chunk's name or a tag to another place."""
    marks = list(re.finditer(rb"\xff[\xc0-\xfe]|[A-Za-z]{4}|<\w+[ />]", data[:4096]))
    if marks:
        mark = chance.choice(marks)
        at = _place(data, chance)
        data[at:at] = data[mark.start() : mark.end() + chance.choice((0, 4, 32))]


_INJURIES: tuple[Callable[[bytearray, random.Random, dict[str, bytes]], None], ...] = (
    _flip,
    _flip,
    _byte,
    _byte,
    _number,
    _number,
    _cut,
    _remove,
    _double,
    _zero,
    _splice,
    _mark,
)


def _with_true_checksums(data: bytearray) -> bytearray:
    """A PNG whose chunks have their CRC anew, so that the injury gets past it."""
    at = 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            break
        struct.pack_into(">I", data, end, zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return data
