"""A checkpoint: what it keeps, and for whom."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from worker.errors import ExitCode, UsageFault
from worker.operate.backfill.report import BackfillReport
from worker.operate.checkpoint import Checkpoint
from worker.operate.sweep.report import Report

RUN = {"verb": "verify", "bucket": "b", "prefix": "photos/"}
AT = "photos/p/manifest.json"


def checkpoint(file: Path | None, **run: object) -> Checkpoint[Report]:
    return Checkpoint(file=file, run={**RUN, **run}, report=Report)


def report() -> Report:
    found = Report(bucket="b", prefix="photos/", photos=3, seconds=1.5)
    found.add_fault({"kind": "missing"}, repaired=False)
    return found


def test_an_interrupted_run_goes_on_with_what_it_had_found(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.json"
    assert checkpoint(file).load() is None
    checkpoint(file).save(AT, report())
    loaded = checkpoint(file).load()
    assert loaded is not None
    resume_at, resumed = loaded
    assert (resume_at, resumed.resumed_at, resumed.photos) == (AT, AT, 3)
    assert resumed.exit_code is ExitCode.SOME_FAILED
    checkpoint(file).clear()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("other", [{"verb": "sweep"}, {"bucket": "c"}, {"dry_run": True}])
def test_another_runs_checkpoint_is_refused(tmp_path: Path, other: dict[str, object]) -> None:
    file = tmp_path / "checkpoint.json"
    checkpoint(file).save(AT, report())
    with pytest.raises(UsageFault, match="another run"):
        checkpoint(file, **other).load()


@pytest.mark.parametrize("resume_at", [None, 7, "elsewhere/p"])
def test_a_place_that_is_none_is_refused(tmp_path: Path, resume_at: object) -> None:
    file = tmp_path / "checkpoint.json"
    checkpoint(file).save(AT, report())
    kept = json.loads(file.read_text())
    file.write_text(json.dumps({**kept, "resume_at": resume_at}))
    with pytest.raises(UsageFault, match="where to go on"):
        checkpoint(file).load()


def test_what_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="is a folder"):
        checkpoint(tmp_path).load()
    with pytest.raises(UsageFault, match="cannot write the checkpoint"):
        checkpoint(tmp_path / "nowhere" / "c.json").load()
    with pytest.raises(UsageFault, match="cannot write the checkpoint"):
        checkpoint(tmp_path / ("x" * 300)).load()


def test_without_a_file_nothing_is_kept() -> None:
    assert checkpoint(None).load() is None
    checkpoint(None).save(AT, report())
    checkpoint(None).clear()


def test_a_checkpoint_of_another_kind_of_report_is_none(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.json"
    checkpoint(file).save(AT, report())
    with pytest.raises(UsageFault, match="is no checkpoint"):
        Checkpoint(file=file, run=RUN, report=BackfillReport).load()
