"""Progress of long work: one changing line on a terminal, now and then a log line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console

from worker.telemetry.logs import Log

_REDRAW_SECONDS = 0.2
LINE_SECONDS = 10.0
"""The seconds between two lines of a log."""

Show = Callable[[Mapping[str, object]], None]
"""A function that takes the counts so far, as often as the caller likes."""


@contextmanager
def progress(what: str, log: Log) -> Iterator[Show]:
    """Show counts while the block runs; standard output stays free for results."""
    # `sys.stderr` is `None` if standard error was closed before the start.
    if not (sys.stderr and sys.stderr.isatty()):
        yield paced(LINE_SECONDS, lambda counts: log.info(what, **counts))
        return
    with Console(stderr=True).status(what) as status:
        yield paced(_REDRAW_SECONDS, lambda counts: status.update(f"{what}  {_line(counts)}"))


def paced(seconds: float, show: Show) -> Show:
    """Show counts at most once in `seconds`, for the first time after `seconds`."""
    due = time.monotonic() + seconds

    def show_when_due(counts: Mapping[str, object]) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + seconds
            show(counts)

    return show_when_due


def _line(counts: Mapping[str, object]) -> str:
    return "  ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}"
        for name, value in counts.items()
    )
