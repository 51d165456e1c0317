"""The tally counts the outcomes of one run, in memory that does not grow with the pictures.

It counts everything, and keeps the first names of each list, the best and the worst savings, and a
histogram of the seconds of a picture. It writes each failure to a file as a line of JSON.
"""

from __future__ import annotations

import bisect
import heapq
import threading
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from worker.console.text import to_json
from worker.convert.outcomes import Converted, Failed, Found, Outcome, PassedOver, Unchanged

LISTED: Final = 1000
"""So many failures, and so many files passed over, are kept by name; all are counted."""

SHOWN: Final = 8
"""So many of the best savings are kept, and as many of the worst."""

SECONDS: Final = (
    *(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75),
    *(1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0, 60.0),
)
"""Upper ends, in seconds, of the histogram's classes; one more class is open."""


@dataclass(frozen=True, slots=True, order=True)
class Saving:
    """The saving of one picture: the largest rendition saves the `share` of its bytes."""

    share: float
    name: str
    original_bytes: int = field(compare=False)
    rendition_bytes: int = field(compare=False)
    width: int = field(compare=False)
    height: int = field(compare=False)
    format: str = field(compare=False)
    kept: bool = field(compare=False)


@dataclass(slots=True, kw_only=True)
class Counts:
    """Numbers of pictures, files, bytes and seconds."""

    found: int = 0
    converted: int = 0
    current: int = 0
    failed: int = 0
    kept: int = 0
    pending: int = 0
    """The pictures that a dry run would convert, and their bytes."""
    pending_bytes: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    pixels: int = 0
    seconds: float = 0.0
    child_cpu_seconds: float = 0.0
    shortest_seconds: float = 0.0
    longest_seconds: float = 0.0
    largest_render_bytes: int = 0

    @property
    def settled(self) -> int:
        """Count the pictures that are converted, current or failed."""
        return self.converted + self.current + self.failed


class Tally:
    """The tally of one run; thread-safe."""

    def __init__(self, failures: Path | None) -> None:
        """`failures` is the file for all failures; the first failure creates it."""
        self.counts = Counts()
        self.reasons: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        self.formats: Counter[str] = Counter()
        self.rungs: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """For each rung: count, bytes, pixels, and the bytes of the originals."""

        self.failures: list[Failed] = []
        self.passed_over: list[PassedOver] = []
        self.times = [0] * (len(SECONDS) + 1)
        self._best: list[tuple[Saving, int]] = []
        self._worst: list[tuple[tuple[float, int], Saving]] = []
        self._file = failures
        self._lines: IO[bytes] | None = None
        self._lock = threading.Lock()

    def saw(self) -> None:
        """Count a picture that was found."""
        with self._lock:
            self.counts.found += 1

    def wants(self, found: Found) -> None:
        """Count a picture that would be converted."""
        with self._lock:
            self.counts.pending += 1
            self.counts.pending_bytes += found.size_bytes

    def add(self, outcome: Outcome) -> None:
        """Count the outcome of a picture."""
        with self._lock:
            if isinstance(outcome, Converted):
                self._converted(outcome)
            elif isinstance(outcome, Unchanged):
                self.counts.current += 1
            elif isinstance(outcome, Failed):
                self._failed(outcome)
            else:
                self.passed[outcome.why.value] += 1
                if len(self.passed_over) < LISTED:
                    self.passed_over.append(outcome)

    def unsaw(self) -> None:
        """Take back the count of a found picture that is something else."""
        with self._lock:
            self.counts.found -= 1

    @property
    def best(self) -> list[Saving]:
        """Return the largest savings, largest first."""
        return [saving for saving, _ in sorted(self._best, reverse=True)]

    @property
    def worst(self) -> list[Saving]:
        """Return the smallest savings, smallest first, without those that are among the best."""
        best = set(self.best)
        return [saving for _, saving in sorted(self._worst, reverse=True) if saving not in best]

    def close(self) -> None:
        """Close the file of failures."""
        with self._lock:
            if self._lines is not None:
                with suppress(OSError):
                    self._lines.close()

    def _converted(self, done: Converted) -> None:
        counts, facts, seconds = self.counts, done.facts, done.cost.seconds
        original_bytes, largest = done.content.size_bytes, done.files[-1]
        counts.converted += 1
        counts.kept += done.kept
        counts.bytes_in += original_bytes
        counts.pixels += facts.width * facts.height
        counts.seconds += seconds
        counts.child_cpu_seconds += done.cost.cpu_seconds
        counts.longest_seconds = max(counts.longest_seconds, seconds)
        shortest = counts.shortest_seconds if counts.converted > 1 else seconds
        counts.shortest_seconds = min(shortest, seconds)
        counts.largest_render_bytes = max(counts.largest_render_bytes, done.cost.peak_bytes)
        self.formats[facts.format] += 1
        self.times[bisect.bisect_left(SECONDS, seconds)] += 1
        for each in done.files:
            counts.bytes_out += each.size_bytes
            self.rungs[each.rung].update(
                count=1,
                bytes=each.size_bytes,
                pixels=each.width * each.height,
                original_bytes=original_bytes,
            )
        saving = Saving(
            share=round(1 - largest.size_bytes / original_bytes, 4),
            name=done.found.name,
            original_bytes=original_bytes,
            rendition_bytes=largest.size_bytes,
            width=facts.width,
            height=facts.height,
            format=facts.format,
            kept=done.kept,
        )
        _keep(self._best, (saving, counts.converted))
        _keep(self._worst, ((-saving.share, counts.converted), saving))

    def _failed(self, failed: Failed) -> None:
        self.counts.failed += 1
        self.reasons[failed.reason] += 1
        if len(self.failures) < LISTED:
            self.failures.append(failed)
        if self._file is None:
            return
        try:
            if self._lines is None:
                self._lines = self._file.open("wb")
            self._lines.write(f"{to_json(failure_fields(failed), indent=None)}\n".encode())
        except OSError:
            # The disk is full; the next picture meets the same error, and ends the run.
            self._file = None


def failure_fields(failed: Failed) -> dict[str, str]:
    """Return a failure as the summary and the file of failures show it."""
    return {"name": failed.name, "reason": failed.reason, "message": failed.message}


def _keep(heap: list[Any], item: Any) -> None:  # noqa: ANN401 (whatever compares)
    if len(heap) < SHOWN:
        heapq.heappush(heap, item)
    else:
        heapq.heappushpop(heap, item)
