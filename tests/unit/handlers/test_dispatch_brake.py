"""Dispatch: the brake is asked before anything is put on record, and told how events end."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.desk import DEAD_LETTER, Desk, deregister_data, register_data
from tests.support.fakes import Once
from tests.support.workers import RENDITIONS, deregister, seed_original, stored_manifest
from worker.errors import CorruptOriginal, RenderCrashed, StorageUnavailable
from worker.handlers.brake import TRIAL_DELIVERIES, Brake, BrakeAction
from worker.handlers.dispatch import BRAKED_PAUSE_SECONDS, NACK_PAUSE_SECONDS
from worker.photo.dead_letter import REPLAY_OF
from worker.photo.delivery import Delivery

TOO_MANY = 5
"""Of the last five photos; the fifth failure brings it on."""


@pytest.fixture
def brake() -> Brake:
    return Brake(share=1, events=TOO_MANY, seconds=0.001)


@pytest.fixture
def desk(tmp_path: Path, brake: Brake) -> Desk:
    return Desk(tmp_path, brake=brake)


Data = dict[str, Any] | bytes


def missing(number: int) -> Data:
    return register_data(photo_id=f"missing-{number}")


def foreign(number: int) -> Data:
    return register_data(photo_id=f"p-{number}") | {"original": f"gs://elsewhere/{number}.jpg"}


def nonsense(number: int) -> Data:
    return b"no event %d" % number


def fail(desk: Desk, count: int, of: Callable[[int], Data] = missing) -> list[str]:
    return [desk.handle(of(number), message_id=f"m-{number}") for number in range(count)]


@pytest.mark.parametrize("of", [missing, foreign, nonsense])
def test_once_it_is_on_nothing_is_rejected_or_dead_lettered(
    desk: Desk, brake: Brake, of: Callable[[int], Data]
) -> None:
    assert fail(desk, 12, of) == ["ack"] * (TOO_MANY - 1) + ["nack"] * (12 - TOO_MANY + 1)
    assert brake.on
    assert len(desk.publisher.to(DEAD_LETTER)) == TOO_MANY - 1
    manifests = [name for name in desk.store.names(RENDITIONS) if name.endswith("manifest.json")]
    assert len(manifests) == (0 if of is nonsense else TOO_MANY - 1)


def test_threads_in_flight_dead_letter_no_more(desk: Desk) -> None:
    deliveries = [desk.delivery(missing(number), message_id=f"m-{number}") for number in range(60)]
    with ThreadPoolExecutor(12) as threads:
        list(threads.map(desk.dispatcher, deliveries))
    assert desk.journal.count("nack") == 60 - (TOO_MANY - 1)
    assert len(desk.publisher.to(DEAD_LETTER)) == TOO_MANY - 1


def test_the_failure_that_brings_it_on_waits_for_the_stream_to_close(desk: Desk) -> None:
    fail(desk, TOO_MANY)
    assert desk.pauses == [BRAKED_PAUSE_SECONDS]
    assert desk.last_entry["error"] == "Braked"
    assert "original_missing" in str(desk.last_entry["detail"])


def test_while_it_is_on_nothing_is_begun(desk: Desk) -> None:
    fail(desk, TOO_MANY)
    seed_original(desk.store)
    asked = len(desk.store.requests)
    assert desk.handle(register_data()) == "nack"
    assert desk.handle(deregister_data()) == "nack"
    assert len(desk.store.requests) == asked
    assert desk.pauses[-2:] == [BRAKED_PAUSE_SECONDS] * 2


def test_without_a_dead_letter_topic_it_comes_on_as_well(tmp_path: Path, brake: Brake) -> None:
    desk = Desk(tmp_path, brake=brake, dead_letter=False)
    assert fail(desk, 12) == ["nack"] * 12
    assert brake.on
    assert stored_manifest(desk.store, f"missing-{TOO_MANY - 2}") is not None
    assert stored_manifest(desk.store, f"missing-{TOO_MANY - 1}") is None


def test_one_photo_or_message_that_fails_again_and_again_does_not(
    tmp_path: Path, brake: Brake
) -> None:
    desk = Desk(tmp_path, brake=brake, dead_letter=False)
    for version in range(1, 20):
        desk.handle(register_data(version, photo_id="poisoned"), message_id=f"m-{version}")
        desk.handle(b"nonsense", message_id="the same")
    assert not brake.on


def test_transient_failures_say_nothing(desk: Desk, brake: Brake) -> None:
    for number in range(20):
        seed_original(desk.store, f"a-{number}")
        desk.worker.renderer.errors.append(StorageUnavailable("503"))
        assert desk.handle(register_data(photo_id=f"a-{number}")) == "nack"
    assert not brake.on
    assert set(desk.pauses) == {NACK_PAUSE_SECONDS}


def test_a_failed_render_says_nothing_before_its_last_attempt(desk: Desk, brake: Brake) -> None:
    for number in range(20):
        seed_original(desk.store, f"a-{number}")
        desk.worker.renderer.errors.append(RenderCrashed("SIGSEGV"))
        assert desk.handle(register_data(photo_id=f"a-{number}"), attempt=2) == "nack"
    assert not brake.on


def test_sound_photos_between_keep_it_off(desk: Desk, brake: Brake) -> None:
    for number in range(12):
        seed_original(desk.store, f"a-{number}")
        assert desk.handle(register_data(photo_id=f"a-{number}")) == "ack"
        assert fail(desk, TOO_MANY - 1) == ["ack"] * (TOO_MANY - 1)
    assert not brake.on


def test_a_failure_that_a_newer_event_has_overtaken_is_none(desk: Desk, brake: Brake) -> None:
    for number in range(12):
        photo_id = f"a-{number}"
        seed_original(desk.store, photo_id)
        desk.worker.renderer.errors.append(CorruptOriginal("half"))
        overtake = partial(desk.worker.do, deregister(9, photo_id))
        desk.store.before = Once("download", f"{photo_id}.jpg", overtake)
        assert desk.handle(register_data(8, photo_id)) == "ack"
        assert desk.last_entry["outcome"] == "superseded"
    assert desk.publisher.to(DEAD_LETTER) == []
    assert not brake.on


def test_a_replayed_message_that_fails_again_is_dead_lettered_and_counts_for_nothing(
    desk: Desk, brake: Brake
) -> None:
    for number in range(20):
        assert desk.handle(missing(number), attributes={REPLAY_OF: "m"}) == "ack"
    assert not brake.on
    assert len(desk.publisher.to(DEAD_LETTER)) == 20


def test_a_trial_that_succeeds_takes_it_off(desk: Desk, brake: Brake) -> None:
    fail(desk, TOO_MANY)
    begin_trial(brake)
    for number in range(TRIAL_DELIVERIES):
        seed_original(desk.store, f"a-{number}")
        assert desk.handle(register_data(photo_id=f"a-{number}")) == "ack"
    assert not brake.on
    assert brake.next_action() is BrakeAction.GO


@pytest.mark.parametrize("error", [CorruptOriginal("half"), StorageUnavailable("503")])
def test_a_trial_that_fails_is_over_before_its_message_is_given_back(
    desk: Desk, brake: Brake, error: Exception
) -> None:
    fail(desk, TOO_MANY)
    begin_trial(brake)
    seed_original(desk.store)
    desk.worker.renderer.errors.append(error)  # type: ignore[arg-type]
    over: list[object] = []
    desk.during_pause = lambda: over.append(brake.next_action())
    assert desk.handle(register_data()) == "nack"
    assert over == [BrakeAction.REST]
    assert stored_manifest(desk.store) is None
    assert len(desk.publisher.to(DEAD_LETTER)) == TOO_MANY - 1


def test_work_that_outlasts_its_stream_puts_no_failure_on_record(desk: Desk, brake: Brake) -> None:
    seed_original(desk.store)
    delivery = begun(desk)
    desk.worker.renderer.errors.append(CorruptOriginal("half"))
    desk.dispatcher(delivery)
    assert desk.journal == ["nack"]
    assert stored_manifest(desk.store) is None
    assert desk.last_entry["error"] == "Draining"
    assert desk.last_entry["answered"] is False
    assert not brake.on


@pytest.mark.parametrize("error", [None, CorruptOriginal("half"), StorageUnavailable("503")])
def test_work_that_outlasts_its_stream_is_no_part_of_the_next_trial(
    desk: Desk, brake: Brake, error: Exception | None
) -> None:
    fail(desk, TOO_MANY)
    begin_trial(brake)
    seed_original(desk.store)
    for _ in range(TRIAL_DELIVERIES if error is None else 1):
        # Admitted with the trial's deliveries here, but answered already.
        delivery = begun(desk)
        if error is not None:
            desk.worker.renderer.errors.append(error)  # type: ignore[arg-type]
        desk.dispatcher(delivery)
    assert brake.on
    assert brake.next_action() is None


def begin_trial(brake: Brake) -> None:
    brake._on_since = brake._clock() + 1000
    brake._rest_until = 0.0
    assert (brake.next_action(), brake.next_action()) == (BrakeAction.STOP, BrakeAction.TRY)


def begun(desk: Desk) -> Delivery:
    """A delivery that a pause has given back already, while its handler is still at it."""
    delivery = desk.delivery(register_data())
    delivery.nack()
    return delivery
