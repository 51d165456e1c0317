"""Originals: links, what is passed over, and what cannot be read."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from worker.convert.originals import Sighting, count_pictures, find_originals, identity_of
from worker.convert.outcomes import Failed, Found, PassedOver
from worker.photo.globs import Globs

JPEG = b"\xff\xd8\xff\xe0 and so on"


def walk(root: Path, globs: Globs | None = None, avoid: Path | None = None) -> list[Sighting]:
    return list(find_originals(str(root), globs or Globs(), identity_of(avoid) if avoid else None))


def names(sightings: list[Sighting]) -> list[str]:
    return [each.name for each in sightings if isinstance(each, Found)]


def reasons(sightings: list[Sighting]) -> dict[str, str]:
    told = {each.name: each.why.value for each in sightings if isinstance(each, PassedOver)}
    return told | {each.name: each.reason for each in sightings if isinstance(each, Failed)}


def make(root: Path, *files: str) -> None:
    for name in files:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(JPEG)


def test_what_convert_wrote_elsewhere_is_no_original(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "web/a.jpg.webp", "web/.photo-worker/convert.sqlite", "zoo/b.jpg")
    sightings = walk(tmp_path)
    assert names(sightings) == ["a.jpg", "zoo/b.jpg"]
    assert reasons(sightings) == {"web": "another_output"}
    assert count_pictures(str(tmp_path), Globs(), None, lambda: False) == 2
    # Asked for by name, renditions may be originals too.
    assert names(walk(tmp_path / "web")) == ["a.jpg.webp"]


def test_links_to_files_are_followed_and_links_to_folders_are_not(tmp_path: Path) -> None:
    make(tmp_path, "elsewhere/a.jpg", "in/b.jpg")
    root = tmp_path / "in"
    (root / "file.jpg").symlink_to("../elsewhere/a.jpg")
    (root / "folder").symlink_to("../elsewhere")
    (root / "loop").symlink_to(".")
    (root / "self.jpg").symlink_to("self.jpg")
    (root / "gone.jpg").symlink_to("nowhere")
    (root / "gone").symlink_to("nowhere")
    sightings = walk(root)
    assert names(sightings) == ["b.jpg", "file.jpg"]
    assert reasons(sightings) == {
        "folder": "linked_folder",
        "loop": "linked_folder",
        "self.jpg": "unreadable",
        "gone.jpg": "original_missing",
        "gone": "no_picture",
    }


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.jpg").symlink_to("pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(tmp_path)  # such a name may be 107 bytes long
        try:
            listener.bind("socket.jpg")
        finally:
            os.chdir(here)
        sightings = walk(tmp_path)
    assert set(reasons(sightings).values()) == {"special_file"}
    assert len(sightings) == 4


def test_a_file_is_a_picture_by_its_name_or_by_its_content(tmp_path: Path) -> None:
    make(tmp_path, "no ending", "backup.jpg~", "A.JPG", "b.Heic")
    (tmp_path / "text.jpg").write_text("text")
    (tmp_path / "text").write_text("text")
    (tmp_path / "empty").touch()
    (tmp_path / ".jpg").write_text("hidden")
    sightings = walk(tmp_path)
    assert names(sightings) == [".jpg", "A.JPG", "b.Heic", "backup.jpg~", "no ending", "text.jpg"]
    assert reasons(sightings) == {"empty": "no_picture", "text": "no_picture"}


@pytest.mark.parametrize(
    "head",
    [
        b"BM\x36\x48\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0",
        b"\0\0\0\x0cJXL \r\n\x87\n",
        b"II+\0\x08\0\0\0",
        b"II*\0\x10\0\0\0CR\x02\0",
    ],
)
def test_a_picture_that_is_refused_by_name_is_not_passed_over(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "backup.old").write_bytes(head + bytes(50))
    (tmp_path / "letter").write_text("BMW, my dear, is a maker of cars")
    assert names(walk(tmp_path)) == ["backup.old"]


def test_the_output_and_hidden_folders_of_convert_are_left_out(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "out/a.jpg.webp", "sub/.photo-worker/scratch/original.jpg")
    assert names(walk(tmp_path, avoid=tmp_path / "out")) == ["a.jpg"]


def test_globs_choose_by_the_name_below_the_folder(tmp_path: Path) -> None:
    make(tmp_path, "2025/a.jpg", "2026/a.jpg", "2026/b.png")
    sightings = walk(tmp_path, Globs(include=("2026/**",), exclude=("*.png",)))
    assert names(sightings) == ["2026/a.jpg"]
    assert set(reasons(sightings).values()) == {"excluded"}


def test_a_folder_that_vanishes_while_it_is_walked_is_told(tmp_path: Path) -> None:
    make(tmp_path, "a/1.jpg", "b/1.jpg")
    sightings = find_originals(str(tmp_path), Globs(), None)
    next(sightings)
    (tmp_path / "b" / "1.jpg").unlink()
    (tmp_path / "b").rmdir()
    assert reasons(list(sightings)) == {"b": "original_missing"}


@pytest.mark.parametrize(("gives_up", "count"), [(False, 3), (True, None)])
def test_pictures_are_counted_for_an_estimate(
    tmp_path: Path, *, gives_up: bool, count: int | None
) -> None:
    make(tmp_path, "a.jpg", "sub/b.png", "sub/c.svg", "sub/d.txt")
    (tmp_path / "loop").symlink_to(".")
    assert count_pictures(str(tmp_path), Globs(), None, lambda: gives_up) == count
