"""Place: what is kept of a run, when, and what a full disk does to it."""

from __future__ import annotations

import json
from pathlib import Path

import structlog
from structlog.testing import LogCapture

from worker.operate.backfill.place import Place
from worker.operate.backfill.report import BackfillReport
from worker.operate.checkpoint import Checkpoint


class Kept:
    """A checkpoint in a folder, a clock, and what was logged."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.file = folder / "checkpoint.json"
        self.now = 0.0
        self.captured = LogCapture()
        self.place = self.begin()

    def begin(self) -> Place:
        return Place(
            Checkpoint(file=self.file, run={"verb": "backfill"}, report=BackfillReport),
            lambda: BackfillReport(source="s", bucket="b", prefix="", recipe="r"),
            structlog.wrap_logger(None, processors=[self.captured]),
            lambda: self.now,
        )

    @property
    def resume_at(self) -> str | None:
        return json.loads(self.file.read_text())["resume_at"] if self.file.exists() else None


def test_a_place_is_on_disk_a_second_later_and_at_the_end(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "folder")
    kept.place.keep("a")
    assert kept.resume_at is None
    kept.now = 1.0
    kept.place.keep("b")
    kept.place.keep("c")
    assert kept.resume_at == "b"
    kept.place.report.published = 3
    kept.place.keep_for_good()
    resumed = kept.begin()
    assert (resumed.behind, resumed.report.published) == ("c", 3)
    resumed.keep_for_good()
    assert kept.resume_at == "c"
    resumed.report.complete = True
    resumed.keep_for_good()
    assert kept.resume_at is None


def test_nothing_is_kept_of_a_run_that_came_nowhere(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "folder")
    kept.place.keep_for_good()
    assert kept.resume_at is None


def test_what_cannot_be_kept_is_told_once_and_ends_no_run(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "folder")
    kept.file.parent.rmdir()
    for name in ("a", "b"):
        kept.now += 1.0
        kept.place.keep(name)
    kept.place.keep_for_good()
    [line] = kept.captured.entries
    assert line["event"] == "the checkpoint cannot be kept"
    assert line["file"] == str(kept.file)
