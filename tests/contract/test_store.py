"""One suite for every object store: the in-memory one of the tests, and a real GCS server."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.fakes import MemoryStore, crc32c
from worker.errors import BucketUnavailable, PreconditionFailed
from worker.gcs.store import GcsStore
from worker.photo.ports import ObjectStore, StoredObject


@pytest.fixture(params=["memory", "gcs"])
def store(request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    url = request.getfixturevalue("storage_url")
    gcs = GcsStore(project="contract", emulator_url=url, connections=24)
    yield gcs
    gcs.close()


@pytest.fixture
def bucket(store: ObjectStore) -> str:
    name = f"bucket-{uuid.uuid4().hex[:10]}"
    if isinstance(store, GcsStore):
        store.create_bucket(name)
    return name


def put(
    store: ObjectStore, bucket: str, name: str, data: bytes = b"data", if_generation: int = 0
) -> StoredObject:
    return store.write(
        bucket,
        name,
        data,
        content_type="image/webp",
        cache_control="public, max-age=60",
        if_generation=if_generation,
    )


def take(store: ObjectStore, stored: StoredObject, into: Path) -> StoredObject | None:
    return store.fetch(stored.bucket, stored.name, str(stored.generation), into, lambda _: None)


def test_what_is_written_is_what_is_read(store: ObjectStore, bucket: str) -> None:
    stored = put(store, bucket, "a/b.webp", b"some bytes")
    assert (stored.bucket, stored.name, stored.size_bytes) == (bucket, "a/b.webp", 10)
    assert stored.crc32c == crc32c(b"some bytes")
    assert stored.generation > 0
    assert store.stat(bucket, "a/b.webp") == stored
    assert store.read(bucket, "a/b.webp") == (b"some bytes", stored.generation)


def test_what_is_not_there_is_none(store: ObjectStore, bucket: str) -> None:
    assert store.stat(bucket, "nothing") is None
    assert store.read(bucket, "nothing") is None
    assert store.delete(bucket, "nothing") is False


def test_creation_happens_once(store: ObjectStore, bucket: str) -> None:
    first = put(store, bucket, "once", b"first")
    with pytest.raises(PreconditionFailed):
        put(store, bucket, "once", b"second")
    assert store.read(bucket, "once") == (b"first", first.generation)


def test_a_write_needs_the_generation_that_was_read(store: ObjectStore, bucket: str) -> None:
    first = put(store, bucket, "swap", b"1")
    second = put(store, bucket, "swap", b"2", if_generation=first.generation)
    assert second.generation > first.generation
    with pytest.raises(PreconditionFailed):
        put(store, bucket, "swap", b"3", if_generation=first.generation)
    with pytest.raises(PreconditionFailed):
        put(store, bucket, "never-there", b"3", if_generation=first.generation)
    assert store.read(bucket, "swap") == (b"2", second.generation)


def test_of_twenty_racing_writers_one_wins(store: ObjectStore, bucket: str) -> None:
    barrier = threading.Barrier(20)

    def write(number: int) -> bool:
        barrier.wait()
        try:
            put(store, bucket, "race", str(number).encode())
        except PreconditionFailed:
            return False
        return True

    with ThreadPoolExecutor(20) as threads:
        won = list(threads.map(write, range(20)))
    assert won.count(True) == 1
    found = store.read(bucket, "race")
    assert found is not None
    assert found[0] == str(won.index(True)).encode()


def test_a_large_object_keeps_its_precondition(store: ObjectStore, bucket: str) -> None:
    """Resumable uploads ignore it, so objects above the client's 8 MiB must not become one."""
    large = bytes(9 << 20)
    stored = put(store, bucket, "large", large)
    assert stored.size_bytes == len(large)
    with pytest.raises(PreconditionFailed):
        put(store, bucket, "large", large[:-1])


def test_deleted_objects_can_be_created_again(store: ObjectStore, bucket: str) -> None:
    first = put(store, bucket, "again")
    assert store.delete(bucket, "again") is True
    second = put(store, bucket, "again")
    assert second.generation > first.generation


def test_download_is_exact(store: ObjectStore, bucket: str, tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    stored = put(store, bucket, "original", data)
    took = take(store, stored, tmp_path / "file")
    # A download states its time in whole seconds.
    assert took is not None
    assert replace(took, created=stored.created) == stored
    assert (tmp_path / "file").read_bytes() == data


def test_download_of_a_generation_that_is_gone_is_missing(
    store: ObjectStore, bucket: str, tmp_path: Path
) -> None:
    stored = put(store, bucket, "original")
    store.delete(bucket, "original")
    assert take(store, stored, tmp_path / "file") is None


def test_a_pinned_generation_is_looked_up_exactly(store: ObjectStore, bucket: str) -> None:
    stored = put(store, bucket, "pinned")
    assert store.stat(bucket, "pinned", str(stored.generation)) == stored
    assert store.stat(bucket, "pinned", str(stored.generation + 1)) is None


def test_listing_is_ordered_and_bounded(store: ObjectStore, bucket: str) -> None:
    for name in ("a/1-x", "a/2-x", "a/b/1-x", "a/manifest.json", "a0", "b/1"):
        put(store, bucket, name)
    names = [each.name for each in store.objects(bucket, "a/")]
    assert names == ["a/1-x", "a/2-x", "a/b/1-x", "a/manifest.json"]
    bounded = [each.name for each in store.objects(bucket, "a/", start="a/0", end="a/:")]
    assert bounded == ["a/1-x", "a/2-x"]


def test_listing_goes_past_one_page(store: ObjectStore, bucket: str) -> None:
    names = [f"page/{number:04}" for number in range(1_003)]
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda name: put(store, bucket, name, b"x"), names))
    assert [each.name for each in store.objects(bucket, "page/")] == names


def test_odd_names_survive(store: ObjectStore, bucket: str) -> None:
    names = ["ünï/😀 #1?.webp", "a%2Fb", "with space", "plus+and&more", "quote'\"<>"]
    for name in names:
        put(store, bucket, name, name.encode())
    for name in names:
        found = store.read(bucket, name)
        assert found is not None, name
        assert found[0] == name.encode()
    assert sorted(each.name for each in store.objects(bucket, "")) == sorted(names)


def test_gcs_states_types_caching_and_custom_time(storage_url: str) -> None:
    gcs = GcsStore(project="contract", emulator_url=storage_url, connections=2)
    bucket = f"bucket-{uuid.uuid4().hex[:10]}"
    gcs.create_bucket(bucket)
    put(gcs, bucket, "rendition")
    blob = gcs._client.bucket(bucket).get_blob("rendition")
    assert (blob.content_type, blob.cache_control) == ("image/webp", "public, max-age=60")
    assert blob.custom_time is None
    moment = datetime(2026, 11, 22, tzinfo=UTC)
    gcs.write(
        bucket,
        "tombstone",
        b"{}",
        content_type="application/json",
        cache_control="public, max-age=60",
        if_generation=0,
        custom_time=moment,
    )
    assert gcs._client.bucket(bucket).get_blob("tombstone").custom_time == moment
    gcs.close()


def test_a_missing_bucket_is_named(storage_url: str) -> None:
    gcs = GcsStore(project="contract", emulator_url=storage_url, connections=2)
    with pytest.raises(BucketUnavailable, match="no-such-bucket"):
        gcs.check_bucket("no-such-bucket")
    gcs.close()
