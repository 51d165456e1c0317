"""Dead letters: one form for both ways in, filters, groups, and what a replay looks like."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.support.fakes import Clock
from tests.support.letters import BY_PUBSUB, BY_WORKER, DEAD_AT, event, letter
from worker.errors import InvalidArchive
from worker.photo.dead_letter import (
    EXAMPLES,
    GROUPS,
    OTHERS,
    UNDELIVERABLE,
    DeadLetter,
    Filter,
    Firsts,
    Groups,
    pattern,
    replay_attributes,
)

NOW = Clock()()
NOTIFICATION = {
    "eventType": "OBJECT_FINALIZE",
    "bucketId": "originals",
    "objectId": "a/b.jpg",
    "objectGeneration": "17",
}


def test_the_workers_own_way_in() -> None:
    own = letter(attributes={"tenant": "blue", **BY_WORKER})
    assert (own.reason, own.message) == (
        "corrupt_original",
        "VipsJpeg: premature end of JPEG image",
    )
    assert own.worker == "photo-worker/0.1.0 host-7:42"
    assert own.version_of_worker == "photo-worker/0.1.0"
    assert (own.type, own.photo_id, own.replays) == ("photo.register", "a", 0)


def test_pubsubs_way_in_has_the_same_form() -> None:
    by_policy = letter(attributes=BY_PUBSUB)
    assert by_policy.reason == UNDELIVERABLE
    assert by_policy.message == "Pub/Sub gave up after 10 deliveries of subscription photos"
    assert by_policy.worker == by_policy.version_of_worker == "Pub/Sub"
    assert (by_policy.type, by_policy.photo_id) == ("photo.register", "a")
    assert by_policy.as_dict().keys() == letter().as_dict().keys()


def test_whoever_else_published_there() -> None:
    assert "neither the worker nor a dead-letter policy" in letter(attributes={}).message
    assert letter(attributes={}).reason == UNDELIVERABLE


def test_a_notification_is_shown_as_the_event_that_it_is() -> None:
    notified = letter(data=b"", attributes=NOTIFICATION | BY_WORKER)
    assert notified.event == {
        "type": "photo.register",
        "photo_id": "a/b.jpg",
        "original": "gs://originals/a/b.jpg",
        "version": 17,
    }
    deleted = NOTIFICATION | {"eventType": "OBJECT_DELETE", "objectGeneration": "²"}
    assert letter(data=b"", attributes=deleted).event["type"] == "photo.deregister"
    assert "version" not in letter(data=b"", attributes=deleted).event


HOSTILE = {
    "not JSON": b"\xff\xd8\xff",
    "empty": b"",
    "half": b'{"type": "photo.reg',
    "a list": b"[1, 2]",
    "deep": b"[" * 100_000,
    "a long number": b'{"version": ' + b"1" * 5000 + b"}",
    "not UTF-8": b'{"photo_id": "\xe9"}',
    "huge": b"x" * 10_000_000,
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_whatever_the_data_is_a_letter_can_be_looked_at(data: bytes) -> None:
    hostile = letter(data=data)
    assert (hostile.event, hostile.type, hostile.photo_id) == ({}, "?", "")
    assert Filter(labels={}).matches(hostile, NOW)
    assert not Filter(photo_id="a").matches(hostile, NOW)
    assert DeadLetter.from_dict(json.loads(json.dumps(hostile.as_dict()))) == hostile


def test_fields_of_the_wrong_kind() -> None:
    wrong = letter(data={"type": ["x"], "photo_id": {"a": 1}, "labels": "blue"})
    assert (wrong.type, wrong.photo_id) == ("(list)", "(dict)")
    assert not Filter(labels={"album": "one"}).matches(wrong, NOW)
    long = letter(data={"photo_id": "x" * 1_000_000, "type": "y" * 1_000_000})
    assert len(long.photo_id) + len(long.type) < 2000


def test_what_is_no_json_number_does_not_get_into_json() -> None:
    assert json.loads(json.dumps(letter(data=b'{"version": NaN}').event)) == {"version": "NaN"}


@pytest.mark.parametrize(
    ("count", "replays"),
    [("2", 2), ("x", 0), ("-1", 0), ("", 0), ("²", 0), ("9" * 5000, 999999999)],
)
def test_how_often_it_was_replayed(count: str, replays: int) -> None:
    assert letter(attributes={"replay_count": count}).replays == replays


def test_a_replay_strips_the_transports_attributes_and_counts() -> None:
    own = {"tenant": "blue", **NOTIFICATION}
    travelled = own | BY_WORKER | BY_PUBSUB | {"googclient_schemaencoding": "JSON"}
    first = replay_attributes(letter("7", attributes=travelled))
    assert first == own | {"replay_of": "7", "replay_count": "1"}
    again = replay_attributes(letter("9", attributes=first | BY_WORKER))
    assert again == own | {"replay_of": "9", "replay_count": "2"}


def test_a_replay_is_no_part_of_the_trace_that_ended_but_points_to_it() -> None:
    trace = {"traceparent": "00-1", "googclient_traceparent": "00-2", "tracestate": "a=b"}
    replay = replay_attributes(letter("7", attributes=trace))
    assert replay == {"replay_of": "7", "replay_count": "1", "replay_traceparent": "00-1"}
    again = letter("8", attributes=replay | {"googclient_traceparent": "00-3"})
    assert replay_attributes(again)["replay_traceparent"] == "00-3"
    assert replay_attributes(letter("9", attributes=replay))["replay_traceparent"] == "00-1"


LABELLED = letter("1", event("hanoi/2026/IMG[1]", labels={"album": "hanoi", "by": ""}), at=DEAD_AT)


def _named(value: object) -> str:
    """A test's name is the same in each process: a set's order is not."""
    if isinstance(value, dict):
        value = {
            key: sorted(each) if isinstance(each, frozenset) else each
            for key, each in value.items()
        }
    return str(value)


@pytest.mark.parametrize(
    ("meant", "matches"),
    [
        ({}, True),
        ({"ids": frozenset({"1", "2"})}, True),
        ({"ids": frozenset({"2"})}, False),
        ({"reasons": frozenset({"corrupt_original", UNDELIVERABLE})}, True),
        ({"reasons": frozenset({UNDELIVERABLE})}, False),
        ({"types": frozenset({"photo.register"})}, True),
        ({"types": frozenset({"photo.deregister"})}, False),
        ({"photo_id": "hanoi/*"}, True),
        ({"photo_id": "*IMG[[]1]"}, True),
        ({"photo_id": "hanoi"}, False),
        ({"photo_id": "HANOI/*"}, False),
        ({"photo_id": ""}, False),
        ({"labels": {"album": "hanoi"}}, True),
        ({"labels": {"album": "hanoi", "by": ""}}, True),
        ({"labels": {"album": "hue"}}, False),
        ({"labels": {"tenant": ""}}, False),
        ({"text": "PREMATURE end"}, True),
        ({"text": "late"}, False),
        ({"older_than": timedelta(hours=1)}, True),
        ({"older_than": timedelta(hours=1, seconds=1)}, False),
        ({"newer_than": timedelta(hours=1)}, True),
        ({"newer_than": timedelta(minutes=59)}, False),
        ({"older_than": timedelta(minutes=30), "newer_than": timedelta(hours=2)}, True),
        ({"reasons": frozenset({"corrupt_original"}), "photo_id": "hue/*"}, False),
    ],
    ids=_named,
)
def test_filters(meant: dict[str, Any], *, matches: bool) -> None:
    assert Filter(**meant).matches(LABELLED, NOW) is matches


def test_error_texts_that_differ_in_names_and_numbers_are_alike() -> None:
    assert pattern("gs://originals/a b.jpg does not exist") == "… b.jpg does not exist"
    assert pattern("line 17 of 'a.jpg', 0x3fd0c1a2b4e5d6") == pattern(
        "line 4 of 'b/c.jpg', 0x3fd0c1a2b4e5d7"
    )
    assert pattern("bucket 'a' is not allowed") != pattern("bucket 'a' is gone")


def test_groups_count_and_keep_a_few_examples() -> None:
    groups = Groups()
    for number in range(5):
        own = BY_WORKER | {"dead_letter_message": f"premature end at line {number}"}
        replayed = {"replay_count": "1"} if number == 4 else {}
        moment = DEAD_AT - timedelta(minutes=number)
        groups.add(letter(str(number), event(f"p{number}"), own | replayed, at=moment))
    groups.add(letter("9", attributes=BY_PUBSUB))
    largest, other = groups.largest_first()
    assert groups.total == 6
    assert largest.as_dict() == {
        "reason": "corrupt_original",
        "type": "photo.register",
        "worker": "photo-worker/0.1.0",
        "error": "premature end at line …",
        "count": 5,
        "replayed": 1,
        "oldest": (DEAD_AT - timedelta(minutes=4)).isoformat(),
        "newest": DEAD_AT.isoformat(),
        "examples": [
            {
                "message_id": str(number),
                "photo_id": f"p{number}",
                "message": f"premature end at line {number}",
            }
            for number in range(EXAMPLES)
        ],
    }
    assert (other.reason, other.count, other.worker) == (UNDELIVERABLE, 1, "Pub/Sub")


def test_workers_of_two_versions_are_two_groups() -> None:
    groups = Groups()
    for worker in ("photo-worker/0.1.0 a:1", "photo-worker/0.1.0 b:2", "photo-worker/0.2.0 a:3"):
        groups.add(letter(attributes=BY_WORKER | {"dead_letter_worker": worker}))
    assert [(each.worker, each.count) for each in groups.largest_first()] == [
        ("photo-worker/0.1.0", 2),
        ("photo-worker/0.2.0", 1),
    ]


def test_errors_that_all_differ_do_not_fill_the_memory() -> None:
    groups = Groups()
    for number in range(3 * GROUPS):
        word = "".join(chr(ord("a") + int(digit)) for digit in str(number))
        groups.add(letter(attributes=BY_WORKER | {"dead_letter_message": word}))
        groups.add(letter(attributes={"dead_letter_reason": f"reason {word}"}))
    found = groups.largest_first()
    assert len(found) == GROUPS + 2
    assert sum(group.count for group in found) == groups.total == 6 * GROUPS
    assert {(each.reason, each.error) for each in found[:2]} == {
        ("corrupt_original", OTHERS),
        (OTHERS, OTHERS),
    }


def test_a_letter_survives_its_archived_form() -> None:
    kept = letter("7", b"\x00\xff", BY_PUBSUB | {"x": "é\n"}, ordering_key="k")
    assert DeadLetter.from_dict(json.loads(json.dumps(kept.as_dict()))) == kept


@pytest.mark.parametrize(
    "change",
    [
        {"message_id": None, "data_base64": 7},
        {"published_at": "yesterday"},
        {"published_at": "2026-11-22T12:00:00"},
        {"published_at": 7},
        {"data_base64": "*"},
        {"attributes": []},
    ],
    ids=str,
)
def test_something_else_is_no_archived_letter(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidArchive, match="no dead letter"):
        DeadLetter.from_dict(letter().as_dict() | change)
    incomplete = letter().as_dict()
    del incomplete[next(iter(change))]
    with pytest.raises(InvalidArchive, match="no dead letter"):
        DeadLetter.from_dict(incomplete)


def test_letters_of_one_message_count_once() -> None:
    """A message whose ack was lost is dead-lettered again."""
    groups = Groups()
    one, other = ({**BY_WORKER, "dead_letter_message_id": number} for number in ("7", "8"))
    for number, attributes in enumerate([one, one, other, BY_PUBSUB, BY_PUBSUB]):
        groups.add(letter(str(number), attributes=attributes))
    assert groups.total == 4
    assert sum(group.count for group in groups.largest_first()) == 4


def test_only_so_many_messages_are_remembered() -> None:
    is_first = Firsts(most=2)
    letters = [letter(attributes={"dead_letter_message_id": number}) for number in "123"]
    assert [is_first(each) for each in [*letters, *letters[1:], letters[0]]] == [
        True,
        True,
        True,
        False,
        False,
        True,
    ]
