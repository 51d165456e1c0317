"""This module estimates the time left of a backfill, by counting the rest of its inventory.

A thread lists the names. It is far ahead of the comparison, and needs one request for a thousand.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Self

from worker.console.text import duration
from worker.errors import WorkerError
from worker.operate.backfill.inventory import Inventory

_FIRST_GUESS_SECONDS: Final = 3.0
_JOIN_SECONDS: Final = 2.0


class Remaining:
    """Counts the names after a place; a context manager.

    An error of the listing ends the counting silently, because the backfill gets it too.
    """

    def __init__(
        self,
        inventory: Inventory,
        behind: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inventory = inventory
        self._behind = behind
        self._clock = clock
        self._started = clock()
        self._stopping = threading.Event()
        self.total: int | None = None
        """The number of names after the place; set when all are counted."""

        self._thread = threading.Thread(target=self._count, name="remaining", daemon=True)

    def __enter__(self) -> Self:
        """Start counting."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop counting."""
        self._stopping.set()
        # The wait is limited, because a listing may hang; the thread ends with the process.
        self._thread.join(_JOIN_SECONDS)

    def left(self, done: int) -> dict[str, object]:
        """Return the time left after `done` names, see `time_left`."""
        return time_left(self._clock() - self._started, done, self.total)

    def _count(self) -> None:
        count = 0
        try:
            for _ in self._inventory.items(self._behind):
                if self._stopping.is_set():
                    return
                count += 1
        except (WorkerError, OSError):
            return
        self.total = count


def time_left(seconds: float, done: int, total: int | None) -> dict[str, object]:
    """Return `{"left": "2 h 5 min"}` at the pace so far.

    Return an empty dict for the first seconds, or without a total.
    """
    if total is None or not done or seconds < _FIRST_GUESS_SECONDS:
        return {}
    return {"left": duration(seconds * max(0, total - done) / done)}
