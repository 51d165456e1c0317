"""Dispatch: permanent failures, dead letters, and the attempts that a failed render gets."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.desk import DEAD_LETTER, OUTCOME, Desk, deregister_data, register_data
from tests.support.fakes import FakePublisher, FakeRenderer, Message, Once, raising
from tests.support.workers import (
    LAYOUT,
    assert_whole,
    current_manifest,
    seed_original,
    stored_manifest,
)
from worker.errors import (
    CorruptOriginal,
    OriginalTooLarge,
    Permanent,
    RenderCrashed,
    RenderFailed,
    RenderOutOfMemory,
    RenderTimeout,
    StorageUnavailable,
    UnsupportedFormat,
)
from worker.photo.attributes import shortened, unfolded
from worker.photo.dead_letter import DeadLetter, replay_attributes
from worker.photo.manifest import State

RENDER_FAILURES = [RenderCrashed("SIGSEGV"), RenderTimeout("60 s"), RenderOutOfMemory("2 GiB")]


def letter(publisher: FakePublisher) -> Message:
    (message,) = publisher.to(DEAD_LETTER)
    return message


@pytest.mark.parametrize(
    "error", [CorruptOriginal("half"), UnsupportedFormat("text"), OriginalTooLarge("huge")]
)
def test_a_permanent_failure_is_recorded_lettered_told_and_acked(
    desk: Desk, error: Permanent
) -> None:
    desk.worker.renderer.errors.append(error)
    assert desk.handle(register_data()) == "ack"
    assert desk.journal == ["published to dead", "published to outcome", "ack"]
    manifest = current_manifest(desk.store)
    assert manifest.state is State.REJECTED
    assert manifest.rejection is not None
    assert manifest.rejection.reason == error.reason.value
    told = json.loads(desk.publisher.to(OUTCOME)[0].data)
    assert (told["type"], told["reason"]) == ("photo.rejected", error.reason.value)
    assert desk.last_entry["reason"] == error.reason.value
    assert len(desk.worker.renderer.rendered) == 1


def test_a_dead_letter_is_the_original_message_with_three_attributes_more(desk: Desk) -> None:
    data = json.dumps({**register_data(), "more": "é"}, indent=3).encode()
    desk.worker.renderer.errors.append(CorruptOriginal("half"))
    desk.handle(data, attributes={"tenant": "t", "dead_letter_reason": "old"}, ordering_key="k")
    message = letter(desk.publisher)
    assert message.data == data
    assert message.ordering_key == "k"
    assert message.attributes == {
        "tenant": "t",
        "dead_letter_reason": "corrupt_original",
        "dead_letter_message": "half",
        "dead_letter_worker": "photo-worker/test",
        "dead_letter_message_id": "m-1",
    }


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe", b"not json", b"[1]", b'{"type":"photo.resize"}']
)
def test_what_is_no_event_is_lettered_without_touching_a_bucket(desk: Desk, data: bytes) -> None:
    assert desk.handle(data) == "ack"
    assert desk.journal == ["published to dead", "ack"]
    assert letter(desk.publisher).attributes["dead_letter_reason"] == "invalid_event"
    assert desk.store.requests == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (deregister_data(version=0), "invalid_event"),
        ({**register_data(), "original": "gs://elsewhere/a.jpg"}, "forbidden_source"),
        (register_data(photo_id="missing"), "original_missing"),
    ],
)
def test_a_refusal_is_lettered_with_its_reason(
    desk: Desk, data: dict[str, Any], reason: str
) -> None:
    assert desk.handle(data) == "ack"
    assert letter(desk.publisher).attributes["dead_letter_reason"] == reason


@pytest.mark.parametrize("topic", [DEAD_LETTER, OUTCOME])
def test_an_unconfirmed_publish_is_nacked(desk: Desk, topic: str) -> None:
    desk.publisher.broken.add(topic)
    desk.worker.renderer.errors += [CorruptOriginal("half")] * 2
    assert desk.handle(register_data()) == "nack"
    desk.publisher.broken.clear()
    assert desk.handle(register_data()) == "ack"
    assert desk.publisher.to(DEAD_LETTER)
    assert desk.publisher.to(OUTCOME)


def test_an_unrecorded_rejection_is_nacked_and_not_lettered(desk: Desk) -> None:
    desk.worker.renderer.errors.append(CorruptOriginal("half"))
    desk.store.before = Once("write", "manifest.json", raising(StorageUnavailable("503")))
    assert desk.handle(register_data()) == "nack"
    assert desk.publisher.messages == []
    assert stored_manifest(desk.store) is None


def test_without_a_dead_letter_topic_a_permanent_failure_is_recorded_and_nacked(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path, dead_letter=False)
    seed_original(desk.store)
    desk.worker.renderer.errors.append(CorruptOriginal("half"))
    assert desk.handle(register_data()) == "nack"
    assert current_manifest(desk.store).state is State.REJECTED
    assert "WORKER_DEAD_LETTER_TOPIC" in str(desk.last_entry["detail"])


@pytest.mark.parametrize("character", ["x", "é", "\U0001f4f7"])
def test_a_letters_message_fits_pubsubs_1024_bytes(desk: Desk, character: str) -> None:
    desk.worker.renderer.errors.append(CorruptOriginal(character * 5000))
    assert desk.handle(register_data()) == "ack"
    text = letter(desk.publisher).attributes["dead_letter_message"]
    assert len(text.encode()) == 1000
    assert set(text) == {character}


def test_a_letters_message_is_valid_utf8_whatever_the_error_says() -> None:
    assert shortened("a\ud800b", 1000) == "a?b"


@pytest.mark.parametrize("count", [96, 97, 99, 100])
def test_a_letter_of_a_message_with_all_the_attributes_that_pubsub_takes(
    desk: Desk, count: int
) -> None:
    own = {f"name {number}": "é" * number for number in range(count)}
    desk.worker.renderer.errors.append(CorruptOriginal("half"))
    assert desk.handle(register_data(), attributes=own) == "ack"
    sent = letter(desk.publisher)
    assert sent.attributes["dead_letter_reason"] == "corrupt_original"
    back = DeadLetter(
        message_id="7", published_at=datetime.now(UTC), data=b"", attributes=sent.attributes
    )
    replayed = replay_attributes(back)
    assert len(replayed) <= 100
    assert unfolded(replayed) == own | {"replay_of": "7", "replay_count": "1"}


@pytest.mark.parametrize("error", RENDER_FAILURES)
@pytest.mark.parametrize("attempt", [1, 2])
def test_a_failed_render_is_nacked_on_its_early_attempts(
    desk: Desk, error: RenderFailed, attempt: int
) -> None:
    desk.worker.renderer.errors.append(error)
    assert desk.handle(register_data(), attempt=attempt) == "nack"
    assert len(desk.worker.renderer.rendered) == 1
    assert desk.publisher.messages == []
    assert stored_manifest(desk.store) is None
    assert error.reason.value in str(desk.last_entry["detail"])


@pytest.mark.parametrize("attempt", [3, 4, 20, None])
def test_the_last_attempt_is_tried_once_more(desk: Desk, attempt: int | None) -> None:
    desk.worker.renderer.errors.append(RenderCrashed("SIGSEGV"))
    assert desk.handle(register_data(), attempt=attempt) == "ack"
    assert len(desk.worker.renderer.rendered) == 2
    assert_whole(desk.store)
    assert desk.publisher.to(DEAD_LETTER) == []


@pytest.mark.parametrize("attempt", [3, 20, None])
@pytest.mark.parametrize("error", RENDER_FAILURES)
def test_a_render_that_fails_twice_at_last_is_lettered(
    desk: Desk, error: RenderFailed, attempt: int | None
) -> None:
    desk.worker.renderer.errors += [error, error]
    assert desk.handle(register_data(), attempt=attempt) == "ack"
    assert len(desk.worker.renderer.rendered) == 2
    assert letter(desk.publisher).attributes["dead_letter_reason"] == error.reason.value
    assert current_manifest(desk.store).state is State.REJECTED


def test_a_transient_failure_of_the_second_try_is_nacked(desk: Desk) -> None:
    desk.worker.renderer.errors += [RenderCrashed("SIGSEGV"), StorageUnavailable("503")]
    assert desk.handle(register_data(), attempt=3) == "nack"
    assert desk.publisher.messages == []


def test_a_replayed_letter_is_an_event_again(desk: Desk) -> None:
    desk.worker.renderer.errors.append(CorruptOriginal("half"))
    desk.handle(register_data())
    message = letter(desk.publisher)
    sent_back = desk.handle(message.data, attributes=message.attributes, message_id="m-2")
    assert sent_back == "ack"
    assert_whole(desk.store)
    names = [one.object for one in current_manifest(desk.store).renditions]
    assert {LAYOUT.own_version("a", name) for name in names} == {17}


def published(desk: Desk) -> list[dict[str, Any]]:
    return [json.loads(message.data) for message in desk.publisher.to(OUTCOME)]


@pytest.mark.parametrize("error", [CorruptOriginal("half"), RenderCrashed("SIGSEGV")])
@pytest.mark.parametrize("attempt", [1, 4, None])
def test_a_rejected_message_that_comes_again_is_lettered_without_another_render(
    desk: Desk, error: Permanent, attempt: int | None
) -> None:
    """Its ack was lost, or its letter not confirmed: which of them, no one can know."""
    desk.worker.renderer.errors += [error, error]
    assert desk.handle(register_data(), attempt=4) == "ack"
    first, rendered = current_manifest(desk.store), len(desk.worker.renderer.rendered)
    downloads = desk.store.asked("download")
    assert desk.handle(register_data(), attempt=attempt) == "ack"
    assert len(desk.worker.renderer.rendered) == rendered
    assert desk.store.asked("download") == downloads
    assert current_manifest(desk.store) == first
    letters = desk.publisher.to(DEAD_LETTER)
    assert letters[0] == letters[1]
    assert letters[0].attributes["dead_letter_message_id"] == "m-1"
    assert [each["commit_id"] for each in published(desk)] == [first.commit_id] * 2
    assert desk.last_entry["reason"] == error.reason.value


@pytest.mark.parametrize(
    "transport",
    [{"message_id": "m-2"}, {"attributes": {"replay_of": "9"}}],
    ids=["published-anew", "a-replay-delivered-again"],
)
def test_a_new_message_of_a_rejected_version_is_tried(
    desk: Desk, transport: dict[str, Any]
) -> None:
    desk.worker.renderer.errors.append(CorruptOriginal("half"))
    assert desk.handle(register_data(), attributes=transport.get("attributes")) == "ack"
    assert desk.handle(register_data(), **transport) == "ack"
    assert_whole(desk.store)


def test_a_rejected_message_is_tried_with_another_recipe(desk: Desk) -> None:
    desk.worker.renderer.errors.append(CorruptOriginal("half"))
    assert desk.handle(register_data()) == "ack"
    desk.worker.renderer._recipe = FakeRenderer(quality=70).recipe
    assert desk.handle(register_data()) == "ack"
    assert_whole(desk.store)


def test_a_rejected_message_that_was_overtaken_is_superseded(desk: Desk) -> None:
    desk.worker.renderer.errors.append(CorruptOriginal("half"))
    desk.handle(register_data())
    desk.handle(deregister_data(), message_id="m-2")
    assert desk.handle(register_data()) == "ack"
    assert desk.last_entry["outcome"] == "superseded"
    assert len(desk.publisher.to(DEAD_LETTER)) == 1
