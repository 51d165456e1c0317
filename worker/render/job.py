"""One render: its settings, its requests to a child, and the renditions that a handler takes."""

from __future__ import annotations

import queue
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.errors import OriginalTooLarge, RendererBroken, WorkerError
from worker.photo.header import Header, PictureFacts
from worker.photo.ports import RenderCost, Rendered
from worker.photo.recipe import Recipe
from worker.photo.watermark import PictureFile
from worker.render.capacity import MIB
from worker.render.formats.svg_size import EDGE_PX
from worker.render.protocol import Bounds, KeepRequest, MeasureRequest, RenderRequest
from worker.render.verification import ExpectedRenditions

WALL_PER_CPU: Final = 3
"""How many seconds a render may take for each CPU second that it may use. On a machine whose
neighbours take two thirds of each core, a sound picture is still rendered; a hang ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderSettings:
    """The settings that all renders of a pool share.

    The children name the recipe's codec; `watermark_file` holds the picture of its watermark.
    `memory_bytes` is for all renders together, above what idle children hold. Originals and folders
    of renditions lie below `scratch`: a child sees only these files. Without `placeholders`, the
    facts contain none, which saves a fifth of a small drawing's time.
    """

    recipe: Recipe
    max_pixels: int
    timeout_seconds: float
    memory_bytes: int
    scratch: Path
    watermark_file: PictureFile | None = None
    placeholders: bool = True

    def place_watermark(self) -> KeepRequest | None:
        """Write the watermark's file into `scratch` and return the request for a child.

        Call it for each new child: a picture may have taken over an earlier child, which can write
        to this file. Return `None` if the recipe has no watermark. Thread-safe.

        Raises:
            RendererBroken: the scratch folder is full, broken or gone.
        """
        watermark = self.recipe.looks.watermark
        if watermark is None:
            return None
        if self.watermark_file is None:
            raise RuntimeError("a watermark needs its file")
        file = self.scratch / "watermark"
        try:
            with tempfile.NamedTemporaryFile(dir=self.scratch, delete=False) as whole:
                whole.write(self.watermark_file.data)
            Path(whole.name).replace(file)
        except OSError as error:
            raise RendererBroken(f"the watermark cannot be handed on: {error}") from error
        return KeepRequest(file=file, watermark=watermark)

    @property
    def wall_seconds(self) -> float:
        """How long a render may take by the clock; `timeout_seconds` are its CPU seconds."""
        return WALL_PER_CPU * self.timeout_seconds

    def bounds(self, memory_bytes: int) -> Bounds:
        """Return the limits of one request; a drawing is drawn as large as its largest rung."""
        edge_px = self.recipe.ladder.rungs[-1].edge_px
        return Bounds(
            max_pixels=self.max_pixels,
            memory_bytes=memory_bytes,
            cpu_seconds=self.timeout_seconds,
            drawn_px=EDGE_PX if edge_px is None else min(EDGE_PX, edge_px),
        )

    def too_large(self, what: str, needs_bytes: int) -> OriginalTooLarge:
        """Return the refusal of a render that cannot fit; it names the setting to raise."""
        short = needs_bytes - self.memory_bytes
        return OriginalTooLarge(
            f"rendering {what} takes about {needs_bytes // MIB:,} MiB of memory, this worker has "
            f"{self.memory_bytes // MIB:,} MiB for renders: WORKER_MEMORY_BYTES would have to be "
            f"{-(-short // MIB):,} MiB more"
        )


class QueuedRendering:
    """`ports.Rendering` for one original; only the handler that asked for it reads it.

    The slot's thread sets `header` and `limit_bytes`, and puts each rendition into `answers`. The
    last answer is the facts with the cost, or an error.
    """

    def __init__(self, settings: RenderSettings, original: Path, folder: Path) -> None:
        self._settings = settings
        self._original = original
        self._folder = folder
        self.header: Header | None = None
        self.limit_bytes = 0
        self.answers: queue.SimpleQueue[
            Rendered | tuple[PictureFacts, RenderCost] | WorkerError
        ] = queue.SimpleQueue()
        self._end: tuple[PictureFacts, RenderCost] | None = None

    @property
    def original_bytes(self) -> int:
        """Return the size of the original's file; 0 if it is missing, which the child refuses."""
        try:
            return self._original.stat().st_size
        except OSError:
            return 0

    def measure_request(self, memory_bytes: int) -> MeasureRequest:
        """Return the request to read the header within `memory_bytes`."""
        return MeasureRequest(original=self._original, bounds=self._settings.bounds(memory_bytes))

    def render_request(self) -> RenderRequest:
        """Return the request to make all renditions within `limit_bytes` of memory."""
        return RenderRequest(
            original=self._original,
            folder=self._folder,
            ladder=self._settings.recipe.ladder,
            looks=self._settings.recipe.looks,
            placeholder=self._settings.placeholders,
            bounds=self._settings.bounds(self.limit_bytes),
        )

    def expected_renditions(self) -> ExpectedRenditions:
        """Return the check of a child's answers; the header must have been read."""
        if self.header is None:
            raise RuntimeError("its header comes first")
        recipe = self._settings.recipe
        return ExpectedRenditions(
            self.header,
            recipe.ladder.sizes(self.header.width, self.header.height),
            self._folder,
            suffix=recipe.looks.format,
            placeholder=self._settings.placeholders,
        )

    def __iter__(self) -> Iterator[Rendered]:
        """See `ports.Rendering`."""
        while isinstance(answer := self.answers.get(), Rendered):
            yield answer
        if isinstance(answer, WorkerError):
            raise answer
        self._end = answer

    @property
    def facts(self) -> PictureFacts:
        """See `ports.Rendering`."""
        return self._ended()[0]

    @property
    def cost(self) -> RenderCost:
        """See `ports.Rendering`."""
        return self._ended()[1]

    def _ended(self) -> tuple[PictureFacts, RenderCost]:
        if self._end is None:
            raise RuntimeError("take every rendition first")
        return self._end
