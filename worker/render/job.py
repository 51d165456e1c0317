"""One render as a handler sees it: what is asked of a child, and its answers as they come."""

from __future__ import annotations

import queue
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from worker.errors import OriginalTooLarge, RendererBroken, WorkerError
from worker.photo.header import Header
from worker.photo.ports import PictureFacts, RenderCost, Rendered
from worker.photo.recipe import Recipe
from worker.render.capacity import MIB
from worker.render.formats.svg_size import EDGE_PX
from worker.render.protocol import Finished, RenderAnswers

_CPU_PER_WALL: Final = 2
"""A decoder may run a second thread. The deadline is the parent's; this holds where it is stuck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderSettings:
    """What every render of a pool has in common.

    The recipe's codec is the children's to name. `memory_bytes` is for all renders together, above
    what idle children hold. Originals and folders of renditions lie below `scratch`: a child sees
    no other files. Without `placeholders` facts have none, which saves a fifth of a small drawing's
    time.
    """

    recipe: Recipe
    max_pixels: int
    timeout_seconds: float
    memory_bytes: int
    scratch: Path
    placeholders: bool = True

    def place_watermark(self) -> None:
        """Put the watermark's file where children see it, whole, whatever lies there.

        For each child anew: the last one may have been taken over by its picture, and may write
        there. Thread-safe.

        Raises:
            RendererBroken: the scratch folder is full, broken or gone.
        """
        if self.recipe.watermark is None:
            return
        try:
            with tempfile.NamedTemporaryFile(dir=self.scratch, delete=False) as whole:
                whole.write(self.recipe.watermark.file.data)
            Path(whole.name).replace(self._watermark_file)
        except OSError as error:
            raise RendererBroken(f"the watermark cannot be handed on: {error}") from error

    @property
    def _watermark_file(self) -> Path:
        return self.scratch / "watermark"

    def watermark_request(self) -> dict[str, Any] | None:
        """What a child is told of the watermark, if there is one."""
        watermark = self.recipe.watermark
        if watermark is None:
            return None
        return {
            "path": str(self._watermark_file),
            "sha256": watermark.file.sha256,
            "opacity": watermark.opacity,
            "position": watermark.position,
            "scale": watermark.scale,
        }

    def too_large(self, what: str, needs_bytes: int) -> OriginalTooLarge:
        """A render that these settings never admit, and what they would have to be."""
        short = needs_bytes - self.memory_bytes
        return OriginalTooLarge(
            f"rendering {what} takes about {needs_bytes // MIB:,} MiB of memory, this worker has "
            f"{self.memory_bytes // MIB:,} MiB for renders: WORKER_MEMORY_BYTES would have to be "
            f"{-(-short // MIB):,} MiB more"
        )


def drawn_px(recipe: Recipe) -> int:
    """The longest edge that a drawing is drawn at: what its largest rung needs, up to a limit."""
    largest = recipe.ladder.rungs[-1].edge_px
    return EDGE_PX if largest is None else min(EDGE_PX, largest)


class QueuedRendering:
    """`ports.Rendering` for one original; taken by the one handler that asked for it."""

    def __init__(self, settings: RenderSettings, original: Path, folder: Path) -> None:
        """Wait in the queue; nothing runs yet."""
        self._settings = settings
        self._original = original
        self._folder = folder
        self.header: Header | None = None
        self.limit_bytes = 0
        self.answers: queue.SimpleQueue[Rendered | Finished | WorkerError] = queue.SimpleQueue()
        self._facts: PictureFacts | None = None
        self._cost: RenderCost | None = None

    @property
    def original_bytes(self) -> int:
        """The size of the original's file; 0 if there is none, which the child will refuse."""
        try:
            return self._original.stat().st_size
        except OSError:
            return 0

    def measure_request(self, memory_bytes: int) -> dict[str, Any]:
        """Ask a child for the header."""
        return {
            "measure": str(self._original),
            "max_pixels": self._settings.max_pixels,
            "memory_bytes": memory_bytes,
            "cpu_seconds": _CPU_PER_WALL * self._settings.timeout_seconds,
            "drawn_px": drawn_px(self._settings.recipe),
        }

    def render_request(self, memory_bytes: int) -> dict[str, Any]:
        """Ask a child for every rendition, made within so much memory."""
        recipe = self._settings.recipe
        return {
            "original": str(self._original),
            "folder": str(self._folder),
            "ladder": str(recipe.ladder),
            "quality": recipe.quality,
            "effort": recipe.effort,
            "full_effort": recipe.full_effort,
            "target_bytes": recipe.target_bytes,
            "target_quality": recipe.target_quality,
            "background": recipe.background,
            "watermark": self._settings.watermark_request(),
            "format": recipe.format,
            "placeholder": self._settings.placeholders,
            "drawn_px": drawn_px(recipe),
            "max_pixels": self._settings.max_pixels,
            "memory_bytes": memory_bytes,
            "cpu_seconds": _CPU_PER_WALL * self._settings.timeout_seconds,
        }

    def expected_answers(self) -> RenderAnswers:
        """What may come of it, now that its header has been read."""
        if self.header is None:
            raise RuntimeError("its header comes first")
        sizes = self._settings.recipe.ladder.sizes(self.header.width, self.header.height)
        return RenderAnswers(
            self.header,
            sizes,
            self._folder,
            suffix=self._settings.recipe.format,
            placeholder=self._settings.placeholders,
        )

    def __iter__(self) -> Iterator[Rendered]:
        """See `ports.Rendering`."""
        while True:
            answer = self.answers.get()
            if isinstance(answer, WorkerError):
                raise answer
            if isinstance(answer, Rendered):
                yield answer
                continue
            self._facts = answer.facts
            self._cost = RenderCost(
                seconds=answer.seconds,
                cpu_seconds=answer.cpu_seconds,
                peak_bytes=answer.peak_bytes,
            )
            return

    @property
    def facts(self) -> PictureFacts:
        """See `ports.Rendering`."""
        if self._facts is None:
            raise RuntimeError("take every rendition first")
        return self._facts

    @property
    def cost(self) -> RenderCost:
        """See `ports.Rendering`."""
        if self._cost is None:
            raise RuntimeError("take every rendition first")
        return self._cost
