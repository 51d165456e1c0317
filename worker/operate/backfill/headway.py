"""Headway: how long the rest of an inventory takes, by counting it in a thread of its own.

Listing names alone is far ahead of comparing them, and costs one request for a thousand.
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
"""Before that much has been done, a guess would only be noise."""


_JOIN_SECONDS: Final = 2.0


class Headway:
    """Counts what is behind a place; a context manager, which ends its thread.

    An error of the listing ends the counting in silence: whoever does the work meets it too.
    """

    def __init__(
        self,
        inventory: Inventory,
        behind: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Count nothing yet."""
        self._inventory = inventory
        self._behind = behind
        self._clock = clock
        self._started = clock()
        self._stopping = threading.Event()
        self._total: int | None = None
        self._thread = threading.Thread(target=self._count, name="headway", daemon=True)

    def __enter__(self) -> Self:
        """Begin to count."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop counting."""
        self._stopping.set()
        # A listing that gets no answer must not hold up an end; the thread ends with the process.
        self._thread.join(_JOIN_SECONDS)

    @property
    def total(self) -> int | None:
        """Names behind the place, once all of them are counted."""
        return self._total

    def left(self, done: int) -> dict[str, object]:
        """How long the rest takes, once all is counted; `done` is names dealt with so far."""
        return left(self._clock() - self._started, done, self._total)

    def _count(self) -> None:
        count = 0
        try:
            for _ in self._inventory.items(self._behind):
                if self._stopping.is_set():
                    return
                count += 1
        except (WorkerError, OSError):
            return
        self._total = count


def left(seconds: float, done: int, total: int | None) -> dict[str, object]:
    """`{"left": "2 h 5 min"}` at the pace so far; empty as long as nobody can tell."""
    if total is None or not done or seconds < _FIRST_GUESS_SECONDS:
        return {}
    return {"left": duration(seconds * max(0, total - done) / done)}
