"""Dispatch: what is counted of each delivery, and that labels come from closed sets."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.support.desk import DEAD_LETTER, OUTCOME, Desk, deregister_data, register_data
from tests.unit.telemetry.test_metrics import scraped
from worker.errors import CorruptOriginal, Draining, StorageUnavailable
from worker.telemetry.metrics import ALL, PREFIX, MetricKind


def counts(desk: Desk) -> dict[tuple[str, ...], float]:
    """Counters and histograms' counts that are not 0."""
    return {
        (name.removeprefix(PREFIX), *labels): value
        for (name, *labels), value in scraped(desk.dispatcher.counters).items()
        if value and name.startswith(PREFIX) and name.endswith(("_total", "_count"))
    }


def test_a_photo_is_counted_with_its_steps_and_bytes(desk: Desk) -> None:
    desk.handle(register_data(), attempt=2)
    found = counts(desk)
    assert found["events_total", "registered", "photo.register"] == 1
    assert found["delivery_attempts_count",] == 1
    assert found["original_bytes_total",] > 0
    assert found["rendition_bytes_total",] > 0
    assert found["render_cpu_seconds_total",] == 1.25
    steps = {labels[0] for name, *labels in found if name == "step_seconds_count"}
    seconds = desk.last_entry["seconds"]
    assert isinstance(seconds, dict)
    assert steps == set(seconds)


@pytest.mark.parametrize(
    ("data", "kind", "outcome"),
    [
        (register_data(), "photo.register", "registered"),
        (deregister_data(), "photo.deregister", "deregistered"),
        (register_data(photo_id="missing"), "photo.register", "rejected"),
        (b"no event", "invalid", "rejected"),
        ({"type": "photo.resize", "photo_id": "a", "version": 1}, "invalid", "rejected"),
    ],
)
def test_each_end_is_counted_once(
    desk: Desk, data: dict[str, Any] | bytes, kind: str, outcome: str
) -> None:
    desk.handle(data)
    events = {key: value for key, value in counts(desk).items() if key[0] == "events_total"}
    assert events == {("events_total", outcome, kind): 1}


@pytest.mark.parametrize("error", [StorageUnavailable("503"), Draining("x"), RuntimeError("bug")])
def test_what_is_given_back_is_counted_as_nacked_and_is_no_progress(
    desk: Desk, error: Exception
) -> None:
    before = scraped(desk.dispatcher.counters)[f"{PREFIX}last_progress_timestamp_seconds",]
    desk.worker.renderer.errors.append(error)  # type: ignore[arg-type]
    desk.handle(register_data())
    found = counts(desk)
    assert found["events_total", "nacked", "photo.register"] == 1
    assert ("original_bytes_total",) not in found
    after = scraped(desk.dispatcher.counters)[f"{PREFIX}last_progress_timestamp_seconds",]
    assert after == before


def test_an_ack_is_progress_unless_it_came_too_late(desk: Desk) -> None:
    name = (f"{PREFIX}last_progress_timestamp_seconds",)
    counters = desk.dispatcher.counters
    start = scraped(counters)[name]
    late = desk.delivery(register_data())
    desk.worker.renderer.between = late.nack
    desk.dispatcher(late)
    assert scraped(counters)[name] == start
    desk.handle(register_data(18))
    assert scraped(counters)[name] > start


def test_a_bug_before_the_event_is_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.handlers.dispatch.parse", lambda *_, **__: 1 // 0)
    desk.handle(register_data())
    assert counts(desk)["events_total", "nacked", "unread"] == 1


def test_dead_letters_are_counted_once_they_are_confirmed(desk: Desk) -> None:
    desk.publisher.broken.add(DEAD_LETTER)
    desk.worker.renderer.errors += [CorruptOriginal("half")] * 2
    desk.handle(register_data())
    assert ("dead_letters_total", "corrupt_original") not in counts(desk)
    desk.publisher.broken.clear()
    desk.handle(register_data())
    assert counts(desk)["dead_letters_total", "corrupt_original"] == 1


def test_an_unconfirmed_outcome_still_counts_the_render(desk: Desk) -> None:
    desk.publisher.broken.add(OUTCOME)
    desk.handle(register_data())
    found = counts(desk)
    assert found["events_total", "nacked", "photo.register"] == 1
    assert found["rendition_bytes_total",] > 0


def test_nothing_that_an_event_says_becomes_a_label(desk: Desk) -> None:
    before = set(scraped(desk.dispatcher.counters))
    rng = random.Random(7)  # noqa: S311
    for number in range(200):
        odd = "".join(chr(rng.randrange(32, 0x2000)) for _ in range(20))
        for data in (
            register_data(photo_id=odd) | {"labels": {odd: odd}},
            register_data() | {"type": odd},
            deregister_data(photo_id=odd),
            odd.encode(),
        ):
            desk.handle(data, attempt=number, attributes={odd: odd})
        desk.handle(b"", attributes={"eventType": odd, "objectId": odd, "bucketId": odd})
    new = set(scraped(desk.dispatcher.counters)) - before
    known = {
        (metric.full_name, *reversed(values))
        for metric in ALL
        if metric.kind is MetricKind.COUNTER
        for values in metric.series
    }
    assert new <= known
