"""A real render pool for tests, and what came of one original in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.fakes import recording_log
from worker.errors import Permanent
from worker.photo.header import PictureFacts
from worker.photo.ladder import Ladder
from worker.photo.looks import Looks
from worker.photo.recipe import Recipe
from worker.photo.watermark import PictureFile
from worker.render.job import RenderSettings
from worker.render.pool import RenderPool

LADDER = "64,320,full"


def recipe_of(ladder: str = LADDER, **looks: Any) -> Recipe:
    """Just these rungs, encoded fast unless `looks` say otherwise."""
    values = {"quality": 80, "effort": 0, "full_effort": 0, **looks}
    return Recipe(ladder=Ladder.exactly(ladder), looks=Looks(**values), codec="")


@contextmanager
def render_pool(
    scratch: Path,
    *,
    slots: int = 2,
    max_pixels: int = 150_000_000,
    timeout_seconds: float = 30,
    memory_bytes: int = 1 << 30,
    recipe: Recipe | None = None,
    watermark_file: PictureFile | None = None,
    placeholders: bool = True,
) -> Iterator[RenderPool]:
    """A pool that has started; stopped at the end."""
    settings = RenderSettings(
        recipe=recipe or recipe_of(),
        max_pixels=max_pixels,
        timeout_seconds=timeout_seconds,
        memory_bytes=memory_bytes,
        scratch=scratch,
        watermark_file=watermark_file,
        placeholders=placeholders,
    )
    pool = RenderPool(settings, slots, recording_log()[0])
    pool.start()
    try:
        yield pool
    finally:
        pool.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """What came of an original: its renditions and facts, or the reason against it."""

    reason: str = ""
    message: str = ""
    renditions: dict[str, bytes] = field(default_factory=dict)
    facts: PictureFacts | None = None
    seconds: float = 0.0
    peak_bytes: int = 0


def outcome(pool: RenderPool, data: bytes, folder: Path) -> Came:
    """Render it and wait; anything but renditions or a permanent error is the test's failure."""
    original = folder / "original"
    original.write_bytes(data)
    started = time.monotonic()
    rendering = pool.render(original, folder)
    try:
        renditions = {each.size.rung: each.path.read_bytes() for each in rendering}
    except Permanent as error:
        seconds = time.monotonic() - started
        return Came(reason=error.reason.value, message=str(error), seconds=seconds)
    return Came(
        renditions=renditions,
        facts=rendering.facts,
        seconds=time.monotonic() - started,
        peak_bytes=rendering.cost.peak_bytes,
    )


def chunks(webp: bytes) -> list[bytes]:
    """The kinds of a WebP's chunks, in order; the container must fit its file exactly."""
    assert (webp[:4], webp[8:12]) == (b"RIFF", b"WEBP")
    assert int.from_bytes(webp[4:8], "little") + 8 == len(webp)
    kinds, at = [], 12
    while at < len(webp):
        kinds.append(webp[at : at + 4])
        size = int.from_bytes(webp[at + 4 : at + 8], "little")
        at += 8 + size + (size & 1)
    assert at == len(webp)
    return kinds


PIXELS_ONLY = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH"}
"""Chunks of pixels and their frame; EXIF, XMP and ICCP would carry something else out."""
