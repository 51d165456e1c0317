"""Watermarks are laid over a picture, and a background is put behind it. In child processes only.

`photo.watermark` computes where a watermark lies. Its file is read like any original, by content
and within limits, once for all renders of a child.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from worker.errors import CorruptOriginal
from worker.photo.ladder import RungSize
from worker.photo.limits import Limits
from worker.photo.watermark import KEPT_EDGE_PX, MAX_BYTES, MAX_PIXELS, Corner, Watermark, place
from worker.render.image.decode import open_original
from worker.render.image.pixels import Pixels
from worker.render.image.resize import resize
from worker.render.image.vips import pyvips, translated

_RGBA_BANDS = 4
_LIMITS = Limits(max_original_bytes=MAX_BYTES, max_original_pixels=MAX_PIXELS)


class Overlay:
    """A watermark, ready to be laid over pictures. Not thread-safe.

    Raises (constructor):
        UnsupportedFormat, OriginalTooLarge, CorruptOriginal: it cannot be decoded.
        RenderOutOfMemory: it does not fit the memory.
    """

    def __init__(self, data: bytes, watermark: Watermark) -> None:
        """Decode it, and keep only as many pixels as will ever be shown."""
        pixels = open_original(data, _LIMITS, drawn_px=KEPT_EDGE_PX).decode()
        longest = max(pixels.width, pixels.height)
        with translated():
            if longest > KEPT_EDGE_PX:
                shrunk = KEPT_EDGE_PX / longest
                width, height = (
                    max(1, round(side * shrunk)) for side in (pixels.width, pixels.height)
                )
                pixels = resize(pixels, RungSize(rung="watermark", width=width, height=height))
            image = pixels.image if pixels.image.hasalpha() else pixels.image.addalpha()
            colours, alpha = image[:3], image[3] * watermark.opacity
            image = colours.bandjoin(alpha.rint().cast("uchar")).copy(interpretation="srgb")
            self._pixels = Pixels(image)
        self._watermark = watermark

    def lay_over(self, pixels: Pixels) -> None:
        """Draw it into this picture, in place, which saves the memory of a second one.

        Raises:
            RenderOutOfMemory: the covered part does not fit.
        """
        aspect = self._pixels.width, self._pixels.height
        placement = place(self._watermark, aspect, (pixels.width, pixels.height))
        if placement is None:
            return
        size = RungSize(rung="watermark", width=placement.width, height=placement.height)
        with translated():
            mark = resize(self._pixels, size).image
            for corner in placement.corners:
                _draw(pixels, mark, corner)


def _draw(pixels: Pixels, mark: pyvips.Image, at: Corner) -> None:
    left, top = max(0, at.left), max(0, at.top)
    right = min(pixels.width, at.left + mark.width)
    bottom = min(pixels.height, at.top + mark.height)
    if left >= right or top >= bottom:
        return
    shown = mark.crop(left - at.left, top - at.top, right - left, bottom - top)
    under = pixels.image.crop(left, top, right - left, bottom - top)
    drawn = under.composite2(shown, "over").rint().cast("uchar")[: pixels.bands]
    rows = memoryview(drawn.write_to_memory())
    whole = memoryview(pixels.buffer).cast("B")
    row, stride = (right - left) * pixels.bands, pixels.width * pixels.bands
    for number in range(bottom - top):
        start = (top + number) * stride + left * pixels.bands
        whole[start : start + row] = rows[number * row : (number + 1) * row]


def on_background(pixels: Pixels, colour: str) -> Pixels:
    """Opaque, with `#rrggbb` where it was transparent; the same picture if it has no alpha.

    Raises:
        pyvips.Error: it does not fit the memory.
    """
    if pixels.bands != _RGBA_BANDS:
        return pixels
    return Pixels(pixels.image.flatten(background=list(bytes.fromhex(colour[1:]))))


def read_overlay(file: Path, watermark: Watermark) -> Overlay:
    """Make ready the watermark that this file holds.

    Raises:
        OSError: the file cannot be read.
        CorruptOriginal: it is another file: a hijacked child may write where it lies.
        UnsupportedFormat, OriginalTooLarge, RenderOutOfMemory: see `Overlay`.
    """
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != watermark.sha256:
        raise CorruptOriginal("the watermark's file has been changed")
    return Overlay(data, watermark)
