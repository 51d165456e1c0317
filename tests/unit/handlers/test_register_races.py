"""Registration: crashes, lost responses, and races with other workers."""

from __future__ import annotations

import pytest

from tests.support.fakes import MemoryStore, Once, crc32c, raising
from tests.support.workers import (
    JPEG,
    FakeWorker,
    assert_whole,
    current_manifest,
    deregister,
    names_of,
    register,
    rendition_names,
    rival,
)
from worker.errors import (
    StorageUnavailable,
)
from worker.photo.outcome import Effect


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("ending", ["512.webp", "manifest.json"])
def test_a_crash_at_a_write_is_made_good_by_the_redelivery(
    worker: FakeWorker, store: MemoryStore, when: str, ending: str
) -> None:
    setattr(store, when, Once("write", ending, raising(RuntimeError("power cut"))))
    with pytest.raises(RuntimeError):
        worker.do(register(17))
    worker.do(register(17))
    assert_whole(store)
    assert rendition_names(store) == current_manifest(store).object_names


def test_a_race_lost_to_a_newer_version_removes_only_what_the_loser_wrote(
    worker: FakeWorker, store: MemoryStore
) -> None:
    other = rival(worker)
    store.before = Once("write", "a/manifest.json", lambda: other.do(register(18)))
    outcome = worker.do(register(17))
    assert (outcome.effect, outcome.manifest) == (Effect.SUPERSEDED, None)
    assert current_manifest(store).version == 18
    assert_whole(store)
    assert rendition_names(store) == names_of(store, 18)


def test_a_deregistration_in_mid_render_wins_over_its_version(worker: FakeWorker) -> None:
    other = rival(worker)
    worker.renderer.between = lambda: other.do(deregister(17))
    assert worker.do(register(17)).effect is Effect.SUPERSEDED
    assert rendition_names(worker.store) == set()


def test_a_race_lost_to_a_duplicate_keeps_the_shared_renditions(worker: FakeWorker) -> None:
    other = rival(worker)
    worker.store.before = Once("write", "a/manifest.json", lambda: other.do(register(17)))
    outcome = worker.do(register(17))
    assert outcome.effect is Effect.ALREADY_CURRENT
    assert outcome.manifest == current_manifest(worker.store)
    assert current_manifest(worker.store).commit_id.startswith("rival")
    assert_whole(worker.store)


def test_a_race_won_over_an_older_version_removes_its_renditions(worker: FakeWorker) -> None:
    other = rival(worker)
    worker.store.before = Once("write", "a/manifest.json", lambda: other.do(register(16)))
    assert worker.do(register(17)).effect is Effect.REGISTERED
    assert_whole(worker.store)
    assert rendition_names(worker.store) == names_of(worker.store, 17)


def test_bytes_of_another_machine_are_adopted_with_their_checksum(worker: FakeWorker) -> None:
    other = rival(worker)
    other.renderer.salt = b"rounded otherwise: "
    other.store.before = Once("write", "full.webp", raising(StorageUnavailable("died")))
    with pytest.raises(StorageUnavailable):
        other.do(register(17))
    worker.do(register(17))
    assert_whole(worker.store)
    by_rung = {one.rung: one for one in current_manifest(worker.store).renditions}
    assert by_rung["320"].crc32c == crc32c(b"rounded otherwise: 320 of " + JPEG)
    assert by_rung["full"].crc32c == crc32c(b"full of " + JPEG)
