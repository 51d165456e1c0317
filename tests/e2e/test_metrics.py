"""Health and metrics of real workers: while they start, work, stand still and drain."""

from __future__ import annotations

import json
import re
import signal
import socket
import urllib.error
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.stage import Stage, Worker
from tests.support.pictures import corners_jpeg, noisy_jpeg
from tests.support.waiting import eventually
from worker.telemetry.metrics import ALL, PREFIX


class Watcher:
    """Asks one worker over HTTP."""

    def __init__(self, stage: Stage, **settings: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self._port = server.getsockname()[1]
        self.worker: Worker = stage.worker(http_port=str(self._port), **settings)

    def get(self, path: str) -> tuple[int, str]:
        """The status and body; 0 where nobody answers."""
        url = f"http://127.0.0.1:{self._port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metrics(self) -> dict[tuple[str, ...], float]:
        """Samples by name without prefix, and label values."""
        status, text = self.get("/metrics")
        assert status == 200, text
        return {
            (
                sample.name.removeprefix(PREFIX),
                *(value for _, value in sorted(sample.labels.items())),
            ): (sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


def test_a_photo_shows_in_the_metrics_while_and_after_it_is_rendered(stage: Stage) -> None:
    watcher = Watcher(stage, vcpus="1")
    watcher.worker.wait_until_running()
    assert watcher.get("/healthz")[0] == watcher.get("/readyz")[0] == 200
    idle = watcher.metrics()
    assert {name for name, *_ in idle} >= {
        metric.full_name.removeprefix(PREFIX) for metric in ALL if not metric.buckets
    }
    assert idle["in_flight",] == idle["slots_busy",] == idle["oldest_lease_seconds",] == 0
    assert idle["stream_open",] == idle["reachable", "pubsub"] == idle["reachable", "storage"] == 1
    (build,) = (labels for name, *labels in idle if name == "build_info")
    assert build[1] == watcher.worker.lines("running")[0]["recipe"]

    picture = noisy_jpeg(3000, 2000)
    stage.register("photo", 1, picture)
    busy = eventually(
        lambda: found if (found := watcher.metrics())["slots_busy",] else None, "a slot is busy"
    )
    assert busy is not None
    assert busy["in_flight",] == 1
    assert 0 < busy["render_memory_admitted_bytes",] <= busy["render_memory_bytes",]
    assert busy["oldest_lease_seconds",] > 0
    assert watcher.get("/healthz")[0] == 200

    stage.wait_for("photo", "ready", 1)
    done = eventually(
        lambda: (
            found
            if (found := watcher.metrics())["events_total", "registered", "photo.register"]
            else None
        ),
        "it is counted",
    )
    assert done is not None
    assert done["original_bytes_total",] == len(picture)
    line = eventually(lambda: watcher.worker.lines("handled"), "it is logged")[0]
    assert done["rendition_bytes_total",] == line["bytes_out"]
    assert done["step_seconds_count", "total"] == done["step_seconds_count", "render"] == 1
    assert done["delivery_attempts_count",] == 1
    assert done["last_progress_timestamp_seconds",] > idle["last_progress_timestamp_seconds",]
    eventually(lambda: watcher.metrics()["in_flight",] == 0, "nothing is held")
    assert watcher.metrics()["slots_busy",] == 0
    assert watcher.metrics()["render_memory_admitted_bytes",] == 0


def test_a_dead_letter_is_counted_by_its_reason(stage: Stage) -> None:
    watcher = Watcher(stage)
    watcher.worker.wait_until_running()
    stage.publish(b"no event")
    stage.register("half", 1, corners_jpeg(800, 600)[:900])
    stage.pull(stage.dead_letters, 2)
    eventually(
        lambda: (
            (found := watcher.metrics())["dead_letters_total", "invalid_event"] == 1
            and found["dead_letters_total", "corrupt_original"] == 1
            and found["events_total", "rejected", "invalid"] == 1
            and found["events_total", "rejected", "photo.register"] == 1
        ),
        "both are counted",
    )


def test_it_is_alive_and_can_be_scraped_while_it_drains(stage: Stage) -> None:
    watcher = Watcher(stage, vcpus="1", drain_seconds="30")
    watcher.worker.wait_until_running()
    stage.register("photo", 1, noisy_jpeg(6000, 4000))
    watcher.worker.wait_until_rendering()
    watcher.worker.signal(signal.SIGTERM)
    eventually(lambda: watcher.metrics()["draining",] == 1, "it drains")
    assert watcher.get("/healthz")[0] == 200
    status, body = watcher.get("/readyz")
    assert (status, json.loads(body)["running"]) == (503, False)
    assert watcher.worker.wait() == 0
    assert watcher.get("/healthz")[0] == 0


def test_it_is_alive_and_not_ready_while_it_starts(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # A broker that takes the connection and says nothing.
        stage.environment["PUBSUB_EMULATOR_HOST"] = f"127.0.0.1:{silent.getsockname()[1]}"
        watcher = Watcher(stage)
        eventually(lambda: watcher.get("/healthz")[0], "it answers")
        assert watcher.get("/healthz")[0] == 200
        assert watcher.get("/readyz")[0] == 503
        starting = watcher.metrics()
    assert starting["stream_open",] == starting["slots_busy",] == starting["draining",] == 0
    assert not [name for name, *_ in starting if name == "build_info"]


def test_the_log_holds_no_signed_url_of_an_event(stage: Stage) -> None:
    watcher = Watcher(stage)
    watcher.worker.wait_until_running()
    url = "gs://elsewhere/a.jpg?X-Goog-Signature=5ec2e7&X-Goog-Credential=me\u009b\u2028"
    event = {"type": "photo.register", "photo_id": "a", "version": 1, "original": url}
    stage.publish(event)
    stage.pull(stage.dead_letters, 1)
    (line,) = eventually(lambda: watcher.worker.lines("handled"), "it is logged")
    assert line["reason"] == "forbidden_source"
    text = watcher.worker.text()
    assert "5ec2e7" not in text
    assert not re.search("[\x80-\x9f\u2028]", text)
