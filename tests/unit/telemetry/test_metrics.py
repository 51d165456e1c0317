"""Metrics: the list, what is counted under its names, and what a scrape shows of a worker."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from tests.support.stubs import Parts, delivery
from worker.errors import Reason
from worker.photo.outcome import Effect
from worker.render.capacity import Capacity
from worker.service.gauges import Gauges
from worker.service.liveness import Phase
from worker.telemetry.counters import Counters
from worker.telemetry.metrics import ALL, EVENTS, NACKED, PREFIX, STEPS, MetricKind

CAPACITY = Capacity(slots=2, in_flight=6, render_memory_bytes=1000)


def scraped(counters: Counters) -> dict[tuple[str, ...], float]:
    """Samples by their name, label values in the order of label names behind it."""
    text = counters.text()[0].decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Worker:
    """The counters and gauges of a worker that is not there."""

    def __init__(self) -> None:
        self.parts = Parts()
        self.counters = Counters(clock=lambda: 1_800_000_000.0)
        self.counters.add(Gauges(self.parts.liveness, CAPACITY, python="3.x"))

    def __getitem__(self, key: str | tuple[str, ...]) -> float:
        name, *labels = (key,) if isinstance(key, str) else key
        return scraped(self.counters)[PREFIX + name, *labels]


@pytest.fixture
def worker() -> Worker:
    return Worker()


def test_names_are_prometheus_names_with_units_and_helps() -> None:
    assert len({metric.name for metric in ALL}) == len(ALL)
    for metric in ALL:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", metric.name), metric.name
        assert not metric.name.endswith(("_total", "_created", "_count", "_sum", "_bucket"))
        assert metric.help.endswith("."), metric.name
        assert bool(metric.buckets) is (metric.kind is MetricKind.HISTOGRAM)
        assert all(len(values) == len(metric.labels) for values in metric.series)


def test_a_scrape_shows_every_metric_of_the_list_and_of_the_worker_no_other(
    worker: Worker,
) -> None:
    families = list(text_string_to_metric_families(worker.counters.text()[0].decode()))
    found = {
        family.name.removeprefix(PREFIX): family
        for family in families
        if family.name.startswith(PREFIX)
    }
    assert set(found) == {metric.name for metric in ALL}
    for metric in ALL:
        assert found[metric.name].type == metric.kind.value
        assert found[metric.name].documentation == metric.help
        assert found[metric.name].samples, metric.name
    others = {family.name for family in families} - {PREFIX + name for name in found}
    assert {"process_resident_memory_bytes", "process_cpu_seconds", "python_info"} <= others
    assert not [name for name in others if not name.startswith(("process_", "python_"))]


def test_closed_sets_are_there_from_the_start(worker: Worker) -> None:
    samples = scraped(worker.counters)
    for reason in Reason:
        assert samples[f"{PREFIX}dead_letters_total", reason.value] == 0
    for step in STEPS:
        assert samples[f"{PREFIX}step_seconds_count", step] == 0
    outcomes = {labels[0] for name, *labels in samples if name == EVENTS.full_name}
    assert outcomes == {effect.value for effect in Effect} | {NACKED}
    assert worker["reachable", "pubsub"] == worker["reachable", "storage"] == 1


def test_no_series_tells_when_it_was_made(worker: Worker) -> None:
    worker.counters.handled("photo.register", "registered", [("total", 1.0)])
    assert "_created" not in worker.counters.text()[0].decode()
    assert "_created" not in worker.counters.text("application/openmetrics-text")[0].decode()


def test_counts_add_up(worker: Worker) -> None:
    counters = worker.counters
    for attempt in (1, 1, 3, None):
        counters.delivered(attempt)
    for seconds in (0.3, 0.7):
        counters.handled("photo.register", "registered", [("total", seconds), ("render", 0.2)])
        counters.rendered(bytes_in=1000, bytes_out=600, cpu_seconds=0.25)
    counters.handled("invalid", "rejected", [])
    counters.dead_lettered(Reason.INVALID_EVENT)
    assert worker["events_total", "registered", "photo.register"] == 2
    assert worker["events_total", "rejected", "invalid"] == 1
    assert worker["dead_letters_total", "invalid_event"] == 1
    assert worker["step_seconds_count", "total"] == 2
    assert worker["step_seconds_sum", "total"] == 1.0
    assert worker["step_seconds_bucket", "0.5", "total"] == 1
    assert worker["delivery_attempts_count"] == 3
    assert worker["delivery_attempts_bucket", "1.0"] == 2
    assert worker["original_bytes_total"] == 2000
    assert worker["rendition_bytes_total"] == 1200
    assert worker["render_cpu_seconds_total"] == 0.5


def test_progress_is_the_start_and_then_the_last_ack() -> None:
    times = itertools.count(100, 50)
    counters = Counters(clock=lambda: next(times))
    name = f"{PREFIX}last_progress_timestamp_seconds"
    assert scraped(counters)[name,] == 100
    counters.progressed()
    assert scraped(counters)[name,] == 150


def test_gauges_are_read_at_the_scrape(worker: Worker) -> None:
    parts = worker.parts
    assert worker["in_flight"] == worker["slots_busy"] == worker["brake_on"] == 0
    assert (worker["in_flight_limit"], worker["slots"]) == (6, 2)
    assert worker["render_memory_bytes"] == 1000
    assert worker["stream_open"] == 1
    parts.consumer.running, parts.consumer.open = 5, False
    parts.pool.running, parts.pool.admitted_bytes = 2, 700
    parts.brake.on, parts.storage.reachable = True, False
    assert (worker["in_flight"], worker["stream_open"]) == (5, 0)
    assert (worker["slots_busy"], worker["render_memory_admitted_bytes"]) == (2, 700)
    assert (worker["brake_on"], worker["reachable", "storage"]) == (1, 0)
    with parts.leases.hold(delivery()):
        parts.ticks.now += 30
        assert worker["oldest_lease_seconds"] == 30


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_can_be_scraped(worker: Worker, phase: Phase) -> None:
    worker.parts.liveness.enter(phase)
    assert worker["draining"] == (phase is Phase.DRAINING)


def test_before_a_child_is_up_the_build_is_not_told() -> None:
    class Starting:
        alive = serving = False
        running = admitted_bytes = 0

        @property
        def recipe(self) -> Any:
            raise RuntimeError("start() comes first")

    worker = Worker()
    running = {key for key in scraped(worker.counters) if "build" in key[0]}
    assert len(running) == 1
    worker.parts.liveness.pool = Starting()  # type: ignore[assignment]
    assert not [key for key in scraped(worker.counters) if "build" in key[0]]
    assert worker["slots_busy"] == 0


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4"),
        ("*/*", "text/plain; version=0.0.4"),
        ("application/openmetrics-text", ""),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version="),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", "text/plain; version=1.0.0"),
        ("application/openmetrics-text; version=nine", "text/plain; version=0.0.4"),
        ("application/openmetrics-text; version=1.x", "text/plain; version=0.0.4"),
        # Digits and spaces to Python, but invalid in a header.
        ("application/openmetrics-text; version=1.0\r\n .0", "text/plain; version=0.0.4"),
        ("application/openmetrics-text; version=\uff11.0.0", "text/plain; version=0.0.4"),
        ("application/openmetrics-text; version=1.0.0\r\n Set-Cookie: x", "text/plain; version=0"),
        ("text/plain;version=1.0.0," * 1000, "text/plain; version=0.0.4"),
    ],
)
def test_the_format_is_agreed_upon(accept: str, content_type: str) -> None:
    body, agreed = Counters().text(accept)
    assert agreed.startswith(content_type)
    assert body


@settings(deadline=None)
@given(st.text(max_size=80).map("application/openmetrics-text;".__add__) | st.text(max_size=80))
def test_whatever_is_asked_for_a_header_can_answer(accept: str) -> None:
    _, agreed = COUNTERS.text(accept)
    assert agreed.isascii()
    assert agreed.isprintable()


COUNTERS = Counters()


def test_the_docs_have_every_metric_as_it_is() -> None:
    text = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
    rows: Mapping[str, tuple[str, str, str]] = {
        name: (kind, labels, help_)
        for name, kind, labels, help_ in re.findall(
            r"^\| `(photo_worker_\w+)` \| (\w+) \| ([^|]*?) ?\| (.+?) \|$", text, re.MULTILINE
        )
    }
    assert list(rows) == [metric.full_name for metric in ALL]
    for metric in ALL:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        assert rows[metric.full_name] == (metric.kind.value, labels, metric.help)


def test_the_docs_have_every_label_value() -> None:
    text = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
    values = {value for metric in ALL for series in metric.series for value in series}
    assert {value for value in values if f"`{value}`" not in text} == set()
