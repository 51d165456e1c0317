"""The walk: its order, where it begins, and folders too large for memory."""

from __future__ import annotations

import os
import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest

from worker.system.walk import Entry, EntryKind, walk


def make(root: Path, *files: str) -> None:
    for name in files:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def names(root: Path, behind: str | None = None) -> list[str]:
    return [entry.name for entry in walk(str(root), behind=behind)]


NAMES = ["Z.jpg", "a-b", "a.jpg", "a/1.jpg", "a/b/2.jpg", "a/b.jpg", "ab/c/d.jpg", "b/2", "b.jpg"]
ORDER = ["Z.jpg", "a/1.jpg", "a/b/2.jpg", "a/b.jpg", "a-b", "a.jpg", "ab/c/d.jpg", "b/2", "b.jpg"]


def test_names_come_in_the_order_of_their_bytes_folder_by_folder(tmp_path: Path) -> None:
    make(tmp_path, *NAMES)
    assert names(tmp_path) == ORDER
    assert [entry.path for entry in walk(str(tmp_path))] == [str(tmp_path / name) for name in ORDER]


@pytest.mark.parametrize(
    ("behind", "first"),
    [
        *pairwise(ORDER),
        ("a", "a/1.jpg"),
        ("a/b", "a/b/2.jpg"),
        ("a/b/0", "a/b/2.jpg"),
        ("a/b/9/9", "a/b.jpg"),
        ("a.jpg/gone", "ab/c/d.jpg"),
    ],
)
def test_it_begins_behind_any_place(tmp_path: Path, behind: str, first: str) -> None:
    make(tmp_path, *NAMES)
    assert names(tmp_path, behind) == ORDER[ORDER.index(first) :]


def test_kinds_are_told_and_links_are_not_entered(tmp_path: Path) -> None:
    make(tmp_path, "folder/file")
    (tmp_path / "loop").symlink_to(".")
    os.mkfifo(tmp_path / "pipe")
    assert {entry.name: entry.kind for entry in walk(str(tmp_path))} == {
        "folder/file": EntryKind.FILE,
        "loop": EntryKind.LINK,
        "pipe": EntryKind.SPECIAL,
    }


def test_a_folder_that_is_turned_down_or_cannot_be_read_is_an_entry(tmp_path: Path) -> None:
    make(tmp_path, "a/1", "b/1", "c/1", "d/1")
    gone = FileNotFoundError(2, "No such file or directory")

    def enters(folder: Entry) -> bool:
        if folder.name == "b":
            raise gone
        return folder.name != "c"

    assert list(walk(str(tmp_path), enters=enters)) == [
        Entry("a/1", str(tmp_path / "a/1"), EntryKind.FILE),
        Entry("b", str(tmp_path / "b"), EntryKind.FOLDER, gone),
        Entry("c", str(tmp_path / "c"), EntryKind.FOLDER),
        Entry("d/1", str(tmp_path / "d/1"), EntryKind.FILE),
    ]


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    make(tmp_path, "a/1", "b/1")
    entries = walk(str(tmp_path))
    next(entries)
    (tmp_path / "b" / "1").unlink()
    (tmp_path / "b").rmdir()
    assert [(entry.name, type(entry.error)) for entry in entries] == [("b", FileNotFoundError)]
    [root] = walk(str(tmp_path / "gone"))
    assert (root.name, type(root.error)) == (".", FileNotFoundError)


def test_a_folder_too_large_for_memory_is_sorted_on_disk(tmp_path: Path) -> None:
    make(tmp_path, *(f"{number * 37 % 50:02}" for number in range(50)), "folder/1")
    (tmp_path / "link").symlink_to("00")
    (tmp_path / os.fsdecode(b"\xff")).touch()
    in_memory = list(walk(str(tmp_path)))
    assert len(in_memory) == 53
    assert list(walk(str(tmp_path), held=7)) == in_memory
    assert list(walk(str(tmp_path), held=7, behind="30")) == in_memory[31:]


def test_memory_does_not_grow_with_a_folder(tmp_path: Path) -> None:
    for number in range(20_000):
        os.mknod(tmp_path / f"a rather long name of a picture {number:08}.jpg")
    tracemalloc.start()
    count = sum(1 for _ in walk(str(tmp_path), held=500))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 1_500_000, "20,000 names take 2 MB"
