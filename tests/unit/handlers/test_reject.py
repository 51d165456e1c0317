"""Permanent failures on record: a ready photo stays ready, a newer version is left alone."""

from __future__ import annotations

import pytest

from tests.support.fakes import MemoryStore, Once, raising
from tests.support.workers import (
    FakeWorker,
    assert_whole,
    current_manifest,
    deregister,
    make_worker,
    register,
    stored_manifest,
)
from worker.errors import CorruptOriginal, StorageUnavailable, UnsupportedFormat
from worker.photo.manifest import State
from worker.photo.outcome import Effect


def test_a_first_failure_is_a_rejected_manifest(worker: FakeWorker, store: MemoryStore) -> None:
    outcome = worker.reject(register(17), CorruptOriginal("ends early"))
    manifest = current_manifest(store)
    assert outcome.effect is Effect.REJECTED
    assert outcome.manifest == manifest
    assert (manifest.state, manifest.version) == (State.REJECTED, 17)
    assert manifest.labels == {"album": "hanoi"}
    assert manifest.rejection is not None
    assert manifest.rejection.model_dump() == {
        "version": 17,
        "reason": "corrupt_original",
        "message": "ends early",
        "at": worker.clock.now,
        "recipe": worker.renderer.recipe.fingerprint,
    }


def test_a_ready_photo_stays_ready_and_gains_the_rejection(worker: FakeWorker) -> None:
    worker.do(register(17))
    ready = current_manifest(worker.store)
    worker.clock.advance(60)
    outcome = worker.reject(register(18), UnsupportedFormat("text"))
    manifest = current_manifest(worker.store)
    assert outcome.effect is Effect.REJECTED
    assert (manifest.state, manifest.version) == (State.READY, 17)
    assert manifest.renditions == ready.renditions
    assert manifest.commit_id != ready.commit_id
    assert manifest.committed_at == worker.clock.now
    assert manifest.rejection is not None
    assert (manifest.rejection.version, manifest.rejection.reason) == (18, "unsupported_format")
    assert_whole(worker.store)


@pytest.mark.parametrize(
    ("known", "effect"),
    [
        (register(17), Effect.ALREADY_CURRENT),
        (register(18), Effect.SUPERSEDED),
        (deregister(17), Effect.SUPERSEDED),
        (deregister(18), Effect.SUPERSEDED),
    ],
)
def test_what_is_known_already_is_left_as_it_is(
    worker: FakeWorker, store: MemoryStore, known: object, effect: Effect
) -> None:
    worker.do(known)  # type: ignore[arg-type] # (the table holds both kinds of event)
    before = current_manifest(store)
    outcome = worker.reject(register(17), CorruptOriginal("half"))
    assert outcome.effect is effect
    # Published again: the attempt that put it on show may have died before its outcome.
    told = current_manifest(store) if effect is Effect.ALREADY_CURRENT else None
    assert outcome.manifest == told
    assert current_manifest(store) == before


def test_a_long_complaint_is_cut(worker: FakeWorker, store: MemoryStore) -> None:
    worker.reject(register(17), CorruptOriginal("x" * 10_000))
    rejection = current_manifest(store).rejection
    assert rejection is not None
    assert rejection.message == "x" * 500


def test_a_newer_registration_during_the_write_wins(worker: FakeWorker, store: MemoryStore) -> None:
    other = make_worker(worker.scratch, store, name="rival")
    store.before = Once("write", "manifest.json", lambda: other.do(register(18)))
    assert worker.reject(register(17), CorruptOriginal("half")).effect is Effect.SUPERSEDED
    assert_whole(store)


def test_a_bucket_that_does_not_answer_is_the_callers(worker: FakeWorker) -> None:
    worker.store.before = Once("read", "manifest.json", raising(StorageUnavailable("503")))
    with pytest.raises(StorageUnavailable):
        worker.reject(register(17), CorruptOriginal("half"))
    assert stored_manifest(worker.store) is None
