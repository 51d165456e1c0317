"""Registration: what it leaves behind, and what it refuses before it costs anything."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.support.fakes import MemoryStore, Once, Request, raising
from tests.support.workers import (
    JPEG,
    LAYOUT,
    RENDITIONS,
    FakeWorker,
    assert_whole,
    current_manifest,
    names_of,
    raise_fence,
    register,
    rendition_names,
    rival,
    seed_original,
    stored_manifest,
)
from worker.errors import (
    CorruptOriginal,
    Fenced,
    ForbiddenSource,
    OriginalMissing,
    OriginalTooLarge,
    RenderCrashed,
    StorageUnavailable,
)
from worker.handlers.renditions import Renditions
from worker.handlers.steps import Steps
from worker.photo.events import Register
from worker.photo.manifest import State
from worker.photo.outcome import Effect


def test_a_registration_ends_in_a_ready_manifest(worker: FakeWorker, store: MemoryStore) -> None:
    outcome = worker.do(register(17))
    manifest = current_manifest(store)
    assert outcome.effect is Effect.REGISTERED
    assert outcome.manifest == manifest
    assert_whole(store)
    assert (manifest.state, manifest.version, manifest.photo_id) == (State.READY, 17, "a")
    assert manifest.recipe == worker.renderer.recipe.fingerprint
    assert manifest.committed_at == worker.clock.now
    assert manifest.labels == {"album": "hanoi"}
    assert [(one.rung, one.width, one.height) for one in manifest.renditions] == [
        ("320", 320, 240),
        ("512", 512, 384),
        ("full", 800, 600),
    ]
    assert names_of(store, 17) == manifest.object_names == rendition_names(store)


def test_the_manifest_states_the_original_as_it_was_read(worker: FakeWorker) -> None:
    generation = seed_original(worker.store, data=b"newer")
    worker.do(register(17))
    original = current_manifest(worker.store).original
    assert original is not None
    assert original.model_dump() == {
        "bucket": "originals",
        "object": "a.jpg",
        "generation": generation,
        "bytes": 5,
        "sha256": hashlib.sha256(b"newer").hexdigest(),
        "format": "jpeg",
        "width": 800,
        "height": 600,
        "pages": 1,
        "taken_at": "2026-05-01T12:00:00",
        "camera": "Pentax K-1",
    }


def test_a_duplicate_costs_one_read(worker: FakeWorker, store: MemoryStore) -> None:
    first = worker.do(register(17))
    store.requests.clear()
    outcome = worker.do(register(17))
    assert outcome.effect is Effect.ALREADY_CURRENT
    assert outcome.manifest == first.manifest  # published again, because its outcome may be lost
    assert [request.verb for request in store.requests] == ["read"]
    assert len(worker.renderer.rendered) == 1


def test_an_overtaken_event_removes_what_its_killed_attempt_left(worker: FakeWorker) -> None:
    worker.store.before = Once("write", "manifest.json", raising(StorageUnavailable("killed")))
    with pytest.raises(StorageUnavailable):
        worker.do(register(16))
    assert names_of(worker.store, 16)
    worker.do(register(17))
    assert worker.do(register(16)).effect is Effect.SUPERSEDED
    assert names_of(worker.store, 16) == set()
    assert_whole(worker.store)


def test_behind_a_fence_renditions_have_other_names(worker: FakeWorker, store: MemoryStore) -> None:
    store.before = Once("write", "manifest.json", raising(StorageUnavailable("killed")))
    with pytest.raises(StorageUnavailable):
        worker.do(register(17))
    before = rendition_names(store)
    raise_fence(worker)
    worker.do(register(17))
    assert current_manifest(store).fence == 1
    assert current_manifest(store).object_names.isdisjoint(before)
    assert_whole(store)


def test_a_fence_that_rises_under_an_attempt_stops_its_commit(worker: FakeWorker) -> None:
    worker.store.before = Once("write", "512.webp", lambda: raise_fence(worker))
    with pytest.raises(Fenced, match="is 1, not 0"):
        worker.do(register(17))
    assert current_manifest(worker.store).state is State.DEREGISTERED
    worker.do(register(17))
    assert_whole(worker.store)


def test_another_recipe_renders_the_same_version_again_and_keeps_the_old_renditions(
    worker: FakeWorker, store: MemoryStore
) -> None:
    worker.do(register(17))
    before = rendition_names(store)
    outcome = rival(worker, quality=70).do(register(17))
    assert outcome.effect is Effect.REGISTERED
    assert_whole(store)
    # A duplicate with the old recipe may be about to commit them; the sweep finds them.
    assert before < rendition_names(store)
    assert before.isdisjoint(current_manifest(store).object_names)


def test_a_newer_version_removes_the_renditions_that_it_replaced(worker: FakeWorker) -> None:
    worker.do(register(17))
    worker.do(register(18))
    assert_whole(worker.store)
    assert (
        rendition_names(worker.store)
        == current_manifest(worker.store).object_names
        == names_of(worker.store, 18)
    )


def test_a_repaired_original_can_be_registered_again_at_its_version(worker: FakeWorker) -> None:
    worker.reject(register(17), CorruptOriginal("half"))
    assert worker.do(register(17)).effect is Effect.REGISTERED
    assert current_manifest(worker.store).rejection is None


@pytest.mark.parametrize("fault", [CorruptOriginal("half"), RenderCrashed("SIGSEGV")])
def test_a_failed_render_changes_nothing_that_a_reader_sees(
    worker: FakeWorker, store: MemoryStore, fault: CorruptOriginal | RenderCrashed
) -> None:
    worker.do(register(16))
    before = current_manifest(store)
    worker.renderer.errors.append(fault)
    with pytest.raises(type(fault)):
        worker.do(register(17))
    assert current_manifest(store) == before
    assert_whole(store)


@pytest.mark.parametrize(
    ("original", "error"),
    [
        ("gs://elsewhere/a.jpg", ForbiddenSource),
        ("gs://renditions/photos/b/17-3fd0c1a2b4e5/full.webp", ForbiddenSource),
        ("gs://originals/missing.jpg", OriginalMissing),
        ("gs://originals/large.jpg", OriginalTooLarge),
        ("gs://originals/empty.jpg", CorruptOriginal),
    ],
)
def test_what_may_not_be_rendered_is_refused_before_a_byte_is_downloaded(
    worker: FakeWorker, store: MemoryStore, original: str, error: type[Exception]
) -> None:
    store.seed("originals", "large.jpg", bytes(1001))
    store.seed("originals", "empty.jpg", b"")
    with pytest.raises(error):
        worker.do(Register(photo_id="a", version=17, original=original))
    assert worker.renderer.rendered == []
    assert stored_manifest(store) is None


@pytest.mark.parametrize("fails", [False, True])
def test_scratch_is_empty_afterwards(worker: FakeWorker, *, fails: bool) -> None:
    if fails:
        worker.renderer.errors.append(CorruptOriginal("half"))
        with pytest.raises(CorruptOriginal):
            worker.do(register(17))
    else:
        worker.do(register(17))
    assert list(worker.scratch.iterdir()) == []


def test_steps_are_timed_and_the_render_is_noted(worker: FakeWorker, store: MemoryStore) -> None:
    steps = Steps()
    worker.register(register(17), steps)
    assert {"read_manifest", "download", "render", "last_uploads", "commit"} <= set(steps.seconds)
    assert steps.facts["bytes_in"] == len(JPEG)
    assert steps.facts["bytes_out"] == sum(one.bytes for one in current_manifest(store).renditions)


def test_nothing_is_written_outside_the_renditions_bucket(worker: FakeWorker) -> None:
    worker.do(register(17))
    changes = {one.bucket for one in worker.store.requests if one.verb in ("write", "delete")}
    assert changes == {RENDITIONS}


def test_a_registration_that_fails_leaves_no_upload_behind(worker: FakeWorker) -> None:
    """One that came behind the clean-up of an overtaken event would stay for ever."""
    released, ended = threading.Event(), threading.Event()

    def slowly() -> None:
        assert released.wait(30)

    def fail() -> None:
        # The other upload ends only after this one has failed; a handler that does not wait for
        # it would be done by then.
        threading.Timer(0.1, released.set).start()
        raise StorageUnavailable("503")

    hooks = Once("write", "320.webp", slowly), Once("write", "512.webp", fail)

    def before(request: Request) -> None:
        for hook in hooks:
            hook(request)

    worker.store.before = before
    worker.store.after = Once("write", "320.webp", ended.set)
    with ThreadPoolExecutor(3) as threads:
        renditions = Renditions(worker.store, RENDITIONS, LAYOUT, threads)
        handler = replace(worker.register, renditions=renditions)
        with pytest.raises(StorageUnavailable):
            handler(register(17), Steps())
        assert ended.is_set()
    assert stored_manifest(worker.store) is None
