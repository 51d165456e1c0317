"""How long messages have been held at this moment. Google's client extends their leases.

A message may wait at the gate for as long as Cloud Storage is silent, but its handling must end
within a known time. So the two times are recorded separately.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from worker.photo.delivery import Delivery


class Lease:
    """How long one message has been held and handled. Its thread writes, other threads read."""

    __slots__ = ("_clock", "delivery", "handled_since", "held_since")

    def __init__(self, delivery: Delivery, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.delivery = delivery
        self.held_since = clock()
        self.handled_since: float | None = None

    def begin(self) -> None:
        """Record that the handling begins."""
        self.handled_since = self._clock()


class Leases:
    """The messages that are held; thread-safe. `clock` gives monotonic seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._leases: set[Lease] = set()

    @contextmanager
    def hold(self, delivery: Delivery) -> Iterator[Lease]:
        """Count a delivery as held while the block runs."""
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
        """How long the oldest unanswered message has been held; 0 without any."""
        return self._longest(
            lease.held_since for lease in self._now() if not lease.delivery.settled
        )

    @property
    def longest_handling_seconds(self) -> float:
        """How long the slowest handling has run, answered or not; 0 without any."""
        return self._longest(
            lease.handled_since for lease in self._now() if lease.handled_since is not None
        )

    def _now(self) -> list[Lease]:
        with self._lock:
            return list(self._leases)

    def _longest(self, since: Iterator[float]) -> float:
        return max(0.0, self._clock() - min(since, default=self._clock()))
