"""Probe: what an original is, and whether its pixels can be read, found out in a child process."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.errors import Permanent, RenderFailed, SlotUnavailable
from worker.photo.header import Header
from worker.photo.ports import ObjectStore, StoredObject
from worker.render import protocol
from worker.render.slot import Child
from worker.render.verification import Refusal, verified_done, verified_header, verified_ready
from worker.system.scratch import Scratch


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedPicture:
    """Format by content, and the size as displayed, in pixels."""

    format: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """The picture, if its header can be read, and what a worker would refuse it for."""

    picture: ProbedPicture | None
    refused: Permanent | None


class Probe:
    """One child process, and the bucket that originals come from; for one thread.

    `codec` is what a recipe names. A context manager, which ends the child.
    """

    def __init__(
        self, store: ObjectStore, *, memory_bytes: int, max_pixels: int, timeout_seconds: float
    ) -> None:
        """Start the child.

        Raises:
            RenderCrashed, RenderTimeout: it does not come up.
        """
        self._store = store
        self._max_pixels = max_pixels
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
        """Another child; its codec."""
        self._end_child()
        self._child = Child(self._memory_bytes, self._scratch.path)
        return verified_ready(self._receive(self._child)).codec

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None

    def __enter__(self) -> Self:
        """It runs already."""
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
        """Download an original and decode it, in another child if it killed the last one.

        Raises:
            Transient: it cannot be downloaded now, or a child cannot be started.
        """
        path = self._scratch.path / "original"
        self._store.download(original, path)
        return self._look_at(path)

    def of_file(self, file: Path) -> Probed:
        """The same of a file of this machine.

        Raises:
            OSError: it cannot be read.
            Transient: a child cannot be started.
        """
        # The child sees only the files of its folder.
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
            child.send(protocol.ProbeRequest(original=path, max_pixels=self._max_pixels))
            refusal: Refusal | None
            found = verified_header(self._receive(child), self._max_pixels)
            if isinstance(found, Header):
                picture = ProbedPicture(format=found.format, width=found.width, height=found.height)
                refusal = verified_done(self._receive(child))
            else:
                refusal = found
        except RenderFailed as error:
            # It is dead, or may still answer: the next original must not get this one's answer.
            self._end_child()
            refusal = error
        if isinstance(refusal, SlotUnavailable):
            raise refusal
        return Probed(picture=picture, refused=refusal)

    def _receive(self, child: Child) -> protocol.Answer:
        return child.receive(time.monotonic() + self._timeout_seconds)
