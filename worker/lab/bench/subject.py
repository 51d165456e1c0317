"""The renderer as `bench` sees it: the only module of `bench` that calls `render.image.imaging`.

Runs in child processes only. Whatever changes in the renderer changes the bench here and nowhere
else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

from worker.photo.ladder import Ladder, RungSize
from worker.photo.limits import Limits
from worker.photo.looks import Looks, Tuning
from worker.render.image import imaging
from worker.render.image.imaging import Picture
from worker.render.image.vips import pyvips
from worker.render.image.webp import Frame

Stage = Callable[[str], AbstractContextManager[None]]


class Again(NamedTuple):
    """One picture that was encoded, to be encoded again and nothing else."""

    directly: Callable[[], object]
    """As the renderer does it, `webp`."""

    by_libvips: Callable[[], object]
    """By libvips with the same quality and effort, as nearly everybody else does."""


LIMITS = Limits(max_original_bytes=sys.maxsize, max_original_pixels=1_000_000_000)

STAGES = ("open", "decode", "resize", "encode", "facts")


def codec() -> str:
    """The libraries that decide the bytes, as the recipe names them."""
    return imaging.codec()


def render(
    data: bytes,
    ladder: Ladder,
    encoding: Looks,
    stage: Stage = lambda _: nullcontext(),
) -> Iterator[tuple[RungSize, bytes]]:
    """Everything a render does, from the original's bytes to each rung's, facts included.

    `stage` is entered for each piece of work with its name, one of `STAGES`.
    """
    picture = Picture(data, LIMITS, stage=stage)
    picture.decode()
    yield from picture.renditions(ladder, encoding)
    picture.facts()


@contextmanager
def encodes() -> Iterator[list[Again]]:
    """While the block renders, note each picture that it encodes, and how, in the order of rungs.

    What was noted encodes the very same pixels with the very same settings. Holds every picture in
    memory.
    """
    noted: list[Again] = []

    class NotedFrame(Frame):
        def __init__(self, pixels: Any, width: int, height: int, bands: int) -> None:  # noqa: ANN401
            super().__init__(pixels, width, height, bands)
            self._taken = (bytearray(pixels), width, height, bands)

        def encode(self, tuning: Tuning) -> bytes:
            taken = self._taken
            image = pyvips.Image.new_from_memory(*taken, "uchar").copy(interpretation="srgb")
            noted.append(
                Again(
                    directly=lambda: Frame(*taken).encode(tuning),
                    by_libvips=lambda: image.webpsave_buffer(
                        Q=tuning.quality, effort=tuning.method, keep="none"
                    ),
                )
            )
            return super().encode(tuning)

    names = vars(imaging)
    names["Frame"] = NotedFrame
    try:
        yield noted
    finally:
        names["Frame"] = Frame
