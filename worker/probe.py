"""Probe: what an original is, and whether its pixels can be read, found out in a child process."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from worker.errors import PERMANENT_BY_REASON, Permanent, Reason, RenderCrashed
from worker.ports import ObjectStore, StoredObject
from worker.slot import Child


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Format by content, and the size as displayed, in pixels."""

    format: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What was found: the header, if it can be read, and what a worker would refuse it for."""

    header: Header | None
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
        self._folder = tempfile.TemporaryDirectory(prefix="photo-worker-probe-")
        self._child = Child(memory_bytes, Path(self._folder.name))
        try:
            self.codec = str(self._receive()["ready"]["codec"])
        except BaseException:
            self.__exit__(None, None, None)
            raise

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
        self._child.close()
        self._folder.cleanup()

    def __call__(self, original: StoredObject) -> Probed:
        """Download an original and decode it. A child that it kills is not replaced.

        Raises:
            Transient: it cannot be downloaded now.
        """
        path = Path(self._folder.name, "original")
        self._store.download(original, path)
        try:
            return self._probe(path)
        finally:
            path.unlink(missing_ok=True)

    def _probe(self, path: Path) -> Probed:
        header = None
        try:
            self._child.send({"probe": str(path), "max_pixels": self._max_pixels})
            while True:
                answer = self._receive()
                if "header" not in answer:
                    break
                header = Header(**answer["header"])
        except Permanent as error:
            return Probed(header=header, refused=error)
        return Probed(header=header, refused=_refusal(answer))

    def _receive(self) -> dict[str, Any]:
        return self._child.receive(time.monotonic() + self._timeout_seconds)


def _refusal(answer: dict[str, Any]) -> Permanent | None:
    if "decoded" in answer:
        return None
    if "refused" not in answer:
        return RenderCrashed("the child answered something else")
    refused = answer["refused"]
    return PERMANENT_BY_REASON[Reason(refused["reason"])](refused["message"])
