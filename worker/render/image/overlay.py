"""What is done to a picture besides resizing it: a watermark laid over, a background put behind.

In child processes only. Where a watermark lies is `watermark`'s arithmetic; its file is read like
any original, by content and within limits, and once for all renders of a child.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from worker.errors import CorruptOriginal
from worker.photo.ladder import RungSize
from worker.photo.limits import Limits
from worker.photo.recipe import OutputFormat
from worker.photo.watermark import KEPT_EDGE_PX, MAX_BYTES, MAX_PIXELS, Place, place
from worker.render.image.decode import open_original
from worker.render.image.pixels import Pixels
from worker.render.image.resize import resize
from worker.render.image.vips import pyvips, translated

_RGBA_BANDS = 4
_LIMITS = Limits(max_original_bytes=MAX_BYTES, max_original_pixels=MAX_PIXELS)


class Overlay:
    """A watermark, ready to be laid over pictures. Not thread-safe.

    Raises (constructor):
        UnsupportedFormat, OriginalTooLarge, CorruptOriginal: it is no picture that can be used.
        RenderOutOfMemory: there is no memory for it.
    """

    def __init__(self, data: bytes, *, opacity: float, position: str, scale: float) -> None:
        """Decode it, and keep no more of it than will ever be shown."""
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
            colours, alpha = image[:3], image[3] * opacity
            image = colours.bandjoin(alpha.rint().cast("uchar")).copy(interpretation="srgb")
            self._pixels = Pixels(image)
        self._position, self._scale = position, scale

    def lay_over(self, pixels: Pixels) -> None:
        """Draw it into this picture, in place: there is no memory for a second one.

        Raises:
            RenderOutOfMemory: not even for the part that is covered.
        """
        aspect = self._pixels.width, self._pixels.height
        placement = place(self._position, self._scale, aspect, (pixels.width, pixels.height))
        if placement is None:
            return
        size = RungSize(rung="watermark", width=placement.width, height=placement.height)
        with translated():
            mark = resize(self._pixels, size).image
            for each in placement.places:
                _draw(pixels, mark, each)


def _draw(pixels: Pixels, mark: pyvips.Image, at: Place) -> None:
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
        pyvips.Error: there is no memory for it.
    """
    if pixels.bands != _RGBA_BANDS:
        return pixels
    return Pixels(pixels.image.flatten(background=list(bytes.fromhex(colour[1:]))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """What a ladder's renditions have besides their size: as they come, unless it says otherwise.

    `background` is `#rrggbb`, or `None` to keep transparency.
    """

    overlay: Overlay | None = None
    background: str | None = None
    format: OutputFormat = "webp"


AS_IT_COMES: Final = Looks()


@dataclass(slots=True)
class Overlays:
    """The watermark of a child's last render, kept for the next. Not thread-safe."""

    _asked: Mapping[str, Any] | None = None
    _overlay: Overlay | None = field(default=None)

    def of(self, asked: Mapping[str, Any] | None) -> Overlay | None:
        """The one that is asked for: its `path`, `sha256`, `opacity`, `position` and `scale`.

        Raises:
            OSError: its file cannot be read.
            CorruptOriginal: the file is not the one that was meant.
            UnsupportedFormat, OriginalTooLarge, RenderOutOfMemory: see `Overlay`.
        """
        if asked is None:
            return None
        if self._overlay is None or asked != self._asked:
            data = Path(asked["path"]).read_bytes()
            # Another picture's child may have written into the folder that all of them share.
            if hashlib.sha256(data).hexdigest() != asked["sha256"]:
                raise CorruptOriginal("the watermark's file has been changed")
            self._overlay = Overlay(
                data,
                opacity=asked["opacity"],
                position=asked["position"],
                scale=asked["scale"],
            )
            self._asked = asked
        return self._overlay
