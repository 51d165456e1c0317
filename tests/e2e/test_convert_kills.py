"""`photo-worker convert` that is killed or stopped, and run again: the tree of an unbroken run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.conversions import ENVIRONMENT, command, convert, left_over, photos, tree
from tests.support.pictures import noisy_jpeg
from tests.support.small_pictures import jpeg, noise
from tests.support.waiting import eventually

KILLED_AT = """
import os, signal, sys, threading
from worker.convert.state import StateFile
from worker.convert import intake

left, lock = int(sys.argv[1]), threading.Lock()

def step():
    global left
    with lock:
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

def before(function):
    def counted(*args, **kwargs):
        step()
        return function(*args, **kwargs)
    return counted

for name in ("rename", "unlink", "rmdir", "makedirs"):
    setattr(os, name, before(getattr(os, name)))
written, taken = StateFile.write, intake._copy

def write(self, rows):
    step()
    written(self, rows)
    step()

StateFile.write = write
intake._copy = before(taken)

from worker.cli.main import main
sys.argv = ["photo-worker", "convert", *sys.argv[2:]]
main()
"""
"""Runs `convert` and kills it before or after its N-th step that changes something on disk."""


def convert_killed_at(step: int, *arguments: object) -> int:
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT, str(step), *map(str, arguments)],
        env=ENVIRONMENT,
        capture_output=True,
        timeout=120,
        check=False,
    )
    return done.returncode


@pytest.mark.parametrize("sizes", ["full", "48,64,full"])
def test_killed_at_any_step_and_run_again_it_ends_in_the_same_tree(
    tmp_path: Path, sizes: str
) -> None:
    source, out, whole = photos(tmp_path / "in", 6), tmp_path / "out", tmp_path / "whole"
    # What there was before: other rungs, of which some go and some are replaced.
    before = ("--sizes", "40,64,full", "--quality", "60")
    assert convert(source, out, *before).code == 0
    arguments = ("--sizes", sizes, "--quality", "40")
    assert convert(source, whole, *arguments).code == 0
    expected = tree(whole)
    step, codes = 1, list[int]()
    while (code := convert_killed_at(step, source, out, *arguments)) == -signal.SIGKILL:
        halves = [data for name, data in tree(out).items() if name.endswith(".webp")]
        assert all(int.from_bytes(data[4:8], "little") + 8 == len(data) for data in halves)
        # Each time a little later, for what is done is not done again.
        step += 1 + len(codes) // 3
        codes.append(code)
    assert code == 0
    assert len(codes) > 3, "it was never killed"
    assert tree(out) == expected
    assert left_over(out) == []


@pytest.mark.parametrize("step", [1, 6, 8, 9, 10, 11])
def test_killed_in_its_first_run(tmp_path: Path, step: int) -> None:
    """With originals that are kept: of those nobody could tell later who has put them there."""
    source, out, whole = tmp_path / "in", tmp_path / "out", tmp_path / "whole"
    source.mkdir()
    for number in range(4):
        picture = jpeg(noise(100 + number, 80), quality=5)
        (source / f"{number}.jpg").write_bytes(picture)
    arguments = ("--sizes", "64,full", "--keep-smaller")
    assert convert(source, whole, *arguments).code == 0
    assert "0.jpg/full.jpg" in tree(whole)
    assert convert_killed_at(step, source, out, *arguments) == -signal.SIGKILL
    again = convert(source, out, *arguments)
    assert again.code == 0, again.output
    assert tree(out) == tree(whole)
    assert left_over(out) == []


@pytest.mark.parametrize("step", [8, 9, 10, 11])
def test_a_killed_run_whose_settings_are_taken_back(tmp_path: Path, step: int) -> None:
    """Some of the files are the new recipe's: none may pass for the old one's."""
    source, out, whole = photos(tmp_path / "in", 4), tmp_path / "out", tmp_path / "whole"
    assert convert(source, whole, "--sizes", "64,full").code == 0
    assert convert(source, out, "--sizes", "64,full").code == 0
    killed = convert_killed_at(step, source, out, "--sizes", "64,full", "--quality", "30")
    assert killed == -signal.SIGKILL
    assert convert(source, out, "--sizes", "64,full").code == 0
    assert tree(out) == tree(whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_running_pictures_end(tmp_path: Path, number: signal.Signals) -> None:
    source, out, whole = many(tmp_path / "in"), tmp_path / "out", tmp_path / "whole"
    run = start(source, out)
    eventually(lambda: list(out.rglob("*.webp")), "a rendition")
    run.send_signal(number)
    errors = run.communicate(timeout=60)[1]
    assert run.returncode == 128 + number, errors
    assert errors.decode() == ""
    made = tree(out)
    assert (out / "summary.json").exists()
    assert left_over(out) == []
    assert convert(source, whole, "--sizes", "full").code == 0
    assert 0 < len(made) < len(tree(whole))
    assert convert(source, out, "--sizes", "full").code == 0
    assert tree(out) == tree(whole)


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    source, out = many(tmp_path / "in"), tmp_path / "out"
    (source / "00.jpg").write_bytes(noisy_jpeg(4000, 3000))
    run = start(source, out, "--effort", "6", "--full-effort", "6")
    hidden = out / ".photo-worker"
    eventually(lambda: list(hidden.glob("scratch-*/*/original")), "a picture that is rendered")
    run.send_signal(signal.SIGINT)
    run.send_signal(signal.SIGTERM)
    errors = run.communicate(timeout=60)[1]
    assert run.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM), errors
    assert left_over(out) == []
    assert convert(source, out, "--sizes", "full", "--limit", "1").code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_report_is_made(tmp_path: Path, number: signal.Signals) -> None:
    source, out, temporary = many(tmp_path / "in"), tmp_path / "out", tmp_path / "temporary"
    temporary.mkdir()
    run = start(
        source,
        out,
        *("--quality", "100", "--report", str(tmp_path / "report.html")),
        env=ENVIRONMENT | {"TMPDIR": str(temporary)},
    )
    eventually(lambda: list(temporary.glob("photo-worker-previews-*")), "a report that is made")
    run.send_signal(number)
    output, errors = run.communicate(timeout=60)
    assert run.returncode == 128 + number, errors
    assert b"40 converted" in output
    assert (out / "summary.json").exists()
    assert left_over(out) == []
    assert list(temporary.iterdir()) == []


def test_children_go_with_a_killed_parent(tmp_path: Path) -> None:
    source, out = many(tmp_path / "in"), tmp_path / "out"
    run = start(source, out)
    eventually(lambda: list(out.rglob("*.webp")), "a rendition")
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
    threads = Path(f"/proc/{run.pid}/task").glob("*/children")
    pids = [int(pid) for each in threads for pid in each.read_text().split()]
    assert pids, children
    run.kill()
    run.wait(60)
    eventually(lambda: not any(is_running(pid) for pid in pids), "the children are gone")
    run.communicate()
    assert convert(source, out, "--sizes", "full").code == 0
    assert left_over(out) == []


def many(folder: Path) -> Path:
    folder.mkdir()
    for number in range(40):
        (folder / f"{number:02}.jpg").write_bytes(noisy_jpeg(700, 500, seed=number + 1))
    return folder


def start(
    source: Path, out: Path, *more: str, env: Mapping[str, str] = ENVIRONMENT
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(source, out, "--sizes", "full", *more),
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return False
    return state != "Z" and os.path.lexists(f"/proc/{pid}")
