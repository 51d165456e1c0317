"""Pace counts all pictures of a run and estimates the time left, for the progress line."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self

from worker.console.text import duration
from worker.convert.tally import Tally


class Pace:
    """The pace of one run. While the context is open, a thread counts the pictures."""

    def __init__(self, tally: Tally, count: Callable[[Callable[[], bool]], int | None]) -> None:
        """`count` counts all pictures; it gives up when its argument returns True."""
        self._tally = tally
        self._count = count
        self._total: int | None = None
        self._begun = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="count", daemon=True)

    def __enter__(self) -> Self:
        """Start counting."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop counting."""
        self._over.set()
        self._thread.join()

    def counts(self) -> dict[str, object]:
        """Return the fields for `progress`; `of` and `left` when all pictures are counted."""
        counts = self._tally.counts
        shown: dict[str, object] = {
            "converted": counts.converted,
            "current": counts.current,
            "failed": counts.failed,
        }
        if self._total is not None and self._total >= counts.settled:
            shown["of"] = self._total
            worked = counts.converted + counts.failed
            if worked:
                each = (time.monotonic() - self._begun) / worked
                shown["left"] = duration((self._total - counts.settled) * each)
        return shown

    def _run(self) -> None:
        self._total = self._count(self._over.is_set)
