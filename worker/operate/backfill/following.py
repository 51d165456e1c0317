"""Following: what became of published events, by the manifests, which are the only state.

No subscription is needed, and an outcome that came before anybody looked counts all the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from worker.errors import Transient
from worker.operate.backfill.comparison import seen_in
from worker.operate.backfill.pending import Awaited, Pending
from worker.photo.manifest import Manifest, State

CHUNK: Final = 500
"""Manifests read in one go."""

PARALLEL: Final = 16

REJECTIONS: Final = 1000
"""As many are kept by name; all of them are counted."""

_SHORTEST_SECONDS: Final = 0.5
_LONGEST_SECONDS: Final = 10.0
"""Between two goes at a queue that hardly moves: a day of waiting costs a few million reads."""


@dataclass(frozen=True, slots=True)
class End:
    """How an event ended: `ready`, `rejected` (`why`), or `superseded` by something newer."""

    kind: str
    why: str = ""


def end_of(awaited: Awaited, manifest: Manifest | None) -> End | None:
    """What a manifest says of an event, or `None` while it says nothing new."""
    if manifest is None or seen_in(manifest) == awaited.seen:
        return None
    version, rejection = awaited.version, manifest.rejection
    if manifest.state is State.DEREGISTERED:
        return End("superseded", "deregistered") if manifest.version >= version else None
    refused = rejection is not None and rejection.version >= version
    if refused and rejection and rejection.version >= manifest.version:
        return End("rejected", f"{rejection.reason}: {rejection.message}")
    if manifest.version < version:
        return None
    return End("ready") if manifest.version == version else End("superseded", "a newer version")


@dataclass(slots=True, kw_only=True)
class Outcomes:
    """Counts of ends, and the first rejections by name."""

    ready: int = 0
    rejected: int = 0
    superseded: int = 0
    pending: int = 0
    rejections: list[dict[str, str]] = field(default_factory=list)

    def counts(self) -> dict[str, object]:
        """What is worth showing while it is waited for."""
        return {"ready": self.ready, "rejected": self.rejected, "pending": self.pending}

    def add(self, photo_id: str, end: End) -> None:
        """Count one in."""
        setattr(self, end.kind, getattr(self, end.kind) + 1)
        if end.kind == "rejected" and len(self.rejections) < REJECTIONS:
            self.rejections.append({"photo_id": photo_id, "why": end.why})


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """Reads manifests until every event has its end; used by one thread.

    Gives up when none has ended for `stalled_seconds`: nobody consumes them, or their messages were
    lost to another subscription.
    """

    read: Callable[[str], Manifest | None]
    stopping: threading.Event
    stalled_seconds: float
    monotonic: Callable[[], float] = time.monotonic

    def __call__(self, pending: Pending, show: Callable[[Outcomes], object]) -> Outcomes:
        """Follow them; what is still pending at the end is counted as that."""
        outcomes = Outcomes(pending=len(pending))
        moved, behind, pause = self.monotonic(), 0, _SHORTEST_SECONDS
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="follow") as threads:
            while len(pending) and not self.stopping.is_set():
                some = pending.some(behind, CHUNK)
                ended = self._look(some, threads, outcomes)
                pending.remove(ended)
                outcomes.pending = len(pending)
                show(outcomes)
                if ended:
                    moved = self.monotonic()
                elif self.monotonic() - moved >= self.stalled_seconds:
                    break
                behind = some[-1].number if len(some) == CHUNK else 0
                # While whole chunks end, the queue moves as fast as it is read.
                if len(ended) * 2 < len(some) and len(pending):
                    self.stopping.wait(pause)
                    few = len(pending) <= CHUNK or ended
                    pause = _SHORTEST_SECONDS if few else min(2 * pause, _LONGEST_SECONDS)
        return outcomes

    def _look(
        self, some: list[Awaited], threads: ThreadPoolExecutor, outcomes: Outcomes
    ) -> list[int]:
        ended = []
        for awaited, end in zip(some, threads.map(self._end, some), strict=True):
            if end is not None:
                ended.append(awaited.number)
                outcomes.add(awaited.photo_id, end)
        return ended

    def _end(self, awaited: Awaited) -> End | None:
        try:
            return end_of(awaited, self.read(awaited.photo_id))
        except Transient:
            # Asked again in the next round.
            return None
