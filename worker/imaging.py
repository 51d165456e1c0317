"""Pictures: the only room that imports pyvips. Runs in child processes, one libvips thread each.

An original is read from memory only (a path would also open `.csv` or `.v` files, and let an SVG
read its neighbours), recognised by its first bytes, measured before it is decoded, and decoded
once; every rung is then resized from the nearest larger picture that keeps the quality.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Before the import: libvips reads these when it starts.
os.environ["VIPS_CONCURRENCY"] = "1"
os.environ["VIPS_BLOCK_UNTRUSTED"] = "1"

import pyvips

from worker.errors import CorruptOriginal, RenderOutOfMemory, UnsupportedFormat
from worker.ladder import Ladder, RungSize
from worker.limits import Limits
from worker.placeholder import average_color, thumbhash
from worker.ports import PictureFacts

pyvips.cache_set_max(0)

_SIGNATURES: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("jpeg", re.compile(rb"\xff\xd8\xff")),
    ("png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("webp", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("gif", re.compile(rb"GIF8[79]a")),
    ("tiff", re.compile(rb"II\*\x00|MM\x00\*")),
    ("avif", re.compile(rb"....ftyp(?:avif|avis|....(?:.{4})*?avi[fs])", re.DOTALL)),
)

_EXIF_DATE = re.compile(r"(\d{4}):(\d\d):(\d\d)[ T](\d\d):(\d\d):(\d\d)")
_EXIF_OFFSET = re.compile(r"[+-]\d\d:\d\d")

_NO_MEMORY = re.compile(r"out of memory|memory allocation|unable to malloc", re.IGNORECASE)

_PLACEHOLDER_EDGE_PX = 32
"""ThumbHash keeps 7x7 frequencies at most; a larger picture only costs time."""

_COMFORTABLE_SHRINK = 2.0
"""A rung is resized from one at least twice as large where there is one: the step between shows
least there. The others come from the largest rung, 51 dB or better against a direct resize."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How each rung is encoded: WebP quality 0-100 and effort 0-6."""

    quality: int
    effort: int
    full_effort: int


def codec() -> str:
    """The libraries that decide the bytes, for the recipe."""
    return f"libvips-{pyvips.version(0)}.{pyvips.version(1)}.{pyvips.version(2)}"


def sniff(data: bytes) -> str:
    """The format by its first bytes.

    Raises:
        UnsupportedFormat: none that is rendered.
    """
    head = data[:64]
    for name, signature in _SIGNATURES:
        if signature.match(head):
            return name
    raise UnsupportedFormat(
        f"the first bytes {head[:12]!r} belong to no format that is rendered "
        f"({', '.join(name for name, _ in _SIGNATURES)})"
    )


class Picture:
    """One original, decoded once. Not thread-safe.

    Raises (constructor):
        UnsupportedFormat, OriginalTooLarge, CorruptOriginal: nothing has been decoded yet.
    """

    def __init__(self, data: bytes, limits: Limits) -> None:
        """Read the header of an encoded picture and check it against the limits."""
        self._format = sniff(data)
        with _translated():
            header = pyvips.Image.new_from_buffer(
                data, "", access="sequential", fail_on="truncated"
            )
        limits.check_pixels(header.width, header.height)
        turned = _orientation(header) in (5, 6, 7, 8)
        self.width = header.height if turned else header.width
        self.height = header.width if turned else header.height
        self._header = header
        self._upright: pyvips.Image | None = None
        self._smallest: pyvips.Image | None = None

    def decode(self) -> None:
        """Decode every pixel: upright, sRGB, 8 bit, alpha kept.

        Raises:
            CorruptOriginal: the pixels end early or cannot be decoded.
            RenderOutOfMemory: they do not fit the slot.
        """
        with _translated():
            image = _to_srgb(self._header)
            # In memory before it is turned: a turned picture reads its rows out of order.
            self._upright = image.copy_memory().autorot()
            if _orientation(self._header) in range(2, 9):
                self._upright = self._upright.copy_memory()

    def renditions(self, ladder: Ladder, encoding: Encoding) -> Iterator[tuple[RungSize, bytes]]:
        """Encode each rung as WebP without metadata, largest resized rung first, `full` last.

        Raises:
            RenderOutOfMemory: a rung does not fit the slot.
        """
        *sized, full = ladder.sizes(self.width, self.height)
        made: list[pyvips.Image] = []
        for size in reversed(sized):
            with _translated():
                image = _resize(self._source(made, size), size)
                encoded = _encode(image, encoding.quality, encoding.effort)
            made.append(image)
            yield size, encoded
        self._smallest = made[-1] if made else self._pixels
        made.clear()
        with _translated():
            image = self._pixels
            if (full.width, full.height) != (image.width, image.height):
                image = _resize(image, full)
            encoded = _encode(image, encoding.quality, encoding.full_effort)
        yield full, encoded

    def facts(self) -> PictureFacts:
        """What the manifest says about the original, placeholder included; after `renditions`."""
        if self._smallest is None:
            raise RuntimeError("renditions() comes first")
        with _translated():
            scale = min(
                1.0, _PLACEHOLDER_EDGE_PX / max(self._smallest.width, self._smallest.height)
            )
            width = max(1, round(self._smallest.width * scale))
            height = max(1, round(self._smallest.height * scale))
            small = _resize(self._smallest, RungSize(rung="", width=width, height=height))
            rgba = small if small.hasalpha() else small.addalpha()
            pixels = bytes(rgba.write_to_memory())
        return PictureFacts(
            format=self._format,
            width=self.width,
            height=self.height,
            taken_at=_taken_at(self._header),
            thumbhash=base64.b64encode(thumbhash(width, height, pixels)).decode(),
            color=average_color(pixels),
        )

    @property
    def _pixels(self) -> pyvips.Image:
        if self._upright is None:
            raise RuntimeError("decode() comes first")
        return self._upright

    def _source(self, made: list[pyvips.Image], size: RungSize) -> pyvips.Image:
        """The smallest rung that is large enough to resize from, else the largest."""
        needed = _COMFORTABLE_SHRINK * max(size.width, size.height)
        for image in reversed(made):
            if max(image.width, image.height) >= needed:
                return image
        return made[0] if made else self._pixels


def _resize(image: pyvips.Image, size: RungSize) -> pyvips.Image:
    premultiplied = image.hasalpha()
    if premultiplied:
        # Without this the colour of invisible pixels bleeds into the visible edge.
        image = image.premultiply()
    image = image.resize(size.width / image.width, vscale=size.height / image.height)
    if premultiplied:
        # Rounded: a cast truncates, and each rung would be darker than the one it came from.
        image = image.unpremultiply().rint().cast("uchar")
    return image.copy_memory()


def _encode(image: pyvips.Image, quality: int, effort: int) -> bytes:
    return bytes(image.webpsave_buffer(Q=quality, effort=effort, keep="none"))


def _to_srgb(image: pyvips.Image) -> pyvips.Image:
    if image.get_typeof("icc-profile-data"):
        try:
            return image.icc_transform("srgb", embedded=True, intent="relative", depth=8)
        except pyvips.Error:
            # A damaged profile is no reason to refuse sound pixels; guess as if it had none.
            image = image.copy()
            image.remove("icc-profile-data")
    if image.interpretation == "cmyk":
        return image.icc_transform("srgb", input_profile="cmyk", intent="relative", depth=8)
    image = image.colourspace("srgb")
    return image if image.format == "uchar" else image.cast("uchar")


def _orientation(image: pyvips.Image) -> int:
    return int(image.get("orientation")) if image.get_typeof("orientation") else 1


def _taken_at(image: pyvips.Image) -> str | None:
    """The EXIF capture time in ISO 8601, with its offset where the camera wrote one."""
    match = _EXIF_DATE.search(_exif(image, "exif-ifd2-DateTimeOriginal"))
    if match is None or match[1] == "0000":
        return None
    year, month, day, hour, minute, second = match.groups()
    offset = _EXIF_OFFSET.search(_exif(image, "exif-ifd2-OffsetTimeOriginal"))
    return f"{year}-{month}-{day}T{hour}:{minute}:{second}" + (offset[0] if offset else "")


def _exif(image: pyvips.Image, field: str) -> str:
    return str(image.get(field)) if image.get_typeof(field) else ""


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what libvips raises into the worker's errors."""
    try:
        yield
    except MemoryError as error:
        raise RenderOutOfMemory("the slot's memory limit was reached") from error
    except pyvips.Error as error:
        text = " ".join(str(error).split())
        if _NO_MEMORY.search(text):
            raise RenderOutOfMemory(text) from error
        raise CorruptOriginal(text) from error
