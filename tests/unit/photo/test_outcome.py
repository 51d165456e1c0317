"""Outcomes: what others are told, flat enough for a table."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from worker.photo.manifest import Manifest, NoOp, State
from worker.photo.outcome import Effect, outcome_event, unchanged

MOMENT = datetime(2026, 11, 22, 1, 2, 3, 456789, tzinfo=UTC)
REJECTION = {"version": 18, "reason": "corrupt_original", "message": "half", "at": MOMENT}


def manifest(state: State, **fields: Any) -> Manifest:
    return Manifest.model_validate(
        {
            "photo_id": "ảnh",
            "state": state,
            "version": 17,
            "commit_id": "c",
            "committed_at": MOMENT,
            **fields,
        }
    )


RENDITION = {"object": "o", "width": 1, "height": 1, "crc32c": ""}
READY = manifest(
    State.READY,
    renditions=[
        {**RENDITION, "rung": "320", "bytes": 10},
        {**RENDITION, "rung": "full", "bytes": 32},
    ],
)


def told(state_of: Manifest, *, rejected: bool = False) -> tuple[dict[str, Any], dict[str, str]]:
    data, attributes = outcome_event(state_of, rejected=rejected)
    return json.loads(data), attributes


def test_a_ready_photo_is_told_with_its_manifest() -> None:
    fields, attributes = told(READY)
    assert fields.pop("manifest") == json.loads(READY.to_json())
    assert fields == {
        "type": "photo.ready",
        "photo_id": "ảnh",
        "version": 17,
        "state": "ready",
        "commit_id": "c",
        "committed_at": "2026-11-22T01:02:03.456789Z",
        "reason": None,
        "message": None,
        "renditions": 2,
        "bytes": 42,
    }
    assert attributes == {"type": "photo.ready", "schema": "photo-manifest/1"}


def test_a_tombstone_is_told_as_deregistered() -> None:
    fields, attributes = told(manifest(State.DEREGISTERED))
    assert (fields["type"], attributes["type"]) == ("photo.deregistered", "photo.deregistered")
    assert (fields["renditions"], fields["bytes"]) == (0, 0)


@pytest.mark.parametrize("state", [State.READY, State.REJECTED])
def test_a_rejection_is_told_at_its_own_version(state: State) -> None:
    fields, attributes = told(manifest(state, rejection=REJECTION), rejected=True)
    assert (fields["type"], attributes["type"]) == ("photo.rejected", "photo.rejected")
    assert (fields["version"], fields["state"]) == (18, state.value)
    assert (fields["reason"], fields["message"]) == ("corrupt_original", "half")


def test_a_ready_photo_with_an_old_rejection_is_told_as_ready() -> None:
    fields, _ = told(manifest(State.READY, rejection=REJECTION))
    assert (fields["type"], fields["version"], fields["reason"]) == ("photo.ready", 17, None)


def test_whatever_is_told_as_rejected_says_why() -> None:
    rejected = manifest(State.REJECTED, version=18, rejection=REJECTION)
    fields, _ = told(rejected, rejected=False)
    assert (fields["type"], fields["reason"]) == ("photo.rejected", "corrupt_original")


def test_non_ascii_ids_are_utf8_and_not_escaped() -> None:
    assert "ảnh".encode() in outcome_event(READY, rejected=False)[0]


@pytest.mark.parametrize("state", list(State))
def test_what_is_already_current_is_told_again(state: State) -> None:
    current = manifest(state)
    outcome = unchanged(NoOp.ALREADY_CURRENT, current)
    assert (outcome.effect, outcome.manifest) == (Effect.ALREADY_CURRENT, current)


def test_what_is_superseded_is_not_told() -> None:
    outcome = unchanged(NoOp.SUPERSEDED, READY)
    assert (outcome.effect, outcome.manifest) == (Effect.SUPERSEDED, None)
