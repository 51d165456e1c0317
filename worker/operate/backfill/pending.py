"""Pending: events that were published and whose outcomes are waited for.

On disk, so that a million of them take no more memory than a thousand.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from worker.system.spool import Spool

_LAYOUT = """
CREATE TABLE events (
    number INTEGER PRIMARY KEY,
    photo_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    seen TEXT NOT NULL
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """One event: its photo, its version, and the manifest that stood before it."""

    number: int
    photo_id: str
    version: int
    seen: str


class Pending:
    """What one run has published; for one thread. Gone when it is closed, or its process dies."""

    def __init__(self) -> None:
        self._spool = Spool(_LAYOUT)
        self._count = 0

    def __len__(self) -> int:
        """How many are waited for."""
        return self._count

    def add(self, events: Iterable[tuple[str, int, str]]) -> None:
        """Wait for these: photo id, version, and what was seen in the manifest before."""
        self._count += self._spool.write(
            "INSERT INTO events (photo_id, version, seen) VALUES (?, ?, ?)", events
        )

    def some(self, behind: int, count: int) -> list[Awaited]:
        """So many of them in the order of their publication, behind a number."""
        rows = self._spool.rows(
            "SELECT number, photo_id, version, seen FROM events WHERE number > ? "
            "ORDER BY number LIMIT ?",
            (behind, count),
        )
        return [
            Awaited(number=number, photo_id=photo_id, version=version, seen=seen)
            for number, photo_id, version, seen in rows
        ]

    def remove(self, numbers: Sequence[int]) -> None:
        """These have their outcome."""
        self._spool.write("DELETE FROM events WHERE number = ?", [(each,) for each in numbers])
        self._count -= len(numbers)

    def close(self) -> None:
        """Forget everything."""
        self._spool.close()
