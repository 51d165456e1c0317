"""Inventories: what is listed, in which order, and from where on."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path

import pytest

from tests.support.fakes import MemoryStore
from worker.operate.backfill.inventory import (
    BucketInventory,
    FolderInventory,
    Inventory,
    Item,
    Left,
)
from worker.photo.events import Buckets
from worker.photo.globs import Globs
from worker.photo.layout import Layout

EVERYTHING = Globs()


def buckets(
    renditions: str = "renditions", prefix: str = "photos/", globs: Globs = EVERYTHING
) -> Buckets:
    return Buckets(
        originals=frozenset({"originals"}),
        renditions=renditions,
        layout=Layout(prefix),
        globs=globs,
    )


def bucket_of(
    *names: str, prefix: str = "", known: Buckets | None = None
) -> tuple[MemoryStore, BucketInventory]:
    store = MemoryStore(page_size=2)
    for name in names:
        store.seed("originals", name, b"12345")
    return store, BucketInventory(
        store=store, bucket="originals", prefix=prefix, buckets=known or buckets()
    )


def folder_of(root: Path, *names: str, known: Buckets | None = None) -> FolderInventory:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"12345")
    return FolderInventory(folder=root, bucket="originals", buckets=known or buckets())


def names(inventory: Inventory, behind: str | None = None) -> list[str]:
    return [item.name for item in inventory.items(behind) if item.left is None]


def left(inventory: Inventory) -> dict[str, Left]:
    return {item.name: item.left for item in inventory.items() if item.left is not None}


NAMES = ["a-b.jpg", "a.jpg", "a/1.jpg", "a/b/2.jpg", "a/b.jpg", "a/c/3.jpg", "z.png"]


def test_a_buckets_objects_come_in_name_order() -> None:
    _, inventory = bucket_of(*NAMES)
    assert names(inventory) == sorted(NAMES)
    [first, *_] = inventory.items()
    assert first.size_bytes == 5
    assert first.stored is not None


def test_only_what_begins_with_the_prefix_is_listed() -> None:
    _, inventory = bucket_of(*NAMES, prefix="a/b")
    assert names(inventory) == ["a/b.jpg", "a/b/2.jpg"]


def test_a_folders_pictures_come_in_an_order_of_their_own(tmp_path: Path) -> None:
    inventory = folder_of(tmp_path, *NAMES, "notes.txt")
    assert names(inventory) == [
        *("a/1.jpg", "a/b/2.jpg", "a/b.jpg", "a/c/3.jpg"),
        *("a-b.jpg", "a.jpg", "z.png"),
    ]
    assert left(inventory) == {"notes.txt": Left.IGNORED}


@pytest.mark.parametrize("kind", ["bucket", "folder"])
def test_whatever_the_place_what_is_behind_it_comes_once(tmp_path: Path, kind: str) -> None:
    inventory: Inventory = folder_of(tmp_path, *NAMES) if kind == "folder" else bucket_of(*NAMES)[1]
    every = names(inventory)
    for index, name in enumerate(every):
        assert names(inventory, name) == every[index + 1 :]
    # A place between two names, as after the object there was deleted.
    assert names(inventory, "a/b/0") == every[every.index("a/b/2.jpg") :]


@pytest.mark.parametrize("kind", ["bucket", "folder"])
def test_a_place_that_is_gone_is_no_obstacle(tmp_path: Path, kind: str) -> None:
    gone = [name for name in NAMES if name != "a/b/2.jpg"]
    inventory: Inventory = folder_of(tmp_path, *gone) if kind == "folder" else bucket_of(*gone)[1]
    every = names(inventory)
    behind = names(inventory, "a/b/2.jpg")
    assert behind == every[-len(behind) :]
    assert every[len(every) - len(behind) - 1] in {"a/1.jpg", "a/b.jpg"}


def test_the_workers_own_output_is_not_even_listed() -> None:
    own = [f"photos/p{number}/manifest.json" for number in range(10)]
    store, inventory = bucket_of(
        "a.jpg", "photos", "photos.jpg", "photos0.jpg", *own, known=buckets("originals")
    )
    assert names(inventory) == ["a.jpg", "photos", "photos.jpg", "photos0.jpg"]
    assert left(inventory) == {}
    assert len(store.requests) <= 8  # two names a page; ten more would be five more pages, twice
    for name in ("a.jpg", "photos", "photos.jpg"):
        assert own[0] not in names(inventory, name)
        assert names(inventory, name)[-1] == "photos0.jpg"


def test_another_buckets_photos_are_originals() -> None:
    _, inventory = bucket_of("photos/a.jpg")
    assert names(inventory) == ["photos/a.jpg"]


def test_what_can_be_no_original_is_named() -> None:
    _, inventory = bucket_of(
        "a/",
        "a//b.jpg",
        "/c.jpg",
        "x" * 801,
        "d.tmp",
        "e.jpg",
        known=buckets(globs=Globs(exclude=("*.tmp",))),
    )
    assert left(inventory) == {
        "/c.jpg": Left.IMPOSSIBLE,
        "a/": Left.IGNORED,
        "a//b.jpg": Left.IMPOSSIBLE,
        "d.tmp": Left.NOT_CHOSEN,
        "x" * 801: Left.IMPOSSIBLE,
    }
    assert names(inventory) == ["e.jpg"]


def test_a_picture_that_is_not_rendered_is_named(tmp_path: Path) -> None:
    for name in ("a.bmp", "b.jpg", "c.JXL", "d.txt"):
        (tmp_path / name).write_bytes(b"x")
    inventory = folder_of(tmp_path)
    found = {item.name: (item.left, item.why) for item in inventory.items()}
    assert found["b.jpg"] == (None, "")
    assert found["d.txt"][0] is Left.IGNORED
    for name, what in (("a.bmp", "a BMP"), ("c.JXL", "a JPEG XL")):
        left, why = found[name]
        assert left is Left.IMPOSSIBLE
        assert what in why


def test_links_to_files_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    inventory = folder_of(tmp_path / "album", "a/1.jpg")
    (tmp_path / "album" / "a" / "circle").symlink_to(tmp_path / "album")
    (tmp_path / "album" / "a" / "2.jpg").symlink_to(tmp_path / "album" / "a" / "1.jpg")
    (tmp_path / "album" / "a" / "lost.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "album" / "folder.jpg").mkdir()
    assert names(inventory) == ["a/1.jpg", "a/2.jpg"]


def test_folders_nest_deeper_than_python_recurses(tmp_path: Path) -> None:
    inventory = folder_of(tmp_path, "a.jpg", "z.jpg")
    levels = ["/".join(["d"] * level) for level in range(1, 301)]
    for level in levels:
        (tmp_path / level).mkdir()
    (tmp_path / levels[-1] / "deep.jpg").touch()
    usual = sys.getrecursionlimit()
    try:
        # Not as many folders as the usual limit: what removes the folder of a test recurses too.
        sys.setrecursionlimit(len(inspect.stack()) + 200)
        assert names(inventory) == ["a.jpg", f"{levels[-1]}/deep.jpg", "z.jpg"]
    finally:
        sys.setrecursionlimit(usual)


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    inventory = folder_of(tmp_path / "album", "a.jpg")
    (tmp_path / "album" / "a.jpg").unlink()
    (tmp_path / "album").rmdir()
    [item] = inventory.items()
    assert (item.left, item.why) == (Left.IMPOSSIBLE, "cannot be read: No such file or directory")


def test_a_file_would_not_be_uploaded_over_the_workers_output(tmp_path: Path) -> None:
    inventory = folder_of(tmp_path, "photos/a.jpg", known=buckets("originals"))
    [item] = inventory.items()
    assert item.left is Left.IMPOSSIBLE
    assert "the worker's output" in item.why


def test_a_name_that_is_no_text_is_impossible(tmp_path: Path) -> None:
    inventory = folder_of(tmp_path, "a.jpg")
    with open(os.fsencode(tmp_path) + b"/\xff.jpg", "wb"):  # noqa: PTH123 (bytes)
        pass
    found = list(inventory.items())
    assert [item.left for item in found] == [None, Left.IMPOSSIBLE]
    assert isinstance(found[1], Item)
    assert "UTF-8" in found[1].why


def test_a_name_that_nobody_may_look_at_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory = folder_of(tmp_path, "a.jpg", "b.jpg")
    real = Path.stat

    def refuse(path: Path, **options: bool) -> os.stat_result:
        # As the system does in a folder without the right to enter; root may enter all.
        if path.name == "a.jpg":
            raise PermissionError(13, "Permission denied")
        return real(path, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    assert [(item.name, item.why) for item in inventory.items()] == [
        ("a.jpg", "cannot be read: Permission denied"),
        ("b.jpg", ""),
    ]
