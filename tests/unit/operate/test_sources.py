"""What `SOURCE...` names: objects, files, and the pictures below folders."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from worker.errors import ConfigurationError, UsageFault
from worker.operate.sources import Source, check_allowed, find_sources


@pytest.fixture
def album(tmp_path: Path) -> Path:
    for name in ("b.JPG", "a.png", "sub/c.webp", "notes.txt", "sub/.hidden", "d.jpg/e.txt"):
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "album"


def test_a_folder_is_its_pictures_by_their_paths(album: Path) -> None:
    found = find_sources([str(album)])
    assert [source.photo_id for source in found] == ["a.png", "b.JPG", "sub/c.webp"]
    assert found[2].file == album / "sub" / "c.webp"


def test_rarer_endings_are_pictures_too(album: Path) -> None:
    rare = [f"a.{ending}" for ending in ("apng", "avifs", "heics", "heif", "hif", "jfif", "jpe")]
    for name in rare:
        (album / name).touch()
    assert [source.photo_id for source in find_sources([str(album)])][:7] == rare


def test_a_file_named_outright_is_taken_whatever_it_is_called(album: Path) -> None:
    assert find_sources([str(album / "notes.txt")]) == [
        Source(photo_id="notes.txt", file=album / "notes.txt", url=None)
    ]


def test_an_object_is_known_by_its_name() -> None:
    (source,) = find_sources(["gs://b/x/y.jpg"])
    assert source == Source(photo_id="x/y.jpg", file=None, url="gs://b/x/y.jpg")
    assert source.bucket == "b"


def test_a_photo_id_may_be_given_to_one_source(album: Path) -> None:
    (source,) = find_sources([str(album / "a.png")], photo_id="mine")
    assert (source.photo_id, source.file) == ("mine", album / "a.png")
    with pytest.raises(UsageFault, match="exactly one SOURCE, got 3"):
        find_sources([str(album)], photo_id="mine")


def test_sources_that_would_overwrite_each_other_are_named(album: Path) -> None:
    with pytest.raises(UsageFault, match=r"a\.png") as caught:
        find_sources([str(album), str(album / "a.png")])
    assert "'a.png'" in str(caught.value)
    with pytest.raises(UsageFault, match="gs://two/x"):
        find_sources(["gs://one/x", "gs://two/x"])


@pytest.mark.parametrize("name", ["missing.jpg", "sub2"])
def test_what_is_not_there_is_a_usage_fault(album: Path, name: str) -> None:
    with pytest.raises(UsageFault, match=name):
        find_sources([str(album / name)])


def test_a_folder_without_pictures_is_a_usage_fault(album: Path) -> None:
    with pytest.raises(UsageFault, match="no pictures"):
        find_sources([str(album / "d.jpg")])


IMPOSSIBLE = {
    "new\nline.jpg": "new\\nline.jpg",
    "bell\a.jpg": "bell\\x07.jpg",
    os.fsdecode(b"caf\xe9.jpg"): "caf\\udce9.jpg",
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_file_whose_name_can_be_no_photo_id_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UsageFault, match=r"cannot be a photo: its id must .*(control|UTF-8)"):
        find_sources([str(tmp_path / name)])


@pytest.mark.parametrize(("name", "shown"), IMPOSSIBLE.items())
def test_in_a_folder_it_keeps_no_other_photo_out(album: Path, name: str, shown: str) -> None:
    (album / name).write_bytes(b"x")
    found = find_sources([str(album)])
    (odd,) = (source for source in found if source.fault)
    assert (odd.photo_id, odd.file) == (shown, album / name)
    good = [source.photo_id for source in found if not source.fault]
    assert good == ["a.png", "b.JPG", "sub/c.webp"]


def test_an_empty_source_is_not_the_current_folder() -> None:
    with pytest.raises(UsageFault, match="empty"):
        find_sources([""])


def test_what_exists_and_cannot_be_read_is_a_source(album: Path) -> None:
    (album / "broken.jpg").symlink_to("nowhere")
    (album / "circle.jpg").symlink_to("circle.jpg")
    found = find_sources([str(album)])
    names = ["a.png", "b.JPG", "broken.jpg", "circle.jpg", "sub/c.webp"]
    assert [source.photo_id for source in found] == names


def test_a_folder_that_cannot_be_listed_is_a_source(
    album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def refuse(folder: str | bytes) -> object:
        # As the system does without the right to read; root may read all.
        if os.fsdecode(folder).endswith("sub"):
            raise PermissionError(13, "Permission denied", folder)
        return real(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    found = find_sources([str(album)])
    assert [source.photo_id for source in found] == ["a.png", "b.JPG", "sub"]
    found = find_sources([str(album / "sub")])
    assert [(source.photo_id, source.file) for source in found] == [("sub", album / "sub")]


def test_what_is_no_file_is_passed_over_in_a_folder_and_refused_by_name(album: Path) -> None:
    os.mkfifo(album / "fifo.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(album / "socket.jpg"))
    found = find_sources([str(album)])
    assert [source.photo_id for source in found] == ["a.png", "b.JPG", "sub/c.webp"]
    for name in ("fifo.jpg", "socket.jpg"):
        with pytest.raises(UsageFault, match=f"{name}: neither a file nor a folder"):
            find_sources([str(album / name)])


@pytest.mark.parametrize("url", ["gs://bucket", "gs://bucket/", "gs://bucket/2026/"])
def test_a_bucket_or_folder_of_objects_is_what_backfill_takes(url: str) -> None:
    with pytest.raises(UsageFault, match=f"`photo-worker backfill {url}`"):
        find_sources(["gs://bucket/one.jpg", url])


def test_a_bucket_that_is_not_among_the_allowed_is_refused() -> None:
    check_allowed("anybody", ())
    check_allowed("mine", ("yours", "mine"))
    with pytest.raises(ConfigurationError) as caught:
        check_allowed("other", ("yours", "mine"))
    (problem,) = caught.value.problems
    assert problem.startswith("WORKER_ORIGINALS_BUCKETS='yours,mine': 'other' is not among them")


def test_a_tilde_that_the_shell_left_is_the_home_folder(
    album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(album.parent))
    assert find_sources(["~/album"]) == find_sources([str(album)])
    monkeypatch.chdir(album.parent)
    (album.parent / "~").mkdir()
    (album.parent / "~" / "here.png").touch()
    assert [each.photo_id for each in find_sources(["~"])] == ["here.png"]
    with pytest.raises(UsageFault, match=r"~no-such-user/x: no such file or folder"):
        find_sources(["~no-such-user/x"])
