"""Scratch folders: one for each process, removed when it ends or by the next one."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.errors import ScratchLost
from worker.system.scratch import PREFIX, Scratch

HOLD = (
    "from worker.system.scratch import Scratch; s = Scratch(); print(s.path, flush=True); input()"
)


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
    (temporary / "photo-worker-local-abc").mkdir()
    (temporary / f"{PREFIX}note").write_text("not even a folder")
    (temporary / f"{PREFIX}link").symlink_to(temporary / "photo-worker-local-abc")
    Scratch().cleanup()
    assert len(list(temporary.iterdir())) == 3


def test_a_folder_of_one_that_was_killed_before_it_could_lock_it_is_removed(
    temporary: Path,
) -> None:
    (temporary / f"{PREFIX}unlocked").mkdir()
    Scratch().cleanup()
    assert list(temporary.iterdir()) == []


def test_each_kind_of_folder_is_removed_by_its_own_kind(temporary: Path) -> None:
    for name in ("one-left", "two-left"):
        (temporary / name).mkdir()
    with Scratch("one-") as path:
        assert path.name.startswith("one-")
        assert sorted(temporary.iterdir()) == sorted([path, temporary / "two-left"])
    assert list(temporary.iterdir()) == [temporary / "two-left"]


def test_what_another_process_takes_for_abandoned_is_made_anew(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def make(**options: str) -> str:
        made.append(mkdtemp(**options))
        if len(made) == 1:
            # Between this and the lock the next worker looks around.
            Path(made[0]).rmdir()
        if len(made) == 2:
            thief = os.open(made[1], os.O_RDONLY)
            fcntl.flock(thief, fcntl.LOCK_EX)
            thieves.append(thief)
        return made[-1]

    mkdtemp, thieves = tempfile.mkdtemp, list[int]()
    monkeypatch.setattr(tempfile, "mkdtemp", make)
    scratch = Scratch()
    assert str(scratch.path) == made[2]
    scratch.check()
    scratch.cleanup()
    os.close(thieves[0])
    assert [str(left) for left in temporary.iterdir()] == [made[1]], "the thief removes its own"


def test_the_folder_itself_is_locked_against_cleaners_of_temporary_files() -> None:
    scratch = Scratch()
    folder = os.open(scratch.path, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    scratch.cleanup()
    os.close(folder)


def test_a_folder_that_vanishes_is_noticed() -> None:
    scratch = Scratch()
    scratch.check()
    shutil.rmtree(scratch.path)
    with pytest.raises(ScratchLost, match=str(scratch.path)):
        scratch.check()
    scratch.path.mkdir()
    with pytest.raises(ScratchLost):
        scratch.check()
    scratch.cleanup()
