"""One render as a handler sees it: what is asked of a child, and its renditions as they come."""

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

_CPU_PER_WALL: Final = 2
"""A decoder may run a second thread. The deadline is the parent's; this holds where it is stuck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderSettings:
    """What every render of a pool has in common.

    The children name the recipe's codec; `watermark_file` holds the picture of its watermark.
    `memory_bytes` is for all renders together, above what idle children hold. Originals and folders
    of renditions lie below `scratch`: a child sees only these files. Without `placeholders` facts
    lack them, which saves a fifth of a small drawing's time.
    """

    recipe: Recipe
    max_pixels: int
    timeout_seconds: float
    memory_bytes: int
    scratch: Path
    watermark_file: PictureFile | None = None
    placeholders: bool = True

    def place_watermark(self) -> KeepRequest | None:
        """Write the watermark's file where a child sees it, and say what to ask of that child.

        For each child anew: the last one may have been taken over by its picture, and may write
        there. Thread-safe.

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

    def bounds(self, memory_bytes: int) -> Bounds:
        """What one request may take; a drawing is drawn as large as its largest rung needs."""
        edge_px = self.recipe.ladder.rungs[-1].edge_px
        return Bounds(
            max_pixels=self.max_pixels,
            memory_bytes=memory_bytes,
            cpu_seconds=_CPU_PER_WALL * self.timeout_seconds,
            drawn_px=EDGE_PX if edge_px is None else min(EDGE_PX, edge_px),
        )

    def too_large(self, what: str, needs_bytes: int) -> OriginalTooLarge:
        """The refusal of a render that cannot fit; it says what the settings would have to be."""
        short = needs_bytes - self.memory_bytes
        return OriginalTooLarge(
            f"rendering {what} takes about {needs_bytes // MIB:,} MiB of memory, this worker has "
            f"{self.memory_bytes // MIB:,} MiB for renders: WORKER_MEMORY_BYTES would have to be "
            f"{-(-short // MIB):,} MiB more"
        )


class QueuedRendering:
    """`ports.Rendering` for one original; taken by the one handler that asked for it.

    The slot's thread sets `header` and `limit_bytes`, and puts each rendition into `answers`; the
    last one is the facts with the cost, or an error.
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
        """The size of the original's file; 0 if it is missing, which the child will refuse."""
        try:
            return self._original.stat().st_size
        except OSError:
            return 0

    def measure_request(self, memory_bytes: int) -> MeasureRequest:
        """Ask a child for the header, read within so much memory."""
        return MeasureRequest(original=self._original, bounds=self._settings.bounds(memory_bytes))

    def render_request(self) -> RenderRequest:
        """Ask a child for every rendition, made within `limit_bytes` of memory."""
        return RenderRequest(
            original=self._original,
            folder=self._folder,
            ladder=self._settings.recipe.ladder,
            looks=self._settings.recipe.looks,
            placeholder=self._settings.placeholders,
            bounds=self._settings.bounds(self.limit_bytes),
        )

    def expected_renditions(self) -> ExpectedRenditions:
        """What may come of it, now that its header has been read."""
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
