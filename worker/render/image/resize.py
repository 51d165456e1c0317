"""Resizing: the pictures of a ladder, each from the nearest larger one that keeps the quality."""

from __future__ import annotations

from typing import Final

from worker.photo.ladder import WEBP_MAX_PX, RungSize
from worker.render.image.pixels import Pixels

_COMFORTABLE_SHRINK: Final = 2.0
"""A rung is resized from one at least twice as large where there is one: the step between shows
least there. The others come from the largest rung, 51 dB or better against a direct resize."""

_TILE_PX: Final = 128
"""libvips's own size of tiles. By itself it resizes in strips over the whole width, and between its
steps holds hundreds of rows of what is wide, or of the four floats that a pixel with alpha takes:
400 MiB of 60,000 columns with alpha. Tile by tile it makes the same bytes, in 30 MiB at most.
Pictures that are narrow and opaque would lose time by it."""


def resize_ladder(largest: Pixels, sizes: list[RungSize]) -> list[Pixels]:
    """One picture for each of these ascending sizes, below a picture that is the largest rung.

    Raises:
        pyvips.Error: one does not fit the memory.
    """
    made = [largest]
    for size in reversed(sizes):
        made.append(resize(_source(made, size), size))
    return made[:0:-1]


def resize(pixels: Pixels, size: RungSize) -> Pixels:
    """Lanczos 3 to exactly this size; alpha as well.

    Raises:
        pyvips.Error: it does not fit the memory.
    """
    image = pixels.image
    premultiplied = image.hasalpha()
    if premultiplied:
        # Without this the colour of invisible pixels bleeds into the visible edge.
        image = image.premultiply()
    image = image.resize(size.width / image.width, vscale=size.height / image.height)
    if premultiplied:
        # Rounded: a cast truncates, and each rung would be darker than the one it came from.
        image = image.unpremultiply().rint().cast("uchar")
    if premultiplied or pixels.width > WEBP_MAX_PX:
        image = image.tilecache(tile_width=_TILE_PX, tile_height=_TILE_PX, max_tiles=1)
    return Pixels(image)


def _source(made: list[Pixels], size: RungSize) -> Pixels:
    """The smallest rung that is large enough to resize from, else the largest."""
    needed = _COMFORTABLE_SHRINK * max(size.width, size.height)
    for larger in reversed(made):
        if max(larger.width, larger.height) >= needed:
            return larger
    return made[0]
