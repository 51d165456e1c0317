"""The state: what is known of originals, across runs."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from worker.convert.outcomes import Content, Known, OutputFails
from worker.convert.state import StateFile
from worker.errors import UsageFault

CONTENT = Content(size_bytes=5, mtime_ns=1_763_769_600_000_000_001, sha256=b"\x00" * 32)
KNOWN = Known(content=CONTENT, made="webp/2", files={"/320.webp": 10, "/full.webp": 20})
ODD = os.fsdecode(b"caf\xe9\n.jpg")


def test_what_was_written_is_found_by_the_next_run(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "s")
    assert state.find(ODD) is None
    state.write([(ODD, KNOWN)])
    state.keep_note("codec", "a")
    state.close()
    state = StateFile(tmp_path / "s")
    assert state.find(ODD) == KNOWN
    assert (state.note("codec"), state.note("other")) == ("a", None)
    state.write([(ODD, Known(content=CONTENT, made=None, files={}))])
    found = state.find(ODD)
    assert found is not None
    assert found.made is None
    state.close()


def test_nothing_but_one_file_is_left(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "s")
    state.write([("a", KNOWN)])
    state.close()
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_two_cannot_use_it_at_once(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "s")
    with pytest.raises(UsageFault, match="another photo-worker"):
        StateFile(tmp_path / "s")
    state.close()


def test_who_came_first_has_a_name() -> None:
    state = StateFile(None)
    assert state.claim("a.jpg", "A.jpg") == "A.jpg"
    assert state.claim("a.jpg", "a.JPG") == "A.jpg"
    state.take("a.jpg", "a.JPG")
    assert state.claim("a.jpg", "A.jpg") == "a.JPG"
    state.close()


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"no database at all" * 100)
    with pytest.raises(UsageFault, match="is no state of photo-worker convert"):
        StateFile(tmp_path / "s")


def test_another_version_is_refused(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "s")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(UsageFault, match=r"another version of photo-worker \(99"):
        StateFile(tmp_path / "s")


def test_a_full_disk_is_told_apart(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "s")
    state._database.execute("PRAGMA max_page_count = 6")
    many = [(f"{number:0500}", KNOWN) for number in range(100)]
    with pytest.raises(OutputFails, match="is full"):
        state.write(many)
    state.write([("a", KNOWN)])
    assert state.find("a") == KNOWN
    state.close()


def test_a_damaged_one_says_how_to_go_on(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "s")
    state.write([(f"{number:0500}", KNOWN) for number in range(100)])
    state.close()
    with (tmp_path / "s").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xaa" * 4096 * 20)
    damaged = StateFile(tmp_path / "s")
    with pytest.raises(OutputFails, match=f"Remove {tmp_path}"):
        damaged.find(f"{7:0500}")
    damaged.close()


@pytest.mark.parametrize(
    "files",
    [
        *('{"/../../victim": 3}', '{"/..": 1}', '{"/": 1}', '{"/320.webp/x": 1}', '{"x": 1}'),
        *('{"/full.a/../../b": 1}', '{".webp\\u0000": 1}', "[1]", "no JSON"),
    ],
)
def test_files_that_convert_cannot_have_written_are_not_believed(
    tmp_path: Path, files: str
) -> None:
    state = StateFile(tmp_path / "s")
    state.write([("a", KNOWN)])
    state._database.execute("UPDATE originals SET files = ?", (files,))
    with pytest.raises(OutputFails, match="it names files that are none of 'a'"):
        state.find("a")
    state.close()


def test_what_convert_writes_is_believed(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "s")
    names = ("", ".webp", ".png", "/320.webp", "/full.png", "/full", "/full.jpg", "/full.a b\n")
    known = Known(content=CONTENT, made="x", files=dict.fromkeys(names, 1))
    state.write([("a", known)])
    assert state.find("a") == known
    state.close()


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").symlink_to("elsewhere")
    with pytest.raises(UsageFault, match="it is a link"):
        StateFile(tmp_path / "s")
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    with pytest.raises(UsageFault, match=r"it is a folder\. Remove"):
        StateFile(tmp_path / "s")
