"""Manifests made by hand, for tests that only read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from worker.photo.manifest import Manifest, OriginalFacts, Rejection, State
from worker.photo.ports import StoredObject

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def manifest(state: State, version: int, *, photo_id: str = "a", **fields: Any) -> Manifest:
    return Manifest(
        photo_id=photo_id,
        state=state,
        version=version,
        commit_id="c",
        committed_at=NOON,
        **fields,
    )


def refusal(version: int) -> Rejection:
    return Rejection(version=version, reason="corrupt_original", message="m", at=NOON)


def facts_of(original: StoredObject, **other: str) -> OriginalFacts:
    """What a manifest says of this original."""
    where = {
        "bucket": original.bucket,
        "object": original.name,
        "generation": str(original.generation),
    }
    return OriginalFacts(**(where | other), bytes=5, sha256="0", format="jpeg", width=4, height=3)
