"""Renditions: written once, adopted where they lie, and removed exactly."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.fakes import MemoryStore, Once, crc32c, raising
from tests.support.workers import LAYOUT, RENDITIONS
from worker.errors import ObjectMissing, PreconditionFailed, RenderCrashed, StorageUnavailable
from worker.handlers.renditions import LadderFolder, Renditions
from worker.photo.ladder import RungSize
from worker.photo.ports import Rendered, StoredObject

DIGEST = "3fd0c1a2b4e5"
FOLDER = LadderFolder(photo_id="a", version=17, digest=DIGEST)
NAME = f"photos/a/17-{DIGEST}/320.webp"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(page_size=2)


@pytest.fixture
def renditions(store: MemoryStore) -> Renditions:
    return Renditions(store, RENDITIONS, LAYOUT)


@pytest.fixture
def rendered(tmp_path: Path) -> Rendered:
    return written(tmp_path, "320")


def test_a_rendition_is_stored_with_its_headers_and_stated(
    store: MemoryStore, renditions: Renditions, rendered: Rendered
) -> None:
    stated = renditions.upload(FOLDER, rendered)
    entry = store.entry(RENDITIONS, NAME)
    assert entry is not None
    assert entry.data == b"pixels"
    assert entry.content_type == "image/webp"
    assert entry.cache_control == "public, max-age=31536000, immutable"
    assert entry.custom_time is None
    assert stated.model_dump() == {
        "rung": "320",
        "object": NAME,
        "width": 320,
        "height": 213,
        "bytes": 6,
        "crc32c": crc32c(b"pixels"),
        "content_type": "image/webp",
    }


def test_a_lost_response_followed_by_412_is_a_success(
    store: MemoryStore, renditions: Renditions, rendered: Rendered
) -> None:
    store.after = Once("write", NAME, raising(PreconditionFailed("sent again")))
    assert renditions.upload(FOLDER, rendered).crc32c == crc32c(b"pixels")
    assert store.asked("write") == [NAME]


def test_bytes_that_lie_there_are_kept_and_their_checksum_is_stated(
    store: MemoryStore, renditions: Renditions, rendered: Rendered
) -> None:
    store.seed(RENDITIONS, NAME, b"another machine's")
    stated = renditions.upload(FOLDER, rendered)
    assert (stated.crc32c, stated.bytes) == (crc32c(b"another machine's"), 17)
    assert (stated.width, stated.height) == (320, 213)
    entry = store.entry(RENDITIONS, NAME)
    assert entry is not None
    assert entry.data == b"another machine's"


def test_a_name_that_is_freed_in_between_is_written_again(
    store: MemoryStore, renditions: Renditions, rendered: Rendered
) -> None:
    store.seed(RENDITIONS, NAME, b"another machine's")
    store.before = Once("stat", NAME, lambda: store.delete(RENDITIONS, NAME))
    assert renditions.upload(FOLDER, rendered).crc32c == crc32c(b"pixels")


def test_a_name_that_is_never_to_be_had_is_given_back(
    store: MemoryStore, renditions: Renditions, rendered: Rendered
) -> None:
    def vanish(request: object) -> None:
        del request
        hook, store.before = store.before, lambda _: None
        if store.entry(RENDITIONS, NAME) is None:
            store.seed(RENDITIONS, NAME, b"another machine's")
        else:
            store.delete(RENDITIONS, NAME)
        store.before = hook

    store.before = vanish
    with pytest.raises(ObjectMissing, match=NAME):
        renditions.upload(FOLDER, rendered)


def test_other_bytes_than_were_rendered_are_never_sent(
    store: MemoryStore, renditions: Renditions, rendered: Rendered
) -> None:
    rendered.path.write_bytes(b"pixe")
    for _ in range(2):
        with pytest.raises(RenderCrashed, match=r"320\.webp"):
            renditions.upload(FOLDER, rendered)
    assert not store.asked("write")


def test_other_bytes_than_were_sent_are_no_success(
    store: MemoryStore, renditions: Renditions, rendered: Rendered, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = store.write

    def damaged(bucket: str, name: str, data: bytes | Path, **how: Any) -> StoredObject:
        assert isinstance(data, Path)
        return write(bucket, name, data.read_bytes()[:-1], **how)

    monkeypatch.setattr(store, "write", damaged)
    with pytest.raises(StorageUnavailable, match=NAME):
        renditions.upload(FOLDER, rendered)
    assert len(store.asked("write")) == 1


def test_remove_counts_what_was_there(store: MemoryStore, renditions: Renditions) -> None:
    store.seed(RENDITIONS, "x", b"")
    assert renditions.remove(["x", "y", "x"]) == 1
    assert store.names(RENDITIONS) == []


def test_remove_own_takes_every_own_version_up_to_one_and_nothing_else(
    store: MemoryStore, renditions: Renditions
) -> None:
    own = [
        f"photos/a/{version}-{DIGEST}/{rung}.webp"
        for version in (1, 2, 10, 17)
        for rung in ("320", "full")
    ]
    kept = [
        f"photos/a/18-{DIGEST}/320.webp",
        f"photos/a/170-{DIGEST}/320.webp",
        "photos/a/manifest.json",
        f"photos/a/b/1-{DIGEST}/320.webp",
        f"photos/a/1-{DIGEST}/manifest.json",
        f"photos/a/1-{DIGEST}/2-{DIGEST}/320.webp",
        "photos/a/1-notes.txt",
        f"photos/ab/1-{DIGEST}/320.webp",
        f"other/a/1-{DIGEST}/320.webp",
    ]
    for name in (*own, *kept):
        store.seed(RENDITIONS, name, b"")
    elsewhere: StoredObject = store.seed("originals", own[0], b"")
    assert renditions.remove_own("a", 17) == len(own)
    assert store.names(RENDITIONS) == sorted(kept)
    assert store.names("originals") == [elsewhere.name]


def test_requests_about_different_renditions_run_side_by_side(
    store: MemoryStore, tmp_path: Path
) -> None:
    """Each waits for the others before it takes effect, which works only side by side."""
    together = threading.Barrier(3, timeout=30)

    def meet(_: object) -> None:
        together.wait()

    store.before = meet
    with ThreadPoolExecutor(3) as threads:
        renditions = Renditions(store, RENDITIONS, LAYOUT, threads)
        puts = [
            renditions.start_upload(FOLDER, written(tmp_path, rung))
            for rung in ("320", "512", "full")
        ]
        names = [put.result().object for put in puts]
        assert store.names(RENDITIONS) == sorted(names)
        assert renditions.remove(names) == 3
    assert store.names(RENDITIONS) == []


def written(folder: Path, rung: str) -> Rendered:
    path = folder / f"{rung}.webp"
    path.write_bytes(b"pixels")
    return Rendered(
        size=RungSize(rung=rung, width=320, height=213),
        path=path,
        size_bytes=6,
        crc32c=crc32c(b"pixels"),
    )
