"""A probe finds out in a child process what an original is, and if its pixels can be decoded."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.errors import ObjectMissing, Permanent, RenderFailed, SlotUnavailable
from worker.photo.header import Header
from worker.photo.limits import Limits
from worker.photo.ports import ObjectStore, StoredObject
from worker.render import protocol
from worker.render.job import WALL_PER_CPU
from worker.render.slot import Child
from worker.render.verification import Refusal, verified_done, verified_header, verified_ready
from worker.system.scratch import Scratch


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedPicture:
    """The format (by content), and the size as displayed, in pixels."""

    format: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """The picture (`None` if its header is unreadable), and the worker's refusal, if any."""

    picture: ProbedPicture | None
    refused: Permanent | None


class Probe:
    """One child process, and the bucket that originals come from; for one thread.

    `codec` is the text that a recipe names. Leaving the context ends the child.
    """

    def __init__(
        self, store: ObjectStore, *, memory_bytes: int, limits: Limits, timeout_seconds: float
    ) -> None:
        """Start the child.

        Raises:
            RenderCrashed, RenderTimeout: the child does not come up.
        """
        self._store = store
        self._limits = limits
        self._timeout_seconds = timeout_seconds
        self._memory_bytes = memory_bytes
        self._scratch = Scratch()
        self._child: Child | None = None
        try:
            self.codec = self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def _start(self) -> str:
        """Replace the child; return the new child's codec."""
        self._end_child()
        self._child = Child(self._memory_bytes, self._scratch.path)
        return verified_ready(self._receive(self._child)).codec

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None

    def __enter__(self) -> Self:
        """Return the probe itself; the child has run since `__init__`."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the child."""
        self._end_child()
        self._scratch.cleanup()

    def __call__(self, original: StoredObject) -> Probed:
        """Download an original and decode it; start a new child first if the last one died.

        Raises:
            Transient: the original cannot be downloaded now, or a child cannot be started.
        """
        path = self._scratch.path / "original"
        generation = str(original.generation)
        try:
            found = self._store.fetch(
                original.bucket, original.name, generation, path, self._limits.check_bytes
            )
        except Permanent as error:
            return Probed(picture=None, refused=error)
        if found is None:
            raise ObjectMissing(f"gs://{original.bucket}/{original.name} is gone")
        return self._look_at(path)

    def of_file(self, file: Path) -> Probed:
        """Decode a local file.

        Raises:
            OSError: the file cannot be read.
            Transient: a child cannot be started.
        """
        # The child can read only the files of the scratch folder.
        return self._look_at(Path(shutil.copyfile(file, self._scratch.path / "original")))

    def _look_at(self, path: Path) -> Probed:
        try:
            return self._probe(self._living_child(), path)
        finally:
            path.unlink(missing_ok=True)

    def _living_child(self) -> Child:
        try:
            if self._child is None or not self._child.alive:
                self._start()
        except (OSError, RenderFailed) as error:
            raise SlotUnavailable(f"no child process could be started: {error}") from error
        assert self._child is not None  # noqa: S101 (started above)
        return self._child

    def _probe(self, child: Child, path: Path) -> Probed:
        picture: ProbedPicture | None = None
        try:
            most = self._limits.max_original_pixels
            child.send(protocol.ProbeRequest(original=path, max_pixels=most))
            refusal: Refusal | None
            found = verified_header(self._receive(child), most)
            if isinstance(found, Header):
                picture = ProbedPicture(format=found.format, width=found.width, height=found.height)
                refusal = verified_done(self._receive(child))
            else:
                refusal = found
        except RenderFailed as error:
            # If the child is not dead, it may still answer. The next original must not get that
            # answer.
            self._end_child()
            refusal = error
        if isinstance(refusal, SlotUnavailable):
            raise refusal
        return Probed(picture=picture, refused=refusal)

    def _receive(self, child: Child) -> protocol.Answer:
        return child.receive(time.monotonic() + WALL_PER_CPU * self._timeout_seconds)
