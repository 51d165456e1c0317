"""Originals: where they may lie, which generation is fetched, and how long one is waited for."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.support.fakes import MemoryStore, Once, crc32c, raising
from tests.support.workers import JPEG, ORIGINALS, FakeWorker, make_worker, register, seed_original
from worker.errors import (
    CorruptOriginal,
    ForbiddenSource,
    OriginalMissing,
    OriginalTooLarge,
    StorageUnavailable,
)
from worker.photo.events import Register


@pytest.fixture
def worker(tmp_path: Path) -> FakeWorker:
    """One whose bucket is empty."""
    return make_worker(tmp_path)


def event(original: str) -> Register:
    return Register(photo_id="a", version=1, original=original)


@pytest.mark.parametrize(
    "original",
    ["gs://originals/a.jpg", "gs://originals/photos/a.jpg", "gs://renditions/uploads/a.jpg"],
)
def test_allowed_sources(worker: FakeWorker, original: str) -> None:
    worker.originals.check_source(event(original))


@pytest.mark.parametrize(
    ("original", "message"),
    [
        ("gs://elsewhere/a.jpg", "'elsewhere' is not among WORKER_ORIGINALS_BUCKETS"),
        ("gs://originals2/a.jpg", "originals, renditions"),
        ("gs://renditions/photos/a/1-3fd0c1a2b4e5/full.webp", "own output"),
    ],
)
def test_forbidden_sources(worker: FakeWorker, original: str, message: str) -> None:
    with pytest.raises(ForbiddenSource, match=message):
        worker.originals.check_source(event(original))


def test_an_original_is_fetched_and_hashed(worker: FakeWorker, tmp_path: Path) -> None:
    data = bytes(range(256)) * 3
    generation = seed_original(worker.store, data=data)
    fetched = worker.originals.fetch(register(1), tmp_path)
    assert fetched.path.read_bytes() == data
    assert fetched.path.parent == tmp_path
    assert fetched.hash.sha256 == hashlib.sha256(data).hexdigest()
    assert (str(fetched.stored.generation), fetched.stored.size_bytes) == (generation, 768)


def test_more_than_one_chunk_is_hashed_whole(store: MemoryStore, tmp_path: Path) -> None:
    worker = make_worker(tmp_path, store, max_original_bytes=1 << 22)
    data = bytes(range(251)) * 10_000
    seed_original(store, data=data)
    fetched = worker.originals.fetch(register(1), tmp_path)
    assert fetched.hash.sha256 == hashlib.sha256(data).hexdigest()


def test_a_pinned_generation_is_the_one_that_is_fetched(
    worker: FakeWorker, store: MemoryStore, tmp_path: Path
) -> None:
    old = seed_original(store)
    new = seed_original(store, data=b"newer")
    with pytest.raises(OriginalMissing, match=f"at generation {old}"):
        worker.originals.fetch(register(1, generation=old), tmp_path)
    fetched = worker.originals.fetch(register(1, generation=new), tmp_path)
    assert fetched.path.read_bytes() == b"newer"


def test_an_original_that_its_event_overtook_is_waited_for(
    store: MemoryStore, tmp_path: Path
) -> None:
    worker = make_worker(tmp_path, store, grace_seconds=30)
    store.after = Once("download", "a.jpg", lambda: seed_original(store))
    assert worker.originals.fetch(register(1), tmp_path).path.read_bytes() == JPEG
    assert store.asked("download") == ["a.jpg", "a.jpg"]


def test_an_original_that_stays_away_is_missing(worker: FakeWorker, tmp_path: Path) -> None:
    with pytest.raises(OriginalMissing, match=r"^gs://originals/a\.jpg does not exist$"):
        worker.originals.fetch(register(1), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_original_replaced_before_the_download_is_taken_as_it_is_then(
    worker: FakeWorker, store: MemoryStore, tmp_path: Path
) -> None:
    seed_original(store)
    store.before = Once("download", "a.jpg", lambda: seed_original(store, data=b"newer"))
    fetched = worker.originals.fetch(register(1), tmp_path)
    assert fetched.path.read_bytes() == b"newer"
    assert (fetched.stored.size_bytes, fetched.stored.crc32c) == (5, crc32c(b"newer"))
    assert fetched.hash.sha256 == hashlib.sha256(b"newer").hexdigest()


@pytest.mark.parametrize(
    ("size_bytes", "error"),
    [(0, CorruptOriginal), (1001, OriginalTooLarge), (1 << 20, OriginalTooLarge)],
)
def test_size_is_judged_before_a_byte_is_downloaded(
    worker: FakeWorker, store: MemoryStore, tmp_path: Path, size_bytes: int, error: type[Exception]
) -> None:
    store.seed(ORIGINALS, "a.jpg", bytes(size_bytes))
    with pytest.raises(error):
        worker.originals.fetch(register(1), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_that_does_not_answer_is_not_a_missing_original(
    worker: FakeWorker, store: MemoryStore, tmp_path: Path
) -> None:
    seed_original(store)
    store.before = Once("download", "a.jpg", raising(StorageUnavailable("503")))
    with pytest.raises(StorageUnavailable):
        worker.originals.fetch(register(1), tmp_path)
