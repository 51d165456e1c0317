"""Pictures: one original, decoded once, and every rung of its ladder.

Runs in child processes, one libvips thread each. Every rung is resized from the nearest larger
picture that keeps the quality; what is decoded, and from what, is `decode`'s business.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass

from worker import heif, vips
from worker.decode import open_original
from worker.header import Header
from worker.ladder import Ladder, RungSize
from worker.limits import Limits
from worker.placeholder import average_color, thumbhash
from worker.ports import PictureFacts
from worker.vips import pyvips, translated

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
    return f"{vips.version()} {heif.version()}"


class Picture:
    """One original, decoded once. Not thread-safe.

    Raises (constructor):
        UnsupportedFormat, OriginalTooLarge, CorruptOriginal: nothing has been decoded yet.
    """

    def __init__(self, data: bytes, limits: Limits) -> None:
        """Read what an encoded picture claims, and check it against the limits."""
        self._opened = open_original(data, limits)
        self._upright: pyvips.Image | None = None
        self._smallest: pyvips.Image | None = None

    @property
    def header(self) -> Header:
        """Everything that predicts what the decode will cost."""
        return self._opened.header

    @property
    def format(self) -> str:
        """By content."""
        return self.header.format

    @property
    def width(self) -> int:
        """As displayed, in pixels."""
        return self.header.width

    @property
    def height(self) -> int:
        """As displayed, in pixels."""
        return self.header.height

    def decode(self) -> None:
        """Decode every pixel: upright, sRGB, 8 bit, alpha kept.

        Raises:
            CorruptOriginal: the pixels end early or cannot be decoded.
            RenderOutOfMemory: they do not fit the slot.
        """
        self._upright = self._opened.decode()

    def renditions(self, ladder: Ladder, encoding: Encoding) -> Iterator[tuple[RungSize, bytes]]:
        """Encode each rung as WebP without metadata, largest resized rung first, `full` last.

        Raises:
            RenderOutOfMemory: a rung does not fit the slot.
        """
        *sized, full = ladder.sizes(self.width, self.height)
        made: list[pyvips.Image] = []
        for size in reversed(sized):
            with translated():
                image = _resize(self._source(made, size), size)
                encoded = _encode(image, encoding.quality, encoding.effort)
            made.append(image)
            yield size, encoded
        self._smallest = made[-1] if made else self._pixels
        made.clear()
        with translated():
            image = self._pixels
            if (full.width, full.height) != (image.width, image.height):
                image = _resize(image, full)
            encoded = _encode(image, encoding.quality, encoding.full_effort)
        yield full, encoded

    def facts(self) -> PictureFacts:
        """What the manifest says about the original, placeholder included; after `renditions`."""
        if self._smallest is None:
            raise RuntimeError("renditions() comes first")
        with translated():
            scale = min(
                1.0, _PLACEHOLDER_EDGE_PX / max(self._smallest.width, self._smallest.height)
            )
            width = max(1, round(self._smallest.width * scale))
            height = max(1, round(self._smallest.height * scale))
            small = _resize(self._smallest, RungSize(rung="", width=width, height=height))
            rgba = small if small.hasalpha() else small.addalpha()
            pixels = bytes(rgba.write_to_memory())
        return PictureFacts(
            format=self.format,
            width=self.width,
            height=self.height,
            pages=self.header.pages,
            taken_at=self._opened.exif.taken_at,
            camera=self._opened.exif.camera,
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
