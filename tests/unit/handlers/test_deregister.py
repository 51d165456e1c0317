"""Deregistration: a tombstone first, then only the photo's own objects."""

from __future__ import annotations

import pytest

from tests.support.fakes import MemoryStore, Once, raising
from tests.support.workers import (
    LAYOUT,
    RENDITIONS,
    FakeWorker,
    assert_whole,
    current_manifest,
    deregister,
    make_worker,
    names_of,
    register,
    rendition_names,
    seed_original,
)
from worker.errors import CorruptOriginal, StorageUnavailable
from worker.handlers.steps import Steps
from worker.photo.manifest import State
from worker.photo.outcome import Effect

DIGEST = "3fd0c1a2b4e5"
NESTED = ("a/b", f"a/17-{DIGEST}", f"a/17-{DIGEST}/320.webp", "a/1", "ab")


def seed_rendition(store: MemoryStore, version: int) -> str:
    name = LAYOUT.rendition("a", version, DIGEST, "320")
    store.seed(RENDITIONS, name, b"")
    return name


def test_a_photo_is_removed_and_a_tombstone_stays(worker: FakeWorker, store: MemoryStore) -> None:
    worker.do(register(17))
    worker.clock.advance(60)
    outcome = worker.do(deregister(18))
    manifest = current_manifest(store)
    assert outcome.effect is Effect.DEREGISTERED
    assert outcome.manifest == manifest
    assert (manifest.state, manifest.version) == (State.DEREGISTERED, 18)
    assert (manifest.renditions, manifest.original, manifest.labels) == ((), None, {})
    assert store.names(RENDITIONS) == ["photos/a/manifest.json"]
    entry = store.entry(RENDITIONS, "photos/a/manifest.json")
    assert entry is not None
    assert entry.custom_time == worker.clock.now


def test_a_tombstone_is_written_where_nothing_was_registered(worker: FakeWorker) -> None:
    assert worker.do(deregister(18)).effect is Effect.DEREGISTERED
    assert current_manifest(worker.store).state is State.DEREGISTERED
    assert worker.do(register(17)).effect is Effect.SUPERSEDED


def test_orphans_go_also_where_nothing_was_registered(worker: FakeWorker) -> None:
    seed_rendition(worker.store, 17)
    newer = seed_rendition(worker.store, 19)
    worker.do(deregister(18))
    # A newer registration has uploaded it, and is about to commit.
    assert rendition_names(worker.store) == {newer}


def test_photos_that_nest_below_keep_everything(worker: FakeWorker, store: MemoryStore) -> None:
    for photo_id in ("a", *NESTED):
        seed_original(store, photo_id)
        worker.do(register(17, photo_id))
    before = {name: store.entry(RENDITIONS, name) for name in store.names(RENDITIONS)}
    worker.do(deregister(18))
    own = {name for name in before if LAYOUT.own_version("a", name)}
    assert len(own) == 3
    assert set(store.names(RENDITIONS)) == set(before) - own
    for photo_id in NESTED:
        assert_whole(store, photo_id)


def test_an_older_deregistration_changes_nothing_that_is_named(worker: FakeWorker) -> None:
    worker.do(register(17))
    worker.store.requests.clear()
    outcome = worker.do(deregister(16))
    assert (outcome.effect, outcome.manifest) == (Effect.SUPERSEDED, None)
    assert_whole(worker.store)
    assert [request.verb for request in worker.store.requests] == ["read", "list", "read"]


def test_an_overtaken_deregistration_still_deletes_what_it_was_sent_for(
    worker: FakeWorker, store: MemoryStore
) -> None:
    worker.do(register(15))
    store.before = Once("delete", ".webp", raising(StorageUnavailable("killed")))
    with pytest.raises(StorageUnavailable):
        worker.do(deregister(16))
    worker.do(register(17))
    assert names_of(store, 15)
    assert worker.do(deregister(16)).effect is Effect.SUPERSEDED
    assert names_of(store, 15) == set()
    assert_whole(store)


def test_a_duplicate_deletes_what_its_predecessor_could_not(worker: FakeWorker) -> None:
    worker.do(register(17))
    worker.store.before = Once("delete", "512.webp", raising(StorageUnavailable("died")))
    with pytest.raises(StorageUnavailable):
        worker.do(deregister(18))
    assert current_manifest(worker.store).state is State.DEREGISTERED
    outcome = worker.do(deregister(18))
    assert outcome.effect is Effect.ALREADY_CURRENT
    assert outcome.manifest == current_manifest(worker.store)
    assert rendition_names(worker.store) == set()


def test_a_tombstone_that_is_not_written_deletes_nothing(worker: FakeWorker) -> None:
    worker.do(register(17))
    worker.store.before = Once("write", "manifest.json", raising(StorageUnavailable("503")))
    with pytest.raises(StorageUnavailable):
        worker.do(deregister(18))
    assert_whole(worker.store)


def test_a_race_lost_to_a_newer_registration_deletes_nothing(worker: FakeWorker) -> None:
    other = make_worker(worker.scratch, worker.store, name="rival")
    worker.store.before = Once("write", "manifest.json", lambda: other.do(register(19)))
    assert worker.do(deregister(18)).effect is Effect.SUPERSEDED
    assert current_manifest(worker.store).version == 19
    assert_whole(worker.store)


def test_a_newer_registration_between_tombstone_and_deletes_stays_whole(
    worker: FakeWorker, store: MemoryStore
) -> None:
    worker.do(register(17))
    other = make_worker(worker.scratch, store, name="rival")
    store.before = Once("list", "photos/a/", lambda: other.do(register(19)))
    worker.do(deregister(18))
    assert current_manifest(store).version == 19
    assert_whole(store)
    assert rendition_names(store) == current_manifest(store).object_names


def test_a_rejection_that_a_killed_attempt_committed_is_told_again(worker: FakeWorker) -> None:
    worker.do(register(17))
    worker.reject(register(19), CorruptOriginal("bad"))
    committed = worker.do(deregister(18)).manifest
    again = worker.do(deregister(18))
    assert (again.effect, again.manifest) == (Effect.SUPERSEDED, committed)


def test_a_newer_rejection_is_what_the_photo_came_to(worker: FakeWorker) -> None:
    worker.do(register(17))
    worker.reject(register(19), CorruptOriginal("half"))
    worker.do(deregister(18))
    manifest = current_manifest(worker.store)
    assert (manifest.state, manifest.version) == (State.REJECTED, 19)
    assert rendition_names(worker.store) == set()
    entry = worker.store.entry(RENDITIONS, "photos/a/manifest.json")
    assert entry is not None
    assert entry.custom_time is None


def test_a_newer_registration_brings_the_photo_back(worker: FakeWorker, store: MemoryStore) -> None:
    worker.do(deregister(18))
    assert worker.do(register(19)).effect is Effect.REGISTERED
    assert_whole(store)
    entry = store.entry(RENDITIONS, "photos/a/manifest.json")
    assert entry is not None
    assert entry.custom_time is None  # or a lifecycle rule would expire a living photo


def test_what_was_deleted_is_counted(worker: FakeWorker) -> None:
    worker.do(register(17))
    steps = Steps()
    worker.deregister(deregister(18), steps)
    assert steps.facts["deleted"] == 3
