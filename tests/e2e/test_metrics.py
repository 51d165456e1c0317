"""Health and metrics of real workers: while they start, work, stand still and drain."""

from __future__ import annotations

import json
import re
import socket

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.stage import SLOW, Stage, Worker, free_port
from tests.support.pictures import corners_jpeg, noisy_jpeg
from tests.support.waiting import eventually
from worker.telemetry.metrics import ALL, PREFIX


def metrics(worker: Worker) -> dict[tuple[str, ...], float]:
    """Samples by name without prefix, and label values."""
    status, text = worker.get("/metrics")
    assert status == 200, text
    return {
        (
            sample.name.removeprefix(PREFIX),
            *(value for _, value in sorted(sample.labels.items())),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_photo_shows_in_the_metrics_while_and_after_it_is_rendered(stage: Stage) -> None:
    worker = stage.worker(vcpus="1", http_port=free_port()).wait_until_running()
    assert worker.get("/healthz")[0] == worker.get("/readyz")[0] == 200
    idle = metrics(worker)
    assert {name for name, *_ in idle} >= {
        metric.full_name.removeprefix(PREFIX) for metric in ALL if not metric.buckets
    }
    assert idle["in_flight",] == idle["slots_busy",] == idle["oldest_lease_seconds",] == 0
    assert idle["stream_open",] == idle["reachable", "pubsub"] == idle["reachable", "storage"] == 1
    (build,) = (labels for name, *labels in idle if name == "build_info")
    assert build[1] == worker.lines("running")[0]["recipe"]

    picture = noisy_jpeg(2000, 1500)
    stage.register("photo", 1, picture)
    busy = eventually(
        lambda: found if (found := metrics(worker))["slots_busy",] else None, "a slot is busy"
    )
    assert busy is not None
    assert busy["in_flight",] == 1
    assert 0 < busy["render_memory_admitted_bytes",] <= busy["render_memory_bytes",]
    assert busy["oldest_lease_seconds",] > 0
    assert worker.get("/healthz")[0] == 200

    stage.wait_for("photo", "ready", 1)
    done = eventually(
        lambda: (
            found
            if (found := metrics(worker))["events_total", "registered", "photo.register"]
            else None
        ),
        "it is counted",
    )
    assert done is not None
    assert done["original_bytes_total",] == len(picture)
    line = eventually(lambda: worker.lines("handled"), "it is logged")[0]
    assert done["rendition_bytes_total",] == line["bytes_out"]
    assert done["step_seconds_count", "total"] == done["step_seconds_count", "render"] == 1
    assert done["delivery_attempts_count",] == 1
    assert done["last_progress_timestamp_seconds",] > idle["last_progress_timestamp_seconds",]
    eventually(lambda: metrics(worker)["in_flight",] == 0, "nothing is held")
    assert metrics(worker)["slots_busy",] == 0
    assert metrics(worker)["render_memory_admitted_bytes",] == 0


def test_a_dead_letter_is_counted_by_its_reason(stage: Stage) -> None:
    worker = stage.worker(http_port=free_port()).wait_until_running()
    stage.publish(b"no event")
    stage.register("half", 1, corners_jpeg(800, 600)[:900])
    stage.pull(stage.dead_letters, 2)
    eventually(
        lambda: (
            (found := metrics(worker))["dead_letters_total", "invalid_event"] == 1
            and found["dead_letters_total", "corrupt_original"] == 1
            and found["events_total", "rejected", "invalid"] == 1
            and found["events_total", "rejected", "photo.register"] == 1
        ),
        "both are counted",
    )


def test_it_is_alive_and_can_be_scraped_while_it_drains(stage: Stage) -> None:
    worker = stage.worker(**SLOW, drain_seconds="120", http_port=free_port()).wait_until_running()
    stage.register("photo", 1, noisy_jpeg(2400, 1800))
    worker.wait_until_rendering()
    worker.signal()
    eventually(lambda: metrics(worker)["draining",] == 1, "it drains")
    assert worker.get("/healthz")[0] == 200
    status, body = worker.get("/readyz")
    assert (status, json.loads(body)["running"]) == (503, False)
    assert worker.wait() == 0
    assert worker.get("/healthz")[0] == 0


def test_it_is_alive_and_not_ready_while_it_starts(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # A broker that takes the connection and stays silent.
        stage.environment["PUBSUB_EMULATOR_HOST"] = f"127.0.0.1:{silent.getsockname()[1]}"
        worker = stage.worker(http_port=free_port())
        eventually(lambda: worker.get("/healthz")[0], "it answers")
        assert worker.get("/healthz")[0] == 200
        assert worker.get("/readyz")[0] == 503
        starting = metrics(worker)
    assert starting["stream_open",] == starting["slots_busy",] == starting["draining",] == 0
    assert not [name for name, *_ in starting if name == "build_info"]


def test_the_log_holds_no_signed_url_of_an_event(stage: Stage) -> None:
    worker = stage.worker().wait_until_running()
    url = "gs://elsewhere/a.jpg?X-Goog-Signature=5ec2e7&X-Goog-Credential=me\u009b\u2028"
    event = {"type": "photo.register", "photo_id": "a", "version": 1, "original": url}
    stage.publish(event)
    stage.pull(stage.dead_letters, 1)
    (line,) = eventually(lambda: worker.lines("handled"), "it is logged")
    assert line["reason"] == "forbidden_source"
    text = worker.text()
    assert "5ec2e7" not in text
    assert not re.search("[\x80-\x9f\u2028]", text)
