"""`photo-worker convert` as its users run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conversions import ENVIRONMENT, command, convert, left_over, photos, tree
from tests.support.pictures import corners_jpeg, noisy_jpeg, webp_size
from tests.support.small_pictures import corners, jpeg, noise, png

SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20">'
    b'<rect width="40" height="9"/></svg>'
)


@pytest.fixture
def originals(tmp_path: Path) -> Path:
    return photos(tmp_path / "in", 4)


def test_the_tree_is_preserved_and_each_original_has_its_ladder(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "new" / "out"
    (source / "sub" / "empty").mkdir(parents=True)
    (source / "a.jpg").write_bytes(corners_jpeg(200, 150))
    (source / "a.png").write_bytes(png(corners(200, 150)))
    (source / "sub" / "B.JPEG").write_bytes(noisy_jpeg(80, 60))
    done = convert(source, out, "--sizes", "64,128,full")
    assert (done.code, done.errors) == (0, "")
    assert list(tree(out)) == [
        *("a.jpg/", "a.jpg/128.webp", "a.jpg/64.webp", "a.jpg/full.webp"),
        *("a.png/", "a.png/128.webp", "a.png/64.webp", "a.png/full.webp"),
        *("sub/", "sub/B.JPEG/", "sub/B.JPEG/64.webp", "sub/B.JPEG/full.webp"),
    ]
    assert webp_size((out / "a.png" / "128.webp").read_bytes()) == (128, 96)
    assert left_over(out) == []


def test_a_single_size_has_no_folder(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "large.jpg").write_bytes(noisy_jpeg(300, 200))
    (source / "small.jpg").write_bytes(noisy_jpeg(90, 60))
    (source / "drawing.svg").write_bytes(SVG)
    assert convert(source, out, "--sizes", "150").code == 0
    sizes = {name: webp_size(data) for name, data in tree(out).items()}
    assert sizes == {
        "drawing.svg.webp": (150, 75),
        "large.jpg.webp": (150, 100),
        "small.jpg.webp": (90, 60),
    }


def test_one_file_may_be_converted(originals: Path, tmp_path: Path) -> None:
    done = convert(originals / "IMG_0000.jpg", tmp_path / "out", "--sizes", "full")
    assert done.code == 0
    assert list(tree(tmp_path / "out")) == ["IMG_0000.jpg.webp"]


def test_a_second_run_does_nothing(originals: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = convert(originals, out, "--sizes", "64,full", "--json")
    assert first.summary["children_started"]
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.webp")}
    again = convert(originals, out, "--sizes", "64,full", "--json")
    assert again.code == 0
    assert (again.summary["converted"], again.summary["current"]) == (0, 4)
    assert not again.summary["children_started"]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.webp")} == before


def test_what_changed_is_done_again(originals: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert convert(originals, out, "--sizes", "full").code == 0
    replaced, touched, lost, cut = sorted(originals.rglob("*.jpg"))
    replaced.write_bytes(noisy_jpeg(100, 80, seed=99))
    os.utime(touched, ns=(1, 1))
    named = {path: out / f"{path.relative_to(originals)}.webp" for path in originals.rglob("*.jpg")}
    named[lost].unlink()
    named[cut].write_bytes(b"RIFF")
    again = convert(originals, out, "--sizes", "full", "--json")
    assert (again.summary["converted"], again.summary["current"]) == (3, 1)
    fresh = tmp_path / "fresh"
    assert convert(originals, fresh, "--sizes", "full").code == 0
    assert tree(out) == tree(fresh)
    assert convert(originals, out, "--sizes", "full", "--json").summary["current"] == 4


def test_a_changed_setting_does_all_again_and_a_dropped_rung_goes(
    originals: Path, tmp_path: Path
) -> None:
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    (out / "IMG_0000.jpg").mkdir(parents=True)
    (out / "IMG_0000.jpg" / "mine.txt").write_text("not made by convert")
    assert convert(originals, out, "--sizes", "48,64,full").code == 0
    for arguments in (
        ("--sizes", "64,full", "--quality", "50"),
        ("--sizes", "full", "--quality", "50"),
        ("--sizes", "48,full", "--quality", "50"),
    ):
        again = convert(originals, out, *arguments, "--json")
        assert (again.code, again.summary["converted"]) == (0, 4), arguments
        shutil.rmtree(fresh, ignore_errors=True)
        assert convert(originals, fresh, *arguments).code == 0
        made = tree(out)
        assert made.pop("IMG_0000.jpg/mine.txt") == b"not made by convert"
        expected = tree(fresh)
        expected.setdefault("IMG_0000.jpg/", b"")
        assert made == expected, arguments


def test_a_file_of_somebody_else_is_never_touched(originals: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    theirs = out / "IMG_0000.jpg.webp"
    theirs.write_bytes(b"somebody's")
    done = convert(originals, out, "--sizes", "full", "--json")
    assert done.code == 7
    assert [each["reason"] for each in done.summary["failures"]] == ["name_taken"]
    assert theirs.read_bytes() == b"somebody's"
    theirs.unlink()
    assert convert(originals, out, "--sizes", "full").code == 0


def test_without_its_state_an_output_is_taken_over(originals: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert convert(originals, out, "--sizes", "full").code == 0
    before = tree(out)
    shutil.rmtree(out / ".photo-worker")
    (out / "summary.json").unlink()
    assert convert(originals, out, "--sizes", "full").code == 0
    assert tree(out) == before


def test_failures_are_listed_with_reasons(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    good = noisy_jpeg(200, 150)
    (source / "good.jpg").write_bytes(good)
    (source / "half.jpg").write_bytes(good[: len(good) // 2])
    (source / "empty.jpg").touch()
    (source / "text.jpg").write_text("no picture")
    (source / "notes.txt").write_text("no picture either")
    (source / "without an ending").write_bytes(good)
    (source / "._good.jpg").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X")
    (source / "nowhere.jpg").symlink_to("gone.jpg")
    os.mkfifo(source / "pipe.jpg")
    done = convert(source, out, "--sizes", "full", "--json")
    assert done.code == 7
    summary = done.summary
    failed = {each["name"]: each["reason"] for each in summary["failures"]}
    assert failed == {
        "empty.jpg": "corrupt_original",
        "half.jpg": "corrupt_original",
        "nowhere.jpg": "original_missing",
        "text.jpg": "unsupported_format",
    }
    assert {each["name"]: each["reason"] for each in summary["skipped_files"]} == {
        "._good.jpg": "no_picture",
        "notes.txt": "no_picture",
        "pipe.jpg": "special_file",
    }
    assert list(tree(out)) == ["good.jpg.webp", "without an ending.webp"]
    listed = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert sorted(each["name"] for each in listed) == sorted(failed)
    assert (summary["found"], summary["converted"], summary["failed"]) == (6, 2, 4)
    told = convert(source, out, "--sizes", "full")
    assert told.code == 7
    assert "failed half.jpg: corrupt_original" in told.output
    for name in failed:
        (source / name).unlink()
    assert convert(source, out, "--sizes", "full").code == 0
    assert not (out / "failures.jsonl").exists()


def test_names_of_all_kinds(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    names = [
        *("Hà Nội.jpg", "new\nline.jpg", "-rf.jpg", "<b>&amp;.jpg", " .jpg", "100%.jpg"),
        *(os.fsdecode(b"latin-\xe9.jpg"), "x" * 246 + ".jpg"),
    ]
    for name in names:
        (source / name).write_bytes(noisy_jpeg(60, 40))
    too_long = "y" * 251 + ".jpg"
    (source / too_long).write_bytes(noisy_jpeg(60, 40))
    report = tmp_path / "report.html"
    done = convert(source, out, "--sizes", "full", "--report", report)
    assert done.code == 7
    assert sorted(tree(out)) == sorted(f"{name}.webp" for name in names)
    assert "name_too_long" in done.output
    summary = json.loads((out / "summary.json").read_bytes())
    assert [each["name"] for each in summary["failures"]] == [too_long]
    assert os.fsdecode(b"latin-\xe9.jpg") in [
        each["name"] for each in (*summary["best_savings"], *summary["worst_savings"])
    ]
    page = report.read_text("utf-8")
    assert "<b>&amp;.jpg" not in page
    assert "&lt;b&gt;&amp;amp;.jpg" in page
    assert convert(source, out, "--sizes", "64,full").code == 0, "a ladder's names are no longer"


def test_collisions_are_told_and_decided_by_the_names_alone(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "a.jpg.webp").mkdir(parents=True)
    (source / "a.jpg.webp" / "b.jpg").write_bytes(noisy_jpeg(60, 40, seed=1))
    (source / "a.jpg").write_bytes(noisy_jpeg(60, 40, seed=2))
    (source / "summary.json").write_bytes(noisy_jpeg(60, 40, seed=3))
    done = convert(source, out, "--sizes", "full", "--json")
    assert done.code == 7
    assert [(each["name"], each["reason"]) for each in done.summary["failures"]] == [
        ("a.jpg", "name_collision")
    ]
    assert [name for name in tree(out) if not name.endswith("/")] == [
        "a.jpg.webp/b.jpg.webp",
        "summary.json.webp",
    ]


def test_an_original_is_kept_where_its_webp_would_be_larger(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    noisy = jpeg(noise(200, 150), quality=5)
    (source / "noisy.jpg").write_bytes(noisy)
    (source / "plain.png").write_bytes(png(corners(200, 150)))
    done = convert(source, out, "--sizes", "full", "--keep-smaller", "--json")
    assert done.summary["kept_originals"] == 1
    assert tree(out).keys() == {"noisy.jpg", "plain.png.webp"}
    assert (out / "noisy.jpg").read_bytes() == noisy
    assert (
        convert(source, out, "--sizes", "full", "--keep-smaller", "--json").summary["current"] == 2
    )
    assert convert(source, out, "--sizes", "64,full", "--keep-smaller").code == 0
    assert tree(out).keys() == {
        *("noisy.jpg/", "noisy.jpg/64.webp", "noisy.jpg/full.jpg"),
        *("plain.png/", "plain.png/64.webp", "plain.png/full.webp"),
    }
    assert convert(source, out, "--sizes", "100", "--keep-smaller").code == 0
    assert tree(out).keys() == {"noisy.jpg.webp", "plain.png.webp"}, "of fewer pixels"


def test_a_dry_run_writes_nothing(originals: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = convert(originals, out, "--dry-run", "--json")
    assert (done.code, done.summary["would_convert"]) == (0, 4)
    assert not out.exists()
    assert convert(originals, out, "--limit", "3").code == 0
    before = tree(out)
    done = convert(originals, out, "--dry-run", "--json")
    assert (done.summary["would_convert"], done.summary["current"]) == (1, 3)
    assert tree(out) == before


def test_a_limit_leaves_the_rest_for_later(originals: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = convert(originals, out, "--limit", "3", "--json")
    assert (first.summary["converted"], first.summary["complete"]) == (3, False)
    second = convert(originals, out, "--limit", "3", "--json")
    assert (second.summary["converted"], second.summary["complete"]) == (1, True)


def test_globs_choose(originals: Path, tmp_path: Path) -> None:
    done = convert(
        originals, tmp_path / "out", "--exclude", "a/**", "--include", "*.JPG,x", "--json"
    )
    assert done.summary["converted"] == 2
    assert done.summary["skipped_by_reason"] == {"excluded": 2}


@pytest.mark.parametrize(
    ("source", "out", "says"),
    [
        ("in", "in", "is what is to be converted"),
        ("in/a", "in", "lies in"),
        ("nowhere", "out", "No such file"),
        ("empty", "new/out", "there is no picture in"),
        ("empty", "in/a", "there is no picture in"),
        ("text.txt", "out", "text.txt is no picture"),
        ("in", "in/IMG_0000.jpg", "is no folder"),
    ],
    ids=["same", "inside", "missing", "empty", "empty-into-old", "text", "file"],
)
def test_what_cannot_be_meant_is_refused(
    originals: Path, tmp_path: Path, source: str, out: str, says: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("no picture")
    before = sorted(tmp_path.rglob("*"))
    done = convert(tmp_path / source, tmp_path / out)
    assert done.code == 2
    assert says in done.errors
    assert sorted(tmp_path.rglob("*")) == before, originals


@pytest.mark.parametrize("names", [("", "out"), ("in", "")], ids=["in", "out"])
def test_an_empty_name_is_not_the_current_folder(names: tuple[str, str]) -> None:
    done = convert(*names)
    assert done.code == 2
    assert "a name is empty: write . for the current folder" in done.errors


def test_an_output_within_the_originals_is_left_out(originals: Path) -> None:
    out = originals / "web"
    assert convert(originals, out, "--sizes", "full", "--json").summary["converted"] == 4
    again = convert(originals, out, "--sizes", "full", "--json")
    assert (again.summary["found"], again.summary["current"]) == (4, 4)


def test_an_output_that_cannot_be_written_is_refused(originals: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o500)
    done = convert(originals, out, as_anybody=True)
    assert done.code == 2
    assert f"cannot write to {out}: Permission denied" in done.errors
    assert list(out.iterdir()) == []


def test_an_original_that_cannot_be_read_fails_alone(originals: Path, tmp_path: Path) -> None:
    (originals / "IMG_0000.jpg").chmod(0)
    (originals / "c").chmod(0)
    done = convert(originals, tmp_path / "out", "--json", as_anybody=True)
    (originals / "c").chmod(0o700)
    assert done.code == 7
    assert done.summary["converted"] == 2
    assert {each["name"]: each["reason"] for each in done.summary["failures"]} == {
        "IMG_0000.jpg": "unreadable",
        "c": "unreadable",
    }


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if mount(disk, "size=1m"):
        pytest.skip("no mount can be made here")
    yield disk
    unmount(disk)


def test_a_full_disk_ends_the_run_and_leaves_no_half_file(small_disk: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for number in range(30):
        (source / f"{number:02}.jpg").write_bytes(noisy_jpeg(300, 200, seed=number + 1))
    whole = tmp_path / "whole"
    assert convert(source, whole, "--sizes", "full", "--quality", "100").code == 0
    filler = small_disk / "filler"
    filler.write_bytes(bytes(500_000))
    done = convert(source, small_disk / "out", "--sizes", "full", "--quality", "100")
    assert done.code == 1
    assert "full" in done.errors
    assert "Traceback" not in done.errors
    expected = tree(whole)
    made = tree(small_disk / "out")
    assert made.items() < expected.items()
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert convert(source, small_disk / "out", "--sizes", "full", "--quality", "100").code == 0
    assert tree(small_disk / "out") == expected
    assert left_over(small_disk / "out") == []


def test_an_output_of_other_originals_is_told(originals: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "own.jpg").write_bytes(noisy_jpeg(40, 30))
    out = tmp_path / "out"
    assert "other originals" not in convert(originals, out, "--sizes", "full").errors
    assert "other originals" not in convert(originals, out, "--sizes", "full").errors
    assert str(originals) in convert(other, out, "--sizes", "full").errors


def test_a_summary_of_somebody_else_is_not_overwritten(originals: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "summary.json").write_text("mine")
    done = convert(originals, out)
    assert (done.code, (out / "summary.json").read_text()) == (2, "mine")
    assert "--summary" in done.errors
    assert convert(originals, out, "--summary", tmp_path / "s.json").code == 0
    assert json.loads((tmp_path / "s.json").read_text())["converted"] == 4
    assert (out / "summary.json").read_text() == "mine"


def test_a_report_may_lie_in_the_new_output(originals: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = out / "report.html"
    refused = convert(originals, out, "--report", report, "--dry-run")
    assert (refused.code, out.exists()) == (2, False)
    assert convert(originals, out, "--sizes", "full", "--report", report).code == 0
    assert report.read_bytes().startswith(b"<!doctype html>")


def test_a_summary_that_cannot_be_written_is_a_failure(originals: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    done = convert(
        originals, out, "--sizes", "full", "--summary", locked / "s.json", as_anybody=True
    )
    assert done.code == 1
    assert "the summary or the report cannot be written" in done.errors
    assert "4 converted" in done.output


def test_a_full_standard_output_is_told(originals: Path, tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command(originals, tmp_path / "out", "--sizes", "full", "--json"),
            env=ENVIRONMENT,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=120,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == (
        b"photo-worker: standard output cannot be written: No space left on device\n"
    )
    assert len(list((tmp_path / "out").rglob("*.webp"))) == 4, "what was done stays"


def test_no_cloud_library_is_imported(originals: Path, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from worker.cli.main import app\n"
        "try: app(sys.argv[1:], standalone_mode=False)\n"
        "finally: print({name.split('.')[0] for name in sys.modules} & "
        "{'google', 'grpc', 'requests', 'opentelemetry', 'PIL', 'pyvips'}, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "convert", str(originals), str(tmp_path / "out")],
        env=ENVIRONMENT,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stderr.decode().splitlines()[-1] == "set()"


def mount(folder: Path, options: str) -> int:
    """Put a file system in memory there; 0 if that worked."""
    if not shutil.which("mount"):
        return 1
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        check=False,
        capture_output=True,
    )
    return done.returncode


def unmount(folder: Path) -> None:
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)
