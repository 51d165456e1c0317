"""`bench` and `benchmarks.rivals` as their users run them, on tiny pictures, without timing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.support.pictures import noisy_jpeg

ROOT = Path(__file__).parents[2]
RUNGS = ["64", "96", "full"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "one.jpg").write_bytes(noisy_jpeg(160, 120))
    (folder / "two.jpg").write_bytes(noisy_jpeg(90, 120, 2))
    return folder


def spawn(verb: str, photos: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    hidden = ("PUBSUB_EMULATOR_HOST", "STORAGE_EMULATOR_HOST")
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in hidden and not name.startswith("WORKER_")
    }
    command = ("benchmarks.rivals",) if verb == "rivals" else ("worker", "bench", verb)
    shared = (str(photos), "--json", "--rounds", "1", "--ladder", "64,96")
    return subprocess.run(
        [sys.executable, "-m", *command, *shared, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def bench(verb: str, photos: Path, *arguments: str, out: Path | None = None) -> dict[str, Any]:
    folder = ["--out", str(out)] if out else []
    ended = spawn(verb, photos, *arguments, *folder)
    assert ended.returncode == 0, ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout)
    assert report["machine"]["vcpus"] >= 1
    assert report["versions"]["photo-worker"]
    assert "libvips" in report["recipe"]
    if out:
        assert json.loads((out / "report.json").read_text()) == report
        for chart in out.glob("*.svg"):
            ET.parse(chart)  # noqa: S314 (our own)
    return report


def test_render_tells_stages_rungs_and_the_limit_ratio(photos: Path, tmp_path: Path) -> None:
    report = bench("render", photos, out=tmp_path / "report")
    assert [rung["rung"] for rung in report["rungs"]] == RUNGS
    one, two = report["photos"]
    assert [each["rung"] for each in one["rungs"]] == RUNGS
    assert (two["width"], two["height"]) == (90, 120)
    assert one["cpu_seconds"] >= one["pure_encoding_cpu_seconds"] > 0
    assert {"open", "decode", "resize", "encode", "facts"} <= set(report["stages"])
    assert report["total"]["limit_ratio"] > 1
    assert report["total"]["bytes_out"] == one["bytes_out"] + two["bytes_out"] > 0
    charts = {path.name for path in (tmp_path / "report").glob("*.svg")}
    assert charts == {"time-per-rung.svg", "bytes-per-rung.svg"}


def test_worker_tells_pace_events_and_moments(photos: Path, tmp_path: Path) -> None:
    how = ("--vcpus", "1,2", "--latency-ms", "10", "--events", "3", "--broker", "embedded")
    report = bench("worker", photos, *how, out=tmp_path / "report")
    one, two = report["workers"]
    assert [each["vcpus"] for each in (one, two)] == [1, 2]
    assert one["times_fewest_vcpus"] == 1.0
    assert two["photos_a_minute"] > 0
    assert two["seconds_from_sigterm_to_exit"] < 20
    assert one["peak_parent_bytes"] > 10_000_000
    assert one["limited_by"]
    assert report["events"]["uploads"] == len(RUNGS)
    assert report["events"]["register"]["cpu_ms"] > 0
    assert report["first_rung"]["seconds"] >= 0.01, "a request later, by 10 ms"
    assert (tmp_path / "report" / "throughput.svg").exists()


def test_rivals_render_the_same_rungs(photos: Path, tmp_path: Path) -> None:
    report = bench("rivals", photos, out=tmp_path / "report")
    rows = {row["name"]: row for row in report["contenders"]}
    assert {"ours", "ours at equal effort", "Pillow"} <= set(rows)
    for row in rows.values():
        assert list(row["rungs"]) == RUNGS
        assert list(row["photos"][1]["rungs"]) == RUNGS
        assert row["versions"]
    # So little is rendered here that an empty run may take as long: then there is no ratio.
    assert rows["ours"]["times_ours"] == (1.0 if rows["ours"]["cpu_seconds"] > 0 else None)
    assert set(report["absent"]) <= {"sharp, clone()", "vipsthumbnail per rung"}
    charts = {path.name for path in (tmp_path / "report").glob("*.svg")}
    assert charts == {"time.svg", "bytes.svg"}


def test_a_photo_that_is_none_is_named(tmp_path: Path) -> None:
    ended = spawn("render", tmp_path / "absent.jpg")
    assert ended.returncode == 2
    assert "absent.jpg: no such file or folder" in ended.stderr


def test_a_file_that_is_no_picture_is_left_out(photos: Path) -> None:
    (photos / "notes.jpg").write_bytes(b"not a picture")
    ended = spawn("render", photos)
    assert ended.returncode == 0, ended.stderr
    assert [each["name"] for each in json.loads(ended.stdout)["photos"]] == ["one.jpg", "two.jpg"]
    [warning] = [json.loads(line) for line in ended.stderr.splitlines() if "notes.jpg" in line]
    assert warning["severity"] == "WARNING"
    assert "belong to no format" in warning["reason"]


def test_a_picture_that_breaks_off_ends_the_run_by_its_name(photos: Path) -> None:
    whole = (photos / "one.jpg").read_bytes()
    (photos / "one.jpg").write_bytes(whole[: len(whole) // 2] + b"\xff\xd9")  # as if it were whole
    ended = spawn("render", photos)
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"photo-worker: {photos / 'one.jpg'}: ended with 1: ")
    assert "CorruptOriginal" in line


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--out", "{photos}/one.jpg"), "--out {photos}/one.jpg: File exists"),
        (("--sharp", "/nonexist"), "--sharp /nonexist: no sharp lies there"),
    ],
)
def test_what_cannot_be_meant_is_told_before_anything_runs(
    photos: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    ended = spawn("rivals", photos, *(each.format(photos=photos) for each in arguments))
    assert ended.returncode == 2
    assert complaint.format(photos=photos) in ended.stderr
    assert not ended.stdout
