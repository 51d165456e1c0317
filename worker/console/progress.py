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
"""Between two lines where there is no terminal."""

Show = Callable[[Mapping[str, object]], None]
"""Is given the counts so far, as often as the caller likes."""


@contextmanager
def progress(what: str, log: Log) -> Iterator[Show]:
    """Show counts while the block runs; standard output stays free for results."""
    # Python has no standard error where it was closed before the start.
    if not (sys.stderr and sys.stderr.isatty()):
        yield paced(LINE_SECONDS, lambda counts: log.info(what, **counts))
        return
    with Console(stderr=True).status(what) as status:
        yield paced(_REDRAW_SECONDS, lambda counts: status.update(f"{what}  {_line(counts)}"))


def paced(seconds: float, show: Show) -> Show:
    """Show counts at most once in so many seconds, the first time after as many."""
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


def duration(seconds: float) -> str:
    """`3 h 25 min`, `4 min 05 s` or `12 s`."""
    whole = round(seconds)
    if whole >= 3600:  # noqa: PLR2004 (an hour)
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 60} min {whole % 60:02} s" if whole >= 60 else f"{whole} s"  # noqa: PLR2004


def sized(size_bytes: int) -> str:
    """`17 bytes`, `2.5 kB` or `1.2 GB`."""
    size = float(size_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004 (decimal units, as bills have them)
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
