"""What `benchmarks.rivals` is asked for and cannot do is told before it measures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import structlog

from benchmarks.rivals.measure import RivalsOptions, bench_rivals
from worker.errors import UsageFault
from worker.lab.bench.report import ReportOutput
from worker.settings.settings import Settings


def test_scores_need_a_package_and_the_message_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ssimulacra2", None)  # as if it were not installed
    options = RivalsOptions(
        photos=[str(tmp_path)],
        rounds=1,
        sharp=None,
        quality_score=True,
        score_up_to_px=64,
        environment={},
    )
    output = ReportOutput(as_json=True, folder=None)
    with pytest.raises(UsageFault, match="pip install ssimulacra2"):
        bench_rivals(Settings.load({}, {}), options, output, structlog.get_logger())
