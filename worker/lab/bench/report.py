"""Where a report goes: JSON or tables on standard output, and a folder with JSON and charts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.errors import Fatal, UsageFault

_MIB = 1 << 20
_WIDTH = 120
_LARGE = 100
"""From this value on, a figure is shown with one digit instead of three."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOutput:
    """Standard output, as JSON or as tables, and a folder if one is named."""

    as_json: bool
    folder: Path | None

    def make_folder(self) -> None:
        """Make the folder if one is named, and try to write a file in it.

        Raises:
            UsageFault: the folder cannot be made or written to.
        """
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise UsageFault(f"--out {self.folder}: {error.strerror}") from error

    def write(
        self, report: Mapping[str, Any], tables: Iterable[Table], charts: Mapping[str, str]
    ) -> None:
        """Print the report; then write `report.json` and each chart as `NAME.svg`.

        Raises:
            Fatal: the folder cannot be written to; the report has been printed.
        """
        text = json.dumps(report, ensure_ascii=False, indent=2)
        # Print first, so that a full disk does not lose figures that took hours to measure.
        if self.as_json:
            print(text, flush=True)  # noqa: T201
        else:
            self._print(report, tables)
        if self.folder is None:
            return
        try:
            (self.folder / "report.json").write_text(text + "\n")
            for name, chart in charts.items():
                (self.folder / f"{name}.svg").write_text(chart)
        except OSError as error:
            raise Fatal(f"--out {self.folder}: {error.strerror}") from error

    def _print(self, report: Mapping[str, Any], tables: Iterable[Table]) -> None:
        # A cut-off table would show wrong figures; a narrow terminal wraps lines by itself.
        console = Console(soft_wrap=True)
        console.width = max(console.width, _WIDTH)
        console.print(_heading(report), highlight=False)
        for shown in tables:
            console.print()
            console.print(shown)
        if self.folder is not None:
            console.print(f"\nreport.json and charts go to {self.folder}", highlight=False)


def table(title: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a table: the first column is text, the others are figures; `None` is left empty."""
    shown = _titled(title)
    for number, heading in enumerate(headings):
        shown.add_column(heading, justify="right" if number else "left", no_wrap=bool(number))
    for row in rows:
        shown.add_row(*(Text(cell(value)) for value in row))
    return shown


def words(title: str, rows: Mapping[str, str]) -> Table:
    """Return a table of names, and a sentence about each."""
    shown = _titled(title)
    shown.show_header = False
    for name, sentence in rows.items():
        shown.add_row(Text(name), Text(sentence))
    return shown


def cell(value: object) -> str:
    """Return a figure as a table shows it."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < _LARGE else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def mib(size_bytes: float) -> str:
    """Return bytes as MiB, with one decimal."""
    return f"{size_bytes / _MIB:,.1f}"


def _titled(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 2, 0, 0),
        header_style="dim",
    )


def _heading(report: Mapping[str, Any]) -> str:
    machine, versions = report["machine"], report["versions"]
    load = ", ".join(str(each) for each in machine["load"])
    return "\n".join(
        [
            f"{report['verb']}  {report['at']}",
            report["recipe"],
            f"{machine['cpu']}, {machine['vcpus']} vCPUs, {mib(machine['memory_bytes'])} MiB",
            f"{machine['system']}, load {load}",
            "  ".join(f"{name} {version}" for name, version in versions.items()),
        ]
    )
