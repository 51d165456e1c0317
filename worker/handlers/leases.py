"""Leases: which messages are held in this moment, and since when.

A message may wait before it is handled, while Cloud Storage is silent, as long as that takes; what
is being handled has an end that can be foretold. So both are told apart here. Knows no message's
content, and answers none.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from worker.photo.delivery import Delivery


class Lease:
    """One message's time here. Used by the thread that has it, read by others."""

    __slots__ = ("_clock", "delivery", "handled_since", "held_since")

    def __init__(self, delivery: Delivery, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.delivery = delivery
        self.held_since = clock()
        self.handled_since: float | None = None

    def begin(self) -> None:
        """It waits no longer: its handling begins."""
        self.handled_since = self._clock()


class Leases:
    """What is held; thread-safe. `clock` gives monotonic seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is held."""
        self._clock = clock
        self._lock = threading.Lock()
        self._leases: set[Lease] = set()

    @contextmanager
    def hold(self, delivery: Delivery) -> Iterator[Lease]:
        """Know of a delivery for as long as the block runs."""
        lease = Lease(delivery, self._clock)
        with self._lock:
            self._leases.add(lease)
        try:
            yield lease
        finally:
            with self._lock:
                self._leases.discard(lease)

    @property
    def oldest_seconds(self) -> float:
        """How long the longest-held message that has no answer yet has been held; 0 without any."""
        return self._longest(
            lease.held_since for lease in self._now() if not lease.delivery.settled
        )

    @property
    def longest_handling_seconds(self) -> float:
        """For how long the slowest handling has gone on, its answer given or not; 0 without any."""
        return self._longest(
            lease.handled_since for lease in self._now() if lease.handled_since is not None
        )

    def _now(self) -> list[Lease]:
        with self._lock:
            return list(self._leases)

    def _longest(self, since: Iterator[float]) -> float:
        return max(0.0, self._clock() - min(since, default=self._clock()))
