"""This module samples the memory of this process and its children over time, native memory too.

A sample is the sum of the proportional set sizes, so shared pages are counted once. The number of
samples is bounded: when there are too many, each two become one.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Final

from worker.system import processes

SAMPLES: Final = 240
_SECONDS: Final = 0.5

_SHARE: Final = 0.005
"""Sampling takes at most this share of a core: for each sample the kernel walks all pages."""


class MemoryWatch:
    """Samples from `start` to `stop`; read the figures after `stop`. Without a /proc they are 0."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self.samples: list[tuple[float, int]] = []
        """Seconds since the start, and bytes: the largest value since the sample before."""

        self._every = 1
        self._since = 0
        self._most = 0
        self._started = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def start(self) -> None:
        """Start the sampling thread."""
        self._thread.start()

    def stop(self) -> None:
        """Take a last sample and end; idempotent."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._thread.join()

    def _run(self) -> None:
        self._started = time.monotonic()
        ended = False
        while not ended:
            looked = time.thread_time()
            self.take(self._in_use(), time.monotonic() - self._started)
            took_seconds = time.thread_time() - looked
            ended = self._stopped.wait(max(_SECONDS, took_seconds / _SHARE))
        self.take(self._in_use(), time.monotonic() - self._started)

    def take(self, in_use_bytes: int, seconds: float) -> None:
        """Add one sample; 0 bytes mean that the system has no /proc, and are left out."""
        if not in_use_bytes:
            return
        self.peak_bytes = max(self.peak_bytes, in_use_bytes)
        self._most = max(self._most, in_use_bytes)
        self._since += 1
        if self._since < self._every:
            return
        self.samples.append((round(seconds, 2), self._most))
        self._since, self._most = 0, 0
        if len(self.samples) > SAMPLES:
            pairs = zip(self.samples[::2], self.samples[1::2], strict=False)
            self.samples = [(late[0], max(early[1], late[1])) for early, late in pairs]
            self._every *= 2

    @staticmethod
    def _in_use() -> int:
        own = os.getpid()
        return sum(processes.resident_bytes(pid) for pid in (own, *processes.children(own)))
