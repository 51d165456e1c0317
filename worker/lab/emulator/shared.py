"""The embedded broker's state, shared by threads.

This module has the one lock, the conditions on which consumers wait, and the thread that ends
leases and rests when they are due.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from worker.lab.emulator.broker import Broker
from worker.lab.emulator.records import Faults


class SharedBroker:
    """A `Broker` under one lock, with a thread that only `close` ends. Thread-safe."""

    def __init__(self, faults: Faults) -> None:
        self._lock = threading.Lock()
        # Each subscription has a condition, so that an ack wakes only that subscription's streams.
        self._changed: defaultdict[str, threading.Condition] = defaultdict(
            lambda: threading.Condition(self._lock)
        )
        self._alarm = threading.Condition(self._lock)
        self._alarm_due = math.inf
        self._closed = False
        self._broker = Broker(
            clock=time.monotonic,
            wall_clock=lambda: datetime.now(UTC),
            faults=faults,
            wake=self.wake,
            incarnation=secrets.token_hex(4),
        )
        self._thread = threading.Thread(target=self._keep_time, name="broker-time", daemon=True)
        self._thread.start()

    @contextmanager
    def locked(self) -> Iterator[Broker]:
        """Hold the lock and give the broker. Only `wait` may block meanwhile."""
        with self._lock:
            try:
                yield self._broker
            finally:
                due = self._broker.next_due()
                if due is not None and due < self._alarm_due:
                    self._alarm.notify()

    def wake(self, subscription: str) -> None:
        """Wake the threads that wait for a subscription. Call it only within `locked`."""
        if subscription in self._changed:
            self._changed[subscription].notify_all()

    def wait(self, subscription: str, timeout_seconds: float | None = None) -> None:
        """Wait until woken; without a timeout, wait for ever. Call it only within `locked`.

        Other threads use the broker meanwhile, so read its state again afterwards.
        """
        self._changed[subscription].wait(timeout_seconds)

    def close(self) -> None:
        """End the thread; idempotent."""
        with self._lock:
            self._closed = True
            self._alarm.notify()
        self._thread.join()

    def _keep_time(self) -> None:
        with self._lock:
            while not self._closed:
                self._broker.advance()
                due = self._broker.next_due()
                self._alarm_due = math.inf if due is None else due
                self._alarm.wait(None if due is None else max(0.0, due - time.monotonic()))
