"""How a local session shows its progress and its results on a terminal, or in a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

_MB = 1e6


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
    last = -1

    def line(ended: int, everything: int) -> None:
        nonlocal last
        if ended != last:
            console.print(f"{ended} of {everything} photos")
            last = ended

    yield line


def table(photos: list[dict[str, Any]]) -> Table:
    """One row a photo: size, rungs, bytes in and out, seconds from registration to outcome."""
    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    shown.add_column("photo", overflow="fold")
    for heading in ("size", "rungs", "MB in", "MB out", "seconds"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for photo in photos:
        size: str | Text = f"{photo['width']}x{photo['height']}" if photo["width"] else ""
        bytes_out, seconds = photo["bytes_out"], photo["seconds"]
        if photo["status"] == "rejected":
            size = Text(str(photo["reason"]), style="red")
        shown.add_row(
            Text(photo["photo_id"]),
            size,
            str(len(photo["rungs"])) if photo["rungs"] else "",
            f"{photo['bytes_in'] / _MB:.2f}",
            f"{bytes_out / _MB:.2f}" if bytes_out else "",
            f"{seconds:.1f}" if seconds is not None else "",
        )
    return shown


def summary(photos: list[dict[str, Any]], seconds: float) -> str:
    """Totals on one line."""
    ready = [photo for photo in photos if photo["status"] == "ready"]
    bytes_in = sum(photo["bytes_in"] for photo in ready)
    bytes_out = sum(photo["bytes_out"] or 0 for photo in ready)
    rejected = sum(photo["status"] == "rejected" for photo in photos)
    pace = len(ready) / seconds * 60 if seconds else 0.0
    return (
        f"{len(ready)} ready, {rejected} rejected in {seconds:.1f} s ({pace:.0f} photos a minute); "
        f"{bytes_in / _MB:.1f} MB in, {bytes_out / _MB:.1f} MB out"
    )
