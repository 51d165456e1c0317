"""The manifest: its literal JSON, and which state may follow which."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from worker.errors import Fenced, UnreadableManifest
from worker.photo.manifest import (
    Manifest,
    NoOp,
    Rejection,
    State,
    deregister_no_op,
    fenced_after,
    ready_after,
    register_no_op,
    rejected_after,
    tombstone_after,
)

MOMENT = datetime(2026, 11, 22, 1, 2, 3, 456789, tzinfo=UTC)
RECIPE = "webp/1 q=80"

LITERAL: dict[str, Any] = {
    "schema": "photo-manifest/1",
    "photo_id": "hanoi-2026/IMG_0042",
    "state": "ready",
    "version": 17,
    "commit_id": "c0ffee",
    "committed_at": "2026-11-22T01:02:03.456789Z",
    "recipe": RECIPE,
    "original": {
        "bucket": "originals",
        "object": "hanoi-2026/IMG_0042.jpg",
        "generation": "1763769600000000",
        "bytes": 1,
        "sha256": "ab",
        "format": "jpeg",
        "width": 6000,
        "height": 4000,
        "pages": 1,
        "taken_at": "2026-05-01T12:00:00",
        "camera": "Pentax K-1",
    },
    "placeholder": {"thumbhash": "1QcSHQ==", "color": "#7a8b9c"},
    "renditions": [
        {
            "rung": "320",
            "object": "photos/hanoi-2026/IMG_0042/17-3fd0c1a2b4e5/320.webp",
            "width": 320,
            "height": 213,
            "bytes": 1,
            "crc32c": "AAAAAA==",
            "content_type": "image/webp",
        }
    ],
    "rejection": None,
    "labels": {},
}


def manifest(state: State, version: int, **fields: Any) -> Manifest:
    return Manifest.model_validate(
        {
            "photo_id": "a",
            "state": state,
            "version": version,
            "commit_id": f"{state}-{version}",
            "committed_at": MOMENT,
            "recipe": None if state is State.DEREGISTERED else RECIPE,
            **fields,
        }
    )


def rejection(version: int) -> Rejection:
    return Rejection(version=version, reason="corrupt_original", message="m", at=MOMENT)


def rejected(version: int, **fields: Any) -> Manifest:
    return manifest(State.REJECTED, version, rejection=rejection(version), **fields)


def ready(version: int, **fields: Any) -> Manifest:
    return manifest(State.READY, version, renditions=LITERAL["renditions"], **fields)


def gone(version: int, **fields: Any) -> Manifest:
    return manifest(State.DEREGISTERED, version, **fields)


def test_the_literal_manifest_of_the_contract_is_read_and_written_back() -> None:
    data = json.dumps(LITERAL).encode()
    read = Manifest.from_json(data)
    assert read.state is State.READY
    assert read.committed_at == MOMENT
    written = json.loads(read.to_json())
    assert written == LITERAL
    assert list(written) == list(LITERAL)
    assert list(written["renditions"][0]) == list(LITERAL["renditions"][0])


def test_a_rejection_is_written_as_the_contract_says() -> None:
    written = json.loads(rejected(5).to_json())
    assert written["rejection"] == {
        "version": 5,
        "reason": "corrupt_original",
        "message": "m",
        "at": "2026-11-22T01:02:03.456789Z",
    }
    assert written["state"] == "rejected"
    assert (written["renditions"], written["original"], written["recipe"]) == ([], None, RECIPE)


def test_whole_seconds_keep_their_microseconds() -> None:
    plain = manifest(State.READY, 1, committed_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert json.loads(plain.to_json())["committed_at"] == "2026-01-01T00:00:00.000000Z"


def test_fields_of_a_later_minor_schema_are_let_pass() -> None:
    assert Manifest.from_json(json.dumps({**LITERAL, "new": 1}).encode()).version == 17


def test_object_names_are_the_renditions() -> None:
    assert ready(1).object_names == {"photos/hanoi-2026/IMG_0042/17-3fd0c1a2b4e5/320.webp"}
    assert gone(1).object_names == frozenset()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b"\xff\xfe",
        json.dumps({**LITERAL, "schema": "photo-manifest/2"}).encode(),
        json.dumps({**LITERAL, "state": "lost"}).encode(),
        json.dumps({key: value for key, value in LITERAL.items() if key != "version"}).encode(),
    ],
)
def test_what_is_no_manifest_is_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableManifest):
        Manifest.from_json(data)


SUPERSEDED, CURRENT = NoOp.SUPERSEDED, NoOp.ALREADY_CURRENT


@pytest.mark.parametrize(
    ("current", "moot"),
    [
        (None, None),
        (ready(4), None),
        (ready(5), CURRENT),
        (ready(5, recipe="another"), None),
        (ready(6), SUPERSEDED),
        (rejected(4), None),
        (rejected(5), None),
        (rejected(5).model_copy(update={"recipe": RECIPE}), None),
        (rejected(6), SUPERSEDED),
        (gone(4), None),
        (gone(5), SUPERSEDED),
        (gone(6), SUPERSEDED),
    ],
)
def test_when_a_registration_of_5_changes_nothing(
    current: Manifest | None, moot: NoOp | None
) -> None:
    assert register_no_op(current, 5, RECIPE) is moot


@pytest.mark.parametrize(
    ("current", "moot"),
    [
        (None, None),
        (ready(4), None),
        (ready(5), None),  # at equal versions deregister wins
        (ready(6), SUPERSEDED),
        (rejected(4), None),
        (rejected(5), None),
        (rejected(6), SUPERSEDED),
        (gone(4), None),
        (gone(5), CURRENT),
        (gone(6), SUPERSEDED),
    ],
)
def test_when_a_deregistration_of_5_changes_nothing(
    current: Manifest | None, moot: NoOp | None
) -> None:
    assert deregister_no_op(current, 5) is moot


@pytest.mark.parametrize(
    ("current", "kept"),
    [
        (None, None),
        (ready(4), None),
        (rejected(4), None),
        (ready(4, rejection=rejection(4)), None),
        (rejected(5), None),
        (ready(4, rejection=rejection(5)), None),
        (ready(4, rejection=rejection(6)), 6),
        (gone(4), None),
    ],
)
def test_a_ready_manifest_keeps_only_a_newer_rejection(
    current: Manifest | None, kept: int | None
) -> None:
    following = ready_after(current, ready(5))
    assert (following.state, following.version) == (State.READY, 5)
    assert (following.rejection.version if following.rejection else None) == kept


def test_a_fence_is_written_only_where_it_was_raised() -> None:
    assert "fence" not in json.loads(ready(5).to_json())
    assert json.loads(ready(5, fence=2).to_json())["fence"] == 2


@pytest.mark.parametrize(
    ("current", "started"), [(None, 1), (ready(4, fence=1), 0), (gone(4, fence=2), 1)]
)
def test_nothing_is_committed_from_behind_another_fence(
    current: Manifest | None, started: int
) -> None:
    with pytest.raises(Fenced):
        ready_after(current, ready(5, fence=started))


@pytest.mark.parametrize(
    "current", [ready(4, fence=3), rejected(4, fence=3), gone(4, fence=3), gone(0, fence=3)]
)
def test_every_transition_keeps_the_fence(current: Manifest) -> None:
    following = [
        ready_after(current, ready(5, fence=3)),
        rejected_after(current, rejected(5)),
        tombstone_after(current, gone(5)),
    ]
    assert [each.fence for each in following if isinstance(each, Manifest)] == [3, 3, 3]


def test_raising_a_fence_changes_nothing_that_a_reader_sees() -> None:
    raised = fenced_after(ready(4, fence=1, labels={"a": "b"}), gone(0))
    expected = ready(4, fence=2, labels={"a": "b"}, commit_id=gone(0).commit_id)
    assert raised == expected


def test_a_photo_without_a_manifest_gets_a_tombstone_that_supersedes_nothing() -> None:
    raised = fenced_after(None, gone(0))
    assert (raised.state, raised.version, raised.fence) == (State.DEREGISTERED, 0, 1)
    assert register_no_op(raised, 1, RECIPE) is None
    assert deregister_no_op(raised, 1) is None
    assert isinstance(rejected_after(raised, rejected(1)), Manifest)


@pytest.mark.parametrize(
    ("current", "state", "version"),
    [
        (None, State.DEREGISTERED, 5),
        (ready(4), State.DEREGISTERED, 5),
        (ready(5), State.DEREGISTERED, 5),
        (rejected(5), State.DEREGISTERED, 5),
        (gone(4), State.DEREGISTERED, 5),
        (ready(4, rejection=rejection(4)), State.DEREGISTERED, 5),
        (ready(4, rejection=rejection(5)), State.DEREGISTERED, 5),
        (ready(4, rejection=rejection(6)), State.REJECTED, 6),
    ],
)
def test_a_tombstone_yields_only_to_a_newer_rejection(
    current: Manifest | None, state: State, version: int
) -> None:
    following = tombstone_after(current, gone(5))
    assert (following.state, following.version) == (state, version)
    assert following.renditions == ()
    assert following.commit_id == gone(5).commit_id
    assert (following.rejection is not None) == (state is State.REJECTED)


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        (None, (State.REJECTED, 5, 5)),
        (ready(4), (State.READY, 4, 5)),
        (ready(5), CURRENT),
        (ready(5).model_copy(update={"recipe": "an older one"}), (State.READY, 5, 5)),
        (ready(6), SUPERSEDED),
        (ready(4, rejection=rejection(4)), (State.READY, 4, 5)),
        (ready(4, rejection=rejection(5)), (State.READY, 4, 5)),
        (ready(4, rejection=rejection(6)), SUPERSEDED),
        (rejected(4), (State.REJECTED, 5, 5)),
        (rejected(5), (State.REJECTED, 5, 5)),
        (rejected(6), SUPERSEDED),
        (gone(4), (State.REJECTED, 5, 5)),
        (gone(5), SUPERSEDED),
        (gone(6), SUPERSEDED),
    ],
)
def test_what_a_rejection_of_5_leads_to(
    current: Manifest | None, expected: tuple[State, int, int] | NoOp
) -> None:
    following = rejected_after(current, rejected(5))
    if isinstance(following, NoOp):
        assert following is expected
        return
    assert following.rejection is not None
    assert (following.state, following.version, following.rejection.version) == expected
    assert following.commit_id == rejected(5).commit_id
    assert following.committed_at == MOMENT


def test_a_rejection_leaves_a_ready_photo_on_show() -> None:
    following = rejected_after(ready(4), rejected(5))
    assert isinstance(following, Manifest)
    assert following.renditions == ready(4).renditions
    assert following.recipe == RECIPE


def test_a_rejected_manifest_needs_its_rejection() -> None:
    with pytest.raises(ValueError, match="needs its rejection"):
        rejected_after(None, manifest(State.REJECTED, 5))
