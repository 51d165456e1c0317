"""Report: the progress and the results of a local session, on a terminal or in a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from worker.console.printer import Printer
from worker.console.progress import LINE_SECONDS, paced
from worker.console.text import plain

_MB = 1e6
_HEADINGS = ("photo", "size", "rungs", "MB in", "MB out", "seconds")


@contextmanager
def progress(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows "so many of so many": a bar on a terminal, lines elsewhere."""
    if console.is_terminal:
        columns = (
            TextColumn("photos"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            shown = bar.add_task("photos", total=None)
            yield lambda ended, everything: bar.update(shown, completed=ended, total=everything)
        return
    line = paced(
        LINE_SECONDS, lambda counts: console.print(f"{counts['ended']} of {counts['all']} photos")
    )
    yield lambda ended, everything: line({"ended": ended, "all": everything})


def show(console: Console, photos: list[dict[str, Any]], seconds: float) -> None:
    """Print each photo's outcome, and totals: a table on a terminal, else tab-separated lines.

    In a log, a table would break long names.
    """
    rows = [_row(photo) for photo in photos]
    # The console would turn tabs into spaces.
    printer = Printer()
    if console.is_terminal:
        console.print(_table(rows))
    else:
        printer("\n".join("\t".join(row) for row in (_HEADINGS, *rows)))
    for photo in photos:
        if photo["status"] == "rejected":
            printer(plain(f"{photo['photo_id']}: {photo['reason']}: {photo['message']}"))
    console.print(_summary(photos, seconds))


def _row(photo: dict[str, Any]) -> tuple[str, ...]:
    size = f"{photo['width']}x{photo['height']}" if photo["width"] else ""
    bytes_out, seconds = photo["bytes_out"], photo["seconds"]
    return (
        photo["photo_id"],
        photo["reason"] if photo["status"] == "rejected" else size,
        str(len(photo["rungs"])) if photo["rungs"] else "",
        f"{photo['bytes_in'] / _MB:.2f}",
        f"{bytes_out / _MB:.2f}" if bytes_out else "",
        f"{seconds:.1f}" if seconds is not None else "",
    )


def _table(rows: list[tuple[str, ...]]) -> Table:
    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    shown.add_column(_HEADINGS[0], overflow="fold")
    for heading in _HEADINGS[1:]:
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        shown.add_row(*map(Text, row))
    return shown


def _summary(photos: list[dict[str, Any]], seconds: float) -> str:
    """Return the totals on one line."""
    ready = [photo for photo in photos if photo["status"] == "ready"]
    bytes_in = sum(photo["bytes_in"] for photo in ready)
    bytes_out = sum(photo["bytes_out"] or 0 for photo in ready)
    rejected = sum(photo["status"] == "rejected" for photo in photos)
    pace = len(ready) / seconds * 60 if seconds else 0.0
    return (
        f"{len(ready)} ready, {rejected} rejected in {seconds:.1f} s ({pace:.0f} photos a minute); "
        f"{bytes_in / _MB:.1f} MB in, {bytes_out / _MB:.1f} MB out"
    )
