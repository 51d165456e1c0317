"""Who takes part is found, and whoever is absent is told how to come."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.rivals.contenders import (
    OURS,
    OURS_EQUAL,
    PILLOW,
    PYVIPS,
    SHARP,
    THUMBNAIL,
    Contender,
    find_contenders,
    find_sharp,
)
from tests.support.pictures import corners_jpeg
from worker.errors import UsageFault
from worker.lab.bench.photos import Photo, read_photo
from worker.settings.settings import Settings

SETTINGS = Settings.load({}, {"ladder": "32", "quality": "70"})


@pytest.fixture
def sharp(tmp_path: Path) -> Path:
    folder = tmp_path / "node_modules" / "sharp"
    folder.mkdir(parents=True)
    (folder / "package.json").write_text('{"name": "sharp", "version": "0.35.0"}')
    return folder


def programs(folder: Path, *names: str) -> str:
    """A PATH that holds these commands."""
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return str(folder)


def request(contender: Contender, photo: Photo | None) -> dict[str, object]:
    [command] = contender.commands(photo, Path("/out"), ["32", "full"])
    found: dict[str, object] = json.loads(command[-1])
    return found


def test_a_bare_machine_still_has_someone_to_compare_with() -> None:
    found, absent = find_contenders(SETTINGS, {"PATH": "/nowhere"}, None)
    assert [each.name for each in found] == [OURS, OURS_EQUAL, PILLOW, PYVIPS]
    assert "Node" in absent[SHARP]
    assert "libvips" in absent[THUMBNAIL]


def test_sharp_is_found_with_node(tmp_path: Path, sharp: Path) -> None:
    path = programs(tmp_path, "node", "vipsthumbnail")
    without, absent = find_contenders(SETTINGS, {"PATH": path}, None)
    assert "npm install sharp" in absent[SHARP]
    assert [each.name for each in without] == [OURS, OURS_EQUAL, PILLOW, THUMBNAIL]
    found, absent = find_contenders(SETTINGS, {"PATH": path}, tmp_path)
    assert [each.name for each in found] == [OURS, OURS_EQUAL, SHARP, PILLOW, THUMBNAIL]
    assert absent == {}
    assert request(found[2], None)["sharp"] == str(sharp)


def test_the_package_lies_where_it_was_said_or_in_node_path(tmp_path: Path, sharp: Path) -> None:
    assert (
        find_sharp({}, sharp) == find_sharp({}, sharp.parent) == find_sharp({}, tmp_path) == sharp
    )
    assert find_sharp({"NODE_PATH": f"/nowhere:{sharp.parent}"}, None) == sharp
    assert find_sharp({"NODE_PATH": str(sharp.parent)}, Path("/nowhere")) is None
    (sharp / "package.json").write_text('{"name": "blunt"}')
    assert find_sharp({}, sharp) is None


def test_a_folder_that_is_given_and_holds_no_sharp_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match=f"--sharp {tmp_path}: no sharp lies there"):
        find_contenders(SETTINGS, {"PATH": "/nowhere"}, tmp_path)


def test_all_are_asked_for_the_same_and_rivals_for_equal_effort(
    tmp_path: Path, sharp: Path
) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(corners_jpeg(64, 48))
    path = programs(tmp_path, "node")
    found, _ = find_contenders(SETTINGS, {"PATH": path}, sharp)
    asked = [request(each, read_photo("a.jpg", photo)) for each in found]
    assert {each["photo"] for each in asked} == {str(photo)}
    assert {each["ladder"] for each in asked} == {"32,full"}
    assert {each["quality"] for each in asked} == {70}
    assert {each["effort"] for each in asked[1:]} == {4}
    assert request(found[0], None)["photo"] is None


def test_vipsthumbnail_is_a_command_for_each_rung(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(corners_jpeg(64, 48))
    found, _ = find_contenders(SETTINGS, {"PATH": programs(tmp_path, "vipsthumbnail")}, None)
    commands = found[-1].commands(read_photo("a", photo), Path("/out"), ["32", "full"])
    assert commands[0] == [
        *("vipsthumbnail", str(photo), "--size", "32x32>"),
        *("--output", "/out/32.webp[Q=70,effort=4,strip]"),
    ]
    assert len(commands) == 2
    assert "--export-profile" not in commands[1], "there is none to convert from"
    assert found[-1].commands(None, Path("/out"), []) == [["vipsthumbnail", "--version"]]
