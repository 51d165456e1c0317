"""The brake in real processes: a failing backlog is kept, and handled once the cause is mended."""

from __future__ import annotations

import json

import pytest
from google.pubsub_v1.types import PubsubMessage

from tests.e2e.stage import Stage, Worker, free_port
from tests.support.pictures import corners_jpeg
from tests.support.waiting import eventually

GOOD = corners_jpeg(64, 48)
BAD = b"not a picture at all"
BACKLOG = 60
BRAKE = {"brake_events": "10", "brake_seconds": "30"}
MOST_LETTERS = 8
"""The ninth failure of the last ten brings the brake on, and is not dead-lettered."""


def publish_backlog(stage: Stage, original: bytes = BAD, count: int = BACKLOG) -> set[str]:
    """Events about photos of their own that share one original; their message ids."""
    url = stage.upload("shared.jpg", original)
    messages = [
        PubsubMessage(
            data=json.dumps(
                {"type": "photo.register", "photo_id": f"p-{n}", "version": 1, "original": url}
            ).encode()
        )
        for n in range(count)
    ]
    return set(stage.publisher.publish(topic=stage.topic, messages=messages).message_ids)


def brake_lines(worker: Worker) -> list[str]:
    return [line["message"] for line in worker.lines() if line["message"].startswith("brake on: ")]


def wait_until_braked(worker: Worker) -> None:
    eventually(lambda: brake_lines(worker) or worker.ended(), "the brake is on")
    eventually(lambda: worker.lines("drained"), "the stream is closed")
    assert not worker.ended(), worker.text()


def rejected(stage: Stage) -> int:
    states = [stage.manifest(f"p-{n}") for n in range(BACKLOG)]
    return sum(manifest is not None and manifest["state"] == "rejected" for manifest in states)


def test_a_backlog_that_fails_is_kept_and_the_worker_ends_with_8(stage: Stage) -> None:
    message_ids = publish_backlog(stage)
    worker = stage.worker(brake_events="10", brake_seconds="6").wait_until_running()
    wait_until_braked(worker)
    assert worker.wait(30) == 8

    kept = stage.pull(stage.subscription, BACKLOG - MOST_LETTERS)
    letters = stage.pull(stage.dead_letters, BACKLOG - len(kept))
    assert 0 < len(letters) <= MOST_LETTERS
    assert {message.message_id for message in kept} <= message_ids
    assert len({m.message_id for m in kept}) == len(kept) == BACKLOG - len(letters)
    assert {letter.attributes["dead_letter_reason"] for letter in letters} == {"unsupported_format"}
    assert rejected(stage) == len(letters)

    (line,) = brake_lines(worker)
    assert "failed permanently" in line
    assert "unsupported_format" in line
    assert "photo-worker dead-letters list" in line
    assert len(worker.lines(severity="ERROR")) == 2, "it came on, and it gave up"
    assert "6 s and nothing got better" in worker.text()
    # Trials are few, and each gives back one message.
    given_back = worker.lines("handled", outcome="nacked")
    assert max(each["delivery_attempt"] for each in given_back) <= 6


@pytest.mark.parametrize("broker", ["stage", "google_stage"])
def test_it_comes_off_by_itself_once_the_cause_is_mended(
    request: pytest.FixtureRequest, broker: str
) -> None:
    stage: Stage = request.getfixturevalue(broker)
    publish_backlog(stage)
    worker = stage.worker(**BRAKE, http_port=free_port()).wait_until_running()
    wait_until_braked(worker)
    assert worker.unready() == {"brake_off"}
    assert worker.get("/healthz")[0] == 200
    eventually(lambda: worker.lines("brake stays on"), "a trial has failed")
    assert worker.unready() == {"brake_off"}

    stage.upload("shared.jpg", GOOD)
    eventually(lambda: worker.lines("brake off") or worker.ended(), "the brake is off")
    assert not worker.ended(), worker.text()
    eventually(lambda: not worker.unready(), "it is ready")
    letters = stage.pull(stage.dead_letters, 1)
    assert len(letters) <= MOST_LETTERS
    # Google's emulator may give messages to streams that were closed, for a lease each.
    eventually(
        lambda: len(worker.lines("handled", outcome="registered")) >= BACKLOG - len(letters),
        "the rest of the backlog is handled",
        seconds=120,
    )
    assert rejected(stage) == len(letters)
    assert len(brake_lines(worker)) == 1


def test_a_poisoned_third_does_not_bring_it_on(stage: Stage) -> None:
    worker = stage.worker(brake_events="20").wait_until_running()
    good, bad = stage.upload("good.jpg", GOOD), stage.upload("bad.jpg", GOOD[:300])
    for n in range(BACKLOG):
        original = bad if n % 10 in (0, 3, 6) else good
        event = {"type": "photo.register", "photo_id": f"p-{n}", "version": 1}
        stage.publish(event | {"original": original})
    eventually(lambda: len(worker.lines("handled")) >= BACKLOG, "everything is handled")
    poisoned = BACKLOG * 3 // 10
    assert len(worker.lines("handled", outcome="registered")) == BACKLOG - poisoned
    assert len(worker.lines("handled", outcome="rejected")) == poisoned
    assert len(stage.pull(stage.dead_letters, poisoned)) == poisoned
    assert brake_lines(worker) == []


def test_sigterm_while_it_is_on_ends_the_worker_at_once_with_0(stage: Stage) -> None:
    publish_backlog(stage)
    worker = stage.worker(**BRAKE).wait_until_running()
    wait_until_braked(worker)
    worker.signal()
    assert worker.wait(10) == 0
    assert len(stage.pull(stage.subscription, BACKLOG - MOST_LETTERS)) >= BACKLOG - MOST_LETTERS


def test_a_subscription_deleted_while_it_is_on_still_ends_the_worker_with_4(stage: Stage) -> None:
    publish_backlog(stage)
    worker = stage.worker(**BRAKE).wait_until_running()
    wait_until_braked(worker)
    stage.subscriber.delete_subscription(subscription=stage.subscription)
    assert worker.wait(60) == 4
    assert stage.subscription in worker.text()
