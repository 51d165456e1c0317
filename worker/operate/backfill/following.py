"""This module follows the outcomes of published events in the manifests.

It reads only the manifests, so it works without a subscription, and early outcomes count too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from worker.console.stop import Stop
from worker.errors import Transient
from worker.operate.backfill.comparison import seen_in
from worker.photo.manifest import Manifest, State
from worker.system.spool import Spool

CHUNK: Final = 500
"""So many manifests are read in one go."""

PARALLEL: Final = 16

REJECTIONS: Final = 1000
"""So many rejections are kept by name; all are counted."""

_SHORTEST_SECONDS: Final = 0.5
_LONGEST_SECONDS: Final = 10.0
"""Pauses while few events end: a day of waiting costs a few million reads."""


class Awaited(NamedTuple):
    """One event: its photo, its version, and `seen_in` of the manifest before it."""

    number: int
    photo_id: str
    version: int
    seen: str


class Pending:
    """The published events without an outcome, on disk, because there may be millions.

    One thread uses it.
    """

    def __init__(self) -> None:
        self._spool = Spool(
            "CREATE TABLE events (number INTEGER PRIMARY KEY, photo_id TEXT NOT NULL, "
            "version INTEGER NOT NULL, seen TEXT NOT NULL)"
        )
        self._count = 0

    def __len__(self) -> int:
        """Return the number of events."""
        return self._count

    def add(self, events: Iterable[tuple[str, int, str]]) -> None:
        """Add photo ids, versions, and `seen_in` of the manifests before."""
        self._count += self._spool.write(
            "INSERT INTO events (photo_id, version, seen) VALUES (?, ?, ?)", events
        )

    def some(self, behind: int, count: int) -> list[Awaited]:
        """Return up to `count` events after number `behind`, in the order of their publication."""
        rows = self._spool.rows(
            "SELECT number, photo_id, version, seen FROM events WHERE number > ? "
            "ORDER BY number LIMIT ?",
            (behind, count),
        )
        return [Awaited(*row) for row in rows]

    def remove(self, numbers: Sequence[int]) -> None:
        """Remove events that have their outcome."""
        self._spool.write("DELETE FROM events WHERE number = ?", [(number,) for number in numbers])
        self._count -= len(numbers)

    def close(self) -> None:
        """Delete all events."""
        self._spool.close()


@dataclass(frozen=True, slots=True)
class End:
    """The end of an event: `ready`, `rejected` (`why`), or `superseded` by a newer event."""

    kind: str
    why: str = ""


def end_of(awaited: Awaited, manifest: Manifest | None) -> End | None:
    """Return an event's end by its photo's manifest; `None` while the manifest is as before."""
    if manifest is None or seen_in(manifest) == awaited.seen:
        return None
    version, rejection = awaited.version, manifest.rejection
    if manifest.state is State.DEREGISTERED:
        return End("superseded", "deregistered") if manifest.version >= version else None
    if rejection is not None and rejection.version >= max(version, manifest.version):
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
        """Return the counts for the progress line."""
        return {"ready": self.ready, "rejected": self.rejected, "pending": self.pending}

    def add(self, photo_id: str, end: End) -> None:
        """Count the end of one event."""
        setattr(self, end.kind, getattr(self, end.kind) + 1)
        if end.kind == "rejected" and len(self.rejections) < REJECTIONS:
            self.rejections.append({"photo_id": photo_id, "why": end.why})


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """Reads manifests until every event has its end; used by one thread.

    It gives up when no event has ended for `stalled_seconds`: no worker runs, or the messages went
    to another subscription.
    """

    read: Callable[[str], Manifest | None]
    stop: Stop
    stalled_seconds: float
    monotonic: Callable[[], float] = time.monotonic

    def __call__(self, pending: Pending, show: Callable[[Outcomes], object]) -> Outcomes:
        """Follow all events; `pending` in the result counts events without an end."""
        outcomes = Outcomes(pending=len(pending))
        moved, behind, pause = self.monotonic(), 0, _SHORTEST_SECONDS
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="follow") as threads:
            while len(pending) and not self.stop.asked:
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
                # If most events of a chunk have ended, read the next chunk at once.
                if len(ended) * 2 < len(some) and len(pending):
                    self.stop.wait(pause)
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
            return None  # the next round asks again
