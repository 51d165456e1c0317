"""How a local session shows its photos: a table on a terminal, whole lines elsewhere."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from worker.lab.local import report

LONG = f"{'a long name of an album, ' * 6}IMG_0001 [bold].jpg"


def photo(photo_id: str, **facts: Any) -> dict[str, Any]:
    sound = {
        "photo_id": photo_id,
        "status": "ready",
        "reason": None,
        "message": None,
        "width": 900,
        "height": 600,
        "rungs": ["320", "full"],
        "bytes_in": 1_000_000,
        "bytes_out": 250_000,
        "seconds": 1.25,
    }
    return sound | facts


def refused(photo_id: str, message: str) -> dict[str, Any]:
    nothing = dict.fromkeys(("width", "height", "bytes_out"))
    return photo(
        photo_id, status="rejected", reason="unreadable", message=message, rungs=[], **nothing
    )


def show(*photos: dict[str, Any], terminal: bool) -> None:
    report.show(Console(force_terminal=terminal, width=80, no_color=True), list(photos), 2.0)


def test_without_a_terminal_each_photo_is_one_line_of_fields(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show(photo(LONG), refused("b.jpg", "cannot be read: \x1b[31m"), terminal=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t") for line in lines[:3]] == [
        ["photo", "size", "rungs", "MB in", "MB out", "seconds"],
        [LONG, "900x600", "2", "1.00", "0.25", "1.2"],
        ["b.jpg", "unreadable", "", "1.00", "", "1.2"],
    ]
    assert lines[3] == r"b.jpg: unreadable: cannot be read: \x1b[31m"
    assert lines[4].startswith("1 ready, 1 rejected in 2.0 s")
    assert len(lines) == 5


def test_a_terminal_gets_a_table_and_the_reasons_below_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show(photo("a.jpg"), refused("b.jpg", "cannot be read"), terminal=True)
    lines = capsys.readouterr().out.splitlines()
    assert not any("\t" in line for line in lines)
    assert any("a.jpg" in line and "900x600" in line for line in lines)
    assert "b.jpg: unreadable: cannot be read" in lines


def test_without_a_terminal_progress_is_a_line_now_and_then() -> None:
    file = io.StringIO()
    with report.progress(Console(file=file, force_terminal=False)) as show:
        for ended in range(300):
            show(ended, 300)
    assert len(file.getvalue().splitlines()) < 10
