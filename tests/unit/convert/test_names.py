"""What the files of an original are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.convert.names import Naming, folded
from worker.convert.output import OutputFolder, check_apart
from worker.errors import UsageFault
from worker.photo.ladder import Ladder

LADDER = Naming.of(Ladder.exactly("320,full"), "webp")
SINGLE = Naming.of(Ladder.exactly("1280"), "png")


def test_a_ladder_has_a_folder_for_each_original() -> None:
    assert LADDER.top("sub/a.jpg") == "sub/a.jpg"
    assert LADDER.rendition("320") == "/320.webp"


def test_a_single_size_has_none() -> None:
    assert (SINGLE.top("sub/a.jpg"), SINGLE.rendition("1280")) == ("sub/a.jpg.png", ".png")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("sub/a.JPG", "/full.JPG"),
        ("a.tar.webp", "/full.webp"),
        ("v1.0/a", "/full"),
        ("sub/.jpg", "/full"),
    ],
)
def test_an_original_that_is_kept(name: str, kept: str) -> None:
    assert LADDER.kept(name) == kept
    assert SINGLE.kept(name) == ""


def test_names_that_some_disks_take_for_one() -> None:
    assert folded("É/A.jpg") == folded("e\u0301/a.JPG")
    assert folded("a.jpg") != folded("a.jpeg")
    assert folded(os.fsdecode(b"\xff")) != folded(os.fsdecode(b"\xfe"))


def test_an_output_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    first, second = OutputFolder(tmp_path / "out"), OutputFolder(tmp_path / "out")
    first.open()
    with pytest.raises(UsageFault, match="another photo-worker converts into"):
        second.open()
    first.close()
    second.open()
    second.close()


def test_a_hidden_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".photo-worker").symlink_to("../elsewhere")
    with pytest.raises(UsageFault, match="is a link"):
        OutputFolder(tmp_path / "out").open()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "out" / ".photo-worker" / "scratch-abc" / "x"
    left.mkdir(parents=True)
    (left / "original").touch()
    output = OutputFolder(tmp_path / "out")
    output.open()
    assert [path.name for path in output.hidden.iterdir()] == [output.scratch.name]
    assert output.scratch.name != "scratch-abc"
    output.close()
    assert list(output.hidden.iterdir()) == []


def test_a_scratch_folder_is_used_again_only_when_it_is_empty(tmp_path: Path) -> None:
    output = OutputFolder(tmp_path / "out")
    output.open()
    folder, other = output.take_folder(), output.take_folder()
    (folder / "original").touch()
    output.give_folder(folder)
    (other / "320.webp").touch()
    output.give_folder(other)
    assert output.take_folder() == folder
    assert list(folder.iterdir()) == []
    assert not other.exists()
    output.close()


@pytest.mark.parametrize(
    ("source", "output", "says"),
    [
        ("in", "in", "is what is to be converted"),
        ("in", "in/../in/.", "is what is to be converted"),
        ("in/sub", "in", "lies in"),
        ("link/sub", "in", "lies in"),
        ("fifo", "out", "neither a folder nor a file"),
        ("none", "out", "No such file"),
    ],
)
def test_places_that_cannot_be_meant(tmp_path: Path, source: str, output: str, says: str) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("in")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageFault, match=says):
        check_apart(tmp_path / source, tmp_path / output)


def test_places_that_can_be_meant(tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "a.jpg").touch()
    check_apart(tmp_path / "in", tmp_path / "in" / "sub" / "out")
    check_apart(tmp_path / "in" / "a.jpg", tmp_path / "in")
