"""The renderer that the measurements call; it runs only in child processes.

Only this module of `bench` calls `render.image.imaging`, so a change of the renderer changes the
measurements here.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

from worker.photo.ladder import Ladder, RungSize
from worker.photo.limits import Limits
from worker.photo.looks import Looks, Tuning
from worker.render.image import imaging
from worker.render.image.imaging import Picture, Stage
from worker.render.image.vips import pyvips
from worker.render.image.webp import Frame

LIMITS = Limits(max_original_bytes=sys.maxsize, max_original_pixels=1_000_000_000)

STAGES = ("open", "decode", "resize", "encode", "facts")


class Encode(NamedTuple):
    """Encodes one noted picture again: as the renderer does it, and by libvips' own `webpsave`."""

    directly: Callable[[], object]
    by_libvips: Callable[[], object]


def codec() -> str:
    """Return the libraries that decide the bytes, as the recipe names them."""
    return imaging.codec()


def give_back_memory() -> None:
    """Return free memory to the kernel."""
    gc.collect()
    imaging.give_back_memory()


def render(
    data: bytes, ladder: Ladder, encoding: Looks, stage: Stage = lambda _: nullcontext()
) -> Iterator[tuple[RungSize, bytes]]:
    """Render from the original's bytes to each rung's bytes, with the facts.

    `stage` is entered for each piece of work with its name, one of `STAGES`.
    """
    picture = Picture(data, LIMITS, stage=stage)
    picture.decode()
    yield from picture.renditions(ladder, encoding)
    picture.facts()


@contextmanager
def noted_encodes() -> Iterator[list[Encode]]:
    """Note each picture that is encoded while the block runs, in the order of rungs.

    Each `Encode` works on the same pixels with the same settings. All pictures stay in memory.
    """
    noted: list[Encode] = []

    class NotedFrame(Frame):
        def __init__(self, pixels: Any, width: int, height: int, bands: int) -> None:  # noqa: ANN401
            super().__init__(pixels, width, height, bands)
            self._taken = (bytearray(pixels), width, height, bands)

        def encode(self, tuning: Tuning) -> bytes:
            taken = self._taken
            image = pyvips.Image.new_from_memory(*taken, "uchar").copy(interpretation="srgb")
            noted.append(
                Encode(
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
