"""Compare-and-swap of manifests: lost races, lost responses, and the headers of what is written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.fakes import MemoryStore, Once, raising
from tests.support.workers import LAYOUT, RENDITIONS, current_manifest, make_worker, stored_manifest
from worker.errors import (
    ManifestContended,
    PreconditionFailed,
    StorageUnavailable,
    UnreadableManifest,
)
from worker.handlers.manifests import Committed, Manifests
from worker.photo.layout import Layout
from worker.photo.manifest import Manifest, NoOp, State

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def manifest(version: int, commit_id: str, state: State = State.READY) -> Manifest:
    return Manifest(
        photo_id="a", state=state, version=version, commit_id=commit_id, committed_at=MOMENT
    )


def over_older(following: Manifest) -> Callable[[Manifest | None], Manifest | NoOp]:
    def transition(current: Manifest | None) -> Manifest | NoOp:
        if current is not None and current.version >= following.version:
            return NoOp.SUPERSEDED
        return following

    return transition


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def manifests(store: MemoryStore) -> Manifests:
    return Manifests(store, RENDITIONS, LAYOUT)


def test_the_first_commit_creates_and_the_next_replaces(
    store: MemoryStore, manifests: Manifests
) -> None:
    one, two = manifest(1, "one"), manifest(2, "two")
    assert manifests.commit("a", over_older(one)) == Committed(manifest=one, replaced=None)
    assert manifests.commit("a", over_older(two)) == Committed(manifest=two, replaced=one)
    assert manifests.read("a") == two
    assert store.names(RENDITIONS) == ["photos/a/manifest.json"]


def test_a_moot_transition_writes_nothing(store: MemoryStore, manifests: Manifests) -> None:
    manifests.commit("a", over_older(manifest(2, "two")))
    written = len(store.asked("write"))
    assert manifests.commit("a", over_older(manifest(1, "one"))) is NoOp.SUPERSEDED
    assert len(store.asked("write")) == written


@pytest.mark.parametrize("state", list(State))
def test_headers_and_the_tombstones_custom_time(
    store: MemoryStore, manifests: Manifests, state: State
) -> None:
    manifests.commit("a", over_older(manifest(1, "one", state)))
    entry = store.entry(RENDITIONS, "photos/a/manifest.json")
    assert entry is not None
    assert entry.content_type == "application/json"
    assert entry.cache_control == "public, max-age=60"
    assert entry.custom_time == (MOMENT if state is State.DEREGISTERED else None)


def test_a_lost_response_followed_by_412_is_a_success(
    store: MemoryStore, manifests: Manifests
) -> None:
    manifests.commit("a", over_older(manifest(1, "one")))
    store.after = Once("write", "manifest.json", raising(PreconditionFailed("sent again")))
    committed = manifests.commit("a", over_older(manifest(2, "two")))
    assert committed == Committed(manifest=manifest(2, "two"), replaced=manifest(1, "one"))
    assert store.asked("write") == ["photos/a/manifest.json"] * 2


def test_a_lost_response_that_another_writer_overtook_is_asked_anew(
    store: MemoryStore, manifests: Manifests
) -> None:
    def overtaken() -> None:
        Manifests(store, RENDITIONS, LAYOUT).commit("a", over_older(manifest(3, "three")))
        raise PreconditionFailed("sent again")

    store.after = Once("write", "manifest.json", overtaken)
    assert manifests.commit("a", over_older(manifest(2, "two"))) is NoOp.SUPERSEDED
    assert current_manifest(store).version == 3


def test_a_lost_race_to_an_older_version_is_run_again(
    store: MemoryStore, manifests: Manifests
) -> None:
    rival = manifest(1, "rival")
    store.before = Once("write", "json", lambda: manifests.commit("a", over_older(rival)))
    committed = manifests.commit("a", over_older(manifest(2, "two")))
    assert committed == Committed(manifest=manifest(2, "two"), replaced=rival)
    assert current_manifest(store).commit_id == "two"


def test_a_race_won_after_a_deletion_creates_again(
    store: MemoryStore, manifests: Manifests
) -> None:
    manifests.commit("a", over_older(manifest(1, "one")))
    # A lifecycle rule expires the tombstone between the read and the write.
    store.before = Once("write", "json", lambda: store.delete(RENDITIONS, LAYOUT.manifest("a")))
    committed = manifests.commit("a", over_older(manifest(2, "two")))
    assert committed == Committed(manifest=manifest(2, "two"), replaced=None)


def test_endless_contention_is_given_back(store: MemoryStore, manifests: Manifests) -> None:
    def contend(request: object) -> None:
        del request
        hook, store.before = store.before, lambda _: None
        store.seed(RENDITIONS, LAYOUT.manifest("a"), manifest(1, "rival").to_json())
        store.before = hook

    store.before = contend
    with pytest.raises(ManifestContended):
        manifests.commit("a", lambda _: manifest(2, "two"))
    assert 4 <= len(store.asked("write")) <= 64


def test_a_foreign_object_at_the_name_is_never_overwritten(
    store: MemoryStore, manifests: Manifests
) -> None:
    store.seed(RENDITIONS, LAYOUT.manifest("a"), b"someone's notes")
    with pytest.raises(UnreadableManifest):
        manifests.commit("a", over_older(manifest(2, "two")))
    with pytest.raises(UnreadableManifest):
        manifests.read("a")
    assert store.asked("write") == []


def test_the_manifest_of_a_worker_with_another_prefix_is_not_overwritten(
    store: MemoryStore, manifests: Manifests
) -> None:
    inner = Manifests(store, RENDITIONS, Layout(f"{LAYOUT.prefix}inner/"))
    theirs = manifest(1, "theirs").model_copy(update={"photo_id": "x"})
    inner.commit("x", lambda _: theirs)
    with pytest.raises(UnreadableManifest, match="WORKER_OUTPUT_PREFIX"):
        manifests.commit("inner/x", over_older(manifest(2, "two")))
    assert inner.read("x") == theirs


@pytest.mark.parametrize("verb", ["read", "write"])
def test_an_unanswered_request_is_the_callers(
    store: MemoryStore, manifests: Manifests, verb: str
) -> None:
    error = StorageUnavailable("503")
    store.before = Once("read" if verb == "read" else "write", "json", raising(error))
    with pytest.raises(StorageUnavailable):
        manifests.commit("a", over_older(manifest(2, "two")))
    assert stored_manifest(store) is None


def test_photos_have_manifests_of_their_own(tmp_path: Path) -> None:
    worker = make_worker(tmp_path)
    worker.manifests.commit("a", over_older(manifest(5, "one")))
    assert worker.manifests.read("a/b") is None
