"""`convert` and `local` in processes that meet what macOS refuses; see `tests.like_macos`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conversions import ENVIRONMENT, convert, tree
from tests.support import like_macos
from tests.support.pictures import corners_jpeg, noisy_jpeg


def on_macos(*arguments: object, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, like_macos.__file__, "worker", *map(str, arguments)],
        env={**ENVIRONMENT, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def warnings(lines: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in lines.splitlines()]
    return [each for each in found if each["severity"] == "WARNING"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "turned.jpg").write_bytes(corners_jpeg(600, 900, 6))
    (folder / "noise.jpg").write_bytes(noisy_jpeg(1200, 800))
    return folder


def test_convert_renders_what_linux_renders_and_tells_once_what_it_runs_without(
    photos: Path, tmp_path: Path
) -> None:
    there, here, report = (tmp_path / name for name in ("there", "here", "report.html"))
    ended = on_macos("convert", photos, there, "--json", "--report", report, tmp_path=tmp_path)
    assert ended.returncode == 0, ended.stderr
    (told,) = warnings(ended.stderr)
    assert [each.partition(":")[0] for each in told["refused"]] == [
        "RLIMIT_DATA",
        "RLIMIT_AS",
        "darwin knows no filter of system calls and no restriction of files",
    ]
    assert convert(photos, here).code == 0
    assert tree(there) == tree(here)
    assert "data:image/webp" in report.read_text()


def test_convert_counts_memory_in_the_systems_units_and_shows_none_that_it_cannot_tell(
    photos: Path, tmp_path: Path
) -> None:
    ended = on_macos("convert", photos, tmp_path / "out", tmp_path=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "at most" not in ended.stdout
    memory = json.loads((tmp_path / "out" / "summary.json").read_text())["memory"]
    assert (memory["peak_bytes"], memory["samples"]) == (0, [])
    for process in ("parent", "largest_child"):
        assert 10 << 20 < memory[f"{process}_peak_bytes"] < 4 << 30


def test_local_renders_every_photo(photos: Path, tmp_path: Path) -> None:
    options = ("--broker", "embedded", "--exit-when-idle", "--json")
    ended = on_macos("local", photos, *options, tmp_path=tmp_path)
    assert ended.returncode == 0, ended.stderr
    shown = json.loads(ended.stdout)
    assert sorted(photo["status"] for photo in shown["photos"]) == ["ready", "ready"]
