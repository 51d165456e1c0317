"""A report that has been measured is told, whatever becomes of its folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from worker.errors import Fatal, UsageFault
from worker.lab.bench.report import ReportOutput


def test_a_folder_is_made_before_it_is_needed(tmp_path: Path) -> None:
    output = ReportOutput(as_json=True, folder=tmp_path / "a" / "b")
    output.make_folder()
    assert list((tmp_path / "a" / "b").iterdir()) == []
    output.write({"verb": "bench"}, [], {"chart": "<svg/>"})
    assert {file.name for file in (tmp_path / "a" / "b").iterdir()} == {"report.json", "chart.svg"}


def test_a_folder_that_cannot_be_is_named_with_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "afile"
    file.touch()
    with pytest.raises(UsageFault, match=f"--out {file}: File exists"):
        ReportOutput(as_json=True, folder=file).make_folder()
    with pytest.raises(UsageFault, match="--out /proc: "):
        ReportOutput(as_json=True, folder=Path("/proc")).make_folder()


def test_the_report_is_printed_before_its_folder_is_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ReportOutput(as_json=True, folder=tmp_path / "gone")
    with pytest.raises(Fatal, match="gone: No such file"):
        output.write({"verb": "bench"}, [], {})
    assert json.loads(capsys.readouterr().out) == {"verb": "bench"}
