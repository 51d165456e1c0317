"""Dispatch: which answer a delivery gets, and that its effect is durable before the ack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.desk import DEAD_LETTER, OUTCOME, Desk, deregister_data, register_data
from tests.support.fakes import Once, raising
from tests.support.workers import (
    assert_whole,
    current_manifest,
    seed_original,
    stored_manifest,
)
from worker.errors import (
    BucketUnavailable,
    CorruptOriginal,
    Draining,
    SlotUnavailable,
    StorageForbidden,
    StorageUnavailable,
    WorkerError,
)
from worker.handlers.dispatch import NACK_PAUSE_SECONDS
from worker.photo.manifest import State


def outcomes(desk: Desk) -> list[dict[str, Any]]:
    return [json.loads(message.data) for message in desk.publisher.to(OUTCOME)]


def test_a_registration_is_acked_after_its_outcome_is_confirmed(desk: Desk) -> None:
    assert desk.handle(register_data()) == "ack"
    assert desk.journal == ["published to outcome", "ack"]
    assert_whole(desk.store)
    (outcome,) = outcomes(desk)
    assert (outcome["type"], outcome["version"]) == ("photo.ready", 17)
    assert desk.publisher.to(DEAD_LETTER) == []
    assert desk.last_entry["outcome"] == "registered"
    assert desk.last_entry["photo_id"] == "a"


def test_a_deregistration_is_acked_after_its_outcome_is_confirmed(desk: Desk) -> None:
    desk.handle(register_data())
    assert desk.handle(deregister_data()) == "ack"
    assert [outcome["type"] for outcome in outcomes(desk)] == ["photo.ready", "photo.deregistered"]
    assert current_manifest(desk.store).state is State.DEREGISTERED


def test_without_an_outcome_topic_nothing_is_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path, outcome=False)
    seed_original(desk.store)
    assert desk.handle(register_data()) == "ack"
    assert desk.publisher.messages == []


def test_an_unconfirmed_outcome_is_nacked_and_told_by_the_redelivery(desk: Desk) -> None:
    desk.publisher.broken.add(OUTCOME)
    assert desk.handle(register_data()) == "nack"
    desk.publisher.broken.clear()
    assert desk.handle(register_data()) == "ack"
    (outcome,) = outcomes(desk)
    assert outcome["manifest"]["commit_id"] == current_manifest(desk.store).commit_id
    assert desk.last_entry["outcome"] == "already_current"


def test_an_older_event_is_acked_and_tells_nothing(desk: Desk) -> None:
    desk.handle(register_data(17))
    assert desk.handle(register_data(16)) == "ack"
    assert desk.last_entry["outcome"] == "superseded"
    assert len(outcomes(desk)) == 1


@pytest.mark.parametrize(
    ("kind", "name"), [("OBJECT_METADATA_UPDATE", "a.jpg"), ("OBJECT_FINALIZE", "folder/")]
)
def test_an_ignored_notification_is_acked(desk: Desk, kind: str, name: str) -> None:
    attributes = {"eventType": kind, "objectId": name, "bucketId": "originals"}
    assert desk.handle(b"", attributes=attributes) == "ack"
    assert desk.journal == ["ack"]
    assert desk.last_entry["outcome"] == "ignored"
    assert desk.store.requests == []


@pytest.mark.parametrize(
    "error",
    [
        StorageUnavailable("503"),
        StorageForbidden("403"),
        SlotUnavailable("no memory"),
        Draining("stopping"),
        WorkerError("unheard of"),
    ],
)
def test_a_transient_failure_is_nacked_and_leaves_nothing(desk: Desk, error: WorkerError) -> None:
    desk.worker.renderer.errors.append(error)
    assert desk.handle(register_data(), attempt=50) == "nack"
    assert desk.journal == ["nack"]
    assert stored_manifest(desk.store) is None
    assert desk.last_entry["error"] == type(error).__name__
    assert desk.handle(register_data()) == "ack"


@pytest.mark.parametrize(
    "error", [RuntimeError("bug"), KeyError("bug"), OSError("disk full"), MemoryError()]
)
@pytest.mark.parametrize("verb", ["read", "write"])
def test_an_unknown_exception_is_nacked_and_does_not_escape(
    desk: Desk, error: Exception, verb: str
) -> None:
    hook = Once("read" if verb == "read" else "write", "", raising(error))
    desk.store.before = hook
    assert desk.handle(register_data()) == "nack"
    assert hook.spent
    assert desk.publisher.messages == []
    assert desk.last_entry["level"] == "error"
    assert desk.last_entry["error"] == type(error).__name__
    assert desk.last_entry["detail"] == str(error)
    assert desk.last_entry["exc_info"]


def test_an_answer_that_a_drain_gave_first_stands(desk: Desk) -> None:
    delivery = desk.delivery(register_data())
    desk.worker.renderer.between = delivery.nack
    desk.dispatcher(delivery)
    assert [one for one in desk.journal if one in ("ack", "nack")] == ["nack"]
    assert desk.last_entry["answered"] is False


def test_every_delivery_has_one_line_with_its_facts(desk: Desk) -> None:
    desk.handle(register_data(), attempt=2)
    (entry,) = desk.entries
    assert entry["event"] == "handled"
    assert (entry["message_id"], entry["delivery_attempt"]) == ("m-1", 2)
    assert (entry["type"], entry["version"]) == ("photo.register", 17)
    seconds = entry["seconds"]
    assert isinstance(seconds, dict)
    assert {"total", "commit", "outcome"} <= set(seconds)


def test_a_rejected_photo_that_stays_ready_is_told_of_as_rejected(desk: Desk) -> None:
    desk.handle(register_data(17))
    desk.worker.renderer.errors.append(CorruptOriginal("half"))
    assert desk.handle(register_data(18)) == "ack"
    told = outcomes(desk)[-1]
    assert (told["type"], told["state"], told["version"]) == ("photo.rejected", "ready", 18)
    assert (told["reason"], told["message"]) == ("corrupt_original", "half")
    assert_whole(desk.store)


def test_trouble_is_given_back_after_a_pause(desk: Desk) -> None:
    down = raising(StorageUnavailable("down"))
    desk.store.before = lambda _: down()
    assert desk.handle(register_data()) == "nack"
    assert desk.pauses == [NACK_PAUSE_SECONDS]


def test_a_drain_gives_back_without_a_pause(desk: Desk) -> None:
    desk.worker.renderer.errors.append(Draining("stopping"))
    assert desk.handle(register_data()) == "nack"
    assert desk.pauses == []


def test_a_bucket_that_is_gone_is_the_daemons_trouble(desk: Desk) -> None:
    desk.store.delete("originals", "a.jpg")
    desk.store.missing.add("originals")
    assert desk.handle(register_data()) == "nack"
    assert isinstance(desk.fatal_errors.get_nowait(), BucketUnavailable)
    assert desk.publisher.messages == []
