"""Tells the stages of one piece of work apart: seconds by stage, each moment counted once."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up the seconds of named stages; not thread-safe.

    A stage within another stops the outer one's clock, so that no moment counts twice.
    """

    def __init__(self, clock: Callable[[], float] = time.process_time) -> None:
        """Start with nothing; the clock is this process's CPU seconds unless told otherwise."""
        self._clock = clock
        self._running: list[str] = []
        self._since = 0.0
        self._seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block for this stage, also when the block raises."""
        self._turn()
        self._running.append(name)
        try:
            yield
        finally:
            self._turn()
            self._running.pop()

    @property
    def seconds(self) -> dict[str, float]:
        """By stage, so far."""
        self._turn()
        return dict(self._seconds)

    def _turn(self) -> None:
        """Give the time since the last turn to the innermost stage that runs."""
        now = self._clock()
        if self._running:
            self._seconds[self._running[-1]] += now - self._since
        self._since = now
