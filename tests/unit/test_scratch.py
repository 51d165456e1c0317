"""Scratch folders: one for each process, and none outlives it for long."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.scratch import PREFIX, Scratch

HOLD = "from worker.scratch import Scratch; s = Scratch(); print(s.path, flush=True); input()"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.fixture
def other() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process with a scratch folder, until its input ends."""
    running = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with running:
        assert running.stdout is not None
        yield running, Path(running.stdout.readline().strip())
        running.kill()


def test_a_folder_comes_and_goes(temporary: Path) -> None:
    scratch = Scratch()
    (scratch.path / "original").write_bytes(b"x")
    assert scratch.path.parent == temporary
    scratch.cleanup()
    scratch.cleanup()
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(
    other: tuple[subprocess.Popen[str], Path],
) -> None:
    running, path = other
    (path / "original").write_bytes(b"x")
    running.kill()
    running.wait()
    assert path.exists()
    Scratch().cleanup()
    assert not path.exists()


def test_what_is_in_use_stays(other: tuple[subprocess.Popen[str], Path]) -> None:
    _, path = other
    first, second = Scratch(), Scratch()
    assert path.exists()
    assert first.path.exists()
    first.cleanup()
    second.cleanup()


def test_folders_that_no_worker_made_stay(temporary: Path) -> None:
    (temporary / f"{PREFIX}local-abc").mkdir()
    (temporary / f"{PREFIX}note").write_text("not even a folder")
    Scratch().cleanup()
    assert len(list(temporary.iterdir())) == 2
