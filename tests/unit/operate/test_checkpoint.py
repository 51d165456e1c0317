"""A checkpoint: what it keeps, when, and for which run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import structlog
from structlog.testing import LogCapture

from worker.errors import ExitCode, UsageFault
from worker.operate.backfill.report import BackfillReport
from worker.operate.checkpoint import Checkpoint
from worker.operate.sweep.report import SweepReport

RUN = {"verb": "verify", "bucket": "b", "prefix": "photos/"}
AT = "photos/p/manifest.json"


class Bench:
    """A file, a clock, what was logged, and checkpoints of it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "checkpoint.json"
        self.now = 0.0
        self.captured = LogCapture()

    def begin(
        self, file: Path | None = None, run: Mapping[str, object] = RUN
    ) -> Checkpoint[SweepReport]:
        return Checkpoint(
            str(file or self.file),
            run=run,
            fresh=SweepReport(bucket="b", prefix="photos/"),
            log=structlog.wrap_logger(None, processors=[self.captured]),
            monotonic=lambda: self.now,
        )

    def interrupted(self) -> None:
        """Leave a checkpoint at `AT` after three photos and a fault."""
        run = self.begin()
        run.report.photos = 3
        run.report.add_fault({"kind": "missing"}, repaired=False)
        run.reach(AT)
        run.end()

    @property
    def resume_at(self) -> str | None:
        return json.loads(self.file.read_text())["resume_at"] if self.file.exists() else None


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_an_interrupted_run_goes_on_with_what_it_had_found(bench: Bench) -> None:
    assert bench.begin().place is None
    bench.interrupted()
    resumed = bench.begin()
    report = resumed.report
    assert (resumed.place, report.resumed_at, report.photos) == (AT, AT, 3)
    assert report.exit_code is ExitCode.SOME_FAILED
    resumed.end()
    assert bench.resume_at == AT
    report.complete = True
    resumed.end()
    assert list(bench.file.parent.iterdir()) == []


def test_a_place_is_on_disk_a_second_later_and_at_the_end(bench: Bench) -> None:
    run = bench.begin()
    run.reach("photos/a")
    assert bench.resume_at is None
    bench.now = 1.0
    run.reach("photos/b")
    run.reach("photos/c")
    assert bench.resume_at == "photos/b"
    run.end()
    assert bench.resume_at == "photos/c"


def test_a_run_that_came_nowhere_keeps_nothing(bench: Bench) -> None:
    bench.begin().end()
    assert bench.resume_at is None


def test_a_failed_write_is_logged_once_and_the_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    bench = Bench(tmp_path / "folder")
    run = bench.begin()
    bench.file.parent.rmdir()
    for name in ("photos/a", "photos/b"):
        bench.now += 1.0
        run.reach(name)
    run.end()
    [line] = bench.captured.entries
    assert line["event"] == "the checkpoint cannot be kept"
    assert line["file"] == str(bench.file)


@pytest.mark.parametrize("other", [{"verb": "sweep"}, {"bucket": "c"}, {"dry_run": True}])
def test_another_runs_checkpoint_is_refused(bench: Bench, other: dict[str, object]) -> None:
    bench.interrupted()
    with pytest.raises(UsageFault, match="another run"):
        bench.begin(run={**RUN, **other})


@pytest.mark.parametrize("resume_at", [None, 7, "elsewhere/p"])
def test_a_place_that_is_none_is_refused(bench: Bench, resume_at: object) -> None:
    bench.interrupted()
    kept = json.loads(bench.file.read_text())
    bench.file.write_text(json.dumps({**kept, "resume_at": resume_at}))
    with pytest.raises(UsageFault, match="where to go on"):
        bench.begin()


def test_what_cannot_be_written_is_told_at_the_start(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="is a folder"):
        bench.begin(tmp_path)
    for file in (tmp_path / "nowhere" / "c.json", tmp_path / ("x" * 300)):
        with pytest.raises(UsageFault, match="cannot write the checkpoint"):
            bench.begin(file)


def test_without_a_file_nothing_is_kept(bench: Bench) -> None:
    log = structlog.wrap_logger(None, processors=[bench.captured])
    fresh = SweepReport(bucket="b", prefix="photos/")
    run = Checkpoint(None, run=RUN, fresh=fresh, log=log, monotonic=lambda: bench.now)
    bench.now = 1.0
    run.reach(AT)
    run.end()
    assert list(bench.file.parent.iterdir()) == []


def test_a_checkpoint_of_another_kind_of_report_is_none(bench: Bench) -> None:
    bench.interrupted()
    log = structlog.wrap_logger(None, processors=[bench.captured])
    fresh = BackfillReport(source="s", bucket="b", prefix="photos/", recipe="r")
    with pytest.raises(UsageFault, match="is no checkpoint"):
        Checkpoint(str(bench.file), run=RUN, fresh=fresh, log=log)
