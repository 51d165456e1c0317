"""Neighbours: output prefixes within prefixes, as far as a look at the bucket shows them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.support.fakes import MemoryStore
from tests.support.workers import RENDITIONS
from worker.handlers.neighbours import nested_prefixes
from worker.photo.layout import Layout
from worker.photo.manifest import Manifest, State


def photo(store: MemoryStore, prefix: str, photo_id: str) -> None:
    """A photo of a worker with this output prefix."""
    manifest = Manifest(
        photo_id=photo_id,
        state=State.DEREGISTERED,
        version=1,
        commit_id="c",
        committed_at=datetime(2026, 11, 22, tzinfo=UTC),
    )
    store.seed(RENDITIONS, Layout(prefix).manifest(photo_id), manifest.to_json())


@pytest.mark.parametrize(
    ("own", "other", "photo_id", "found"),
    [
        ("photos/", "photos/old/", "a", ["photos/old/"]),
        ("photos/", "photos/old/", "z/9", ["photos/old/"]),
        ("photos/old/", "photos/", "a", ["photos/"]),
        ("photos/old/", "photos/", "z/9", ["photos/"]),
        ("a/b/c/", "a/", "x", ["a/"]),
        ("photos/", "", "a", [""]),
        ("photos/", "", "z/9", [""]),
        ("", "photos/", "x", ["photos/"]),
        ("photos/", "photos-2/", "a", []),
        ("photos/", "archive/", "old/x", []),
        ("photos/", "photos/", "old/x", []),
    ],
)
def test_prefixes_within_prefixes_are_seen(
    own: str, other: str, photo_id: str, found: list[str]
) -> None:
    store = MemoryStore()
    for number in range(40):
        photo(store, own, f"m{number}")
    photo(store, other, photo_id)
    store.seed(RENDITIONS, f"{own}m0/manifest.json.bak", b"{}")
    store.seed(RENDITIONS, f"{own}a/b/c/d/manifest.json", b"somebody's")
    assert nested_prefixes(store, RENDITIONS, Layout(own)) == found


def test_a_look_is_short_however_many_photos_there_are() -> None:
    store = MemoryStore()
    for number in range(2_000):
        photo(store, "photos/", f"{number}/x")
    assert nested_prefixes(store, RENDITIONS, Layout("photos/")) == []
    assert len(store.asked("read")) == 8
    assert len(store.asked("list")) == 3
