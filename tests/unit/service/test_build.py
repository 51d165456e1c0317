"""The composition: what only the way in which the parts are put together can get wrong."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.support.fakes import recording_log
from tests.support.stubs import delivery
from tests.support.waiting import eventually
from worker.console.stop import Stop
from worker.errors import Fatal
from worker.handlers.brake import BrakeAction
from worker.photo.outcome import Effect
from worker.render.capacity import MIB, Capacity
from worker.service.build import App, build, longest_handling_seconds
from worker.service.daemon import Daemon
from worker.service.gauges import Gauges
from worker.service.liveness import Phase
from worker.service.reachability import SILENT_SECONDS
from worker.settings.settings import Settings
from worker.system.scratch import Scratch

NOBODY = "127.0.0.1:1"


CAPACITY = Capacity(slots=1, in_flight=1, render_memory_bytes=512 * MIB)


@pytest.fixture
def app() -> Iterator[App]:
    """A worker that is not started, and whose services do not exist."""
    settings = Settings.load(
        {
            "PUBSUB_EMULATOR_HOST": NOBODY,
            "STORAGE_EMULATOR_HOST": f"http://{NOBODY}",
            "WORKER_SUBSCRIPTION": "projects/p/subscriptions/photos",
            "WORKER_ORIGINALS_BUCKETS": "originals",
            "WORKER_RENDITIONS_BUCKET": "renditions",
        },
        {},
    )
    app = build(settings, CAPACITY, Scratch(), recording_log()[0])
    yield app
    app.scratch.cleanup()
    app.store.close()
    app.publisher.close()
    app.subscriber.close()


def test_a_silent_storage_holds_deliveries_and_the_drain_gives_them_back(app: App) -> None:
    app.storage._answered_at -= SILENT_SECONDS + 1
    answers = handle_one(app)
    assert answers == []
    app.consumer._scheduler.refuse_new()
    eventually(lambda: answers == ["nack"], "the drain gives it back", seconds=10)


def test_after_a_pause_deliveries_are_held_and_renders_taken_again(app: App) -> None:
    app.storage._answered_at -= SILENT_SECONDS + 1
    app.consumer._on_drain()
    assert not app.pool._admitting
    app.consumer._on_start()
    assert app.pool._admitting
    answers = handle_one(app)
    assert answers == []
    app.consumer._on_drain()
    eventually(lambda: answers == ["nack"], "the drain gives it back", seconds=10)


def test_waiting_for_a_silent_storage_is_held_and_not_handled(app: App) -> None:
    app.storage._answered_at -= SILENT_SECONDS + 1
    handle_one(app)
    assert app.leases.oldest_seconds > 0
    assert app.leases.longest_handling_seconds == 0
    app.consumer._scheduler.refuse_new()
    eventually(lambda: app.leases.oldest_seconds == 0, "the drain lets it go", seconds=10)


def test_handling_is_watched_and_counted(app: App) -> None:
    seen: list[float] = []
    acked = app.brake.acked

    def look(photo: str, effect: Effect) -> None:
        seen.append(app.leases.longest_handling_seconds)
        acked(photo, effect)

    app.brake.acked = look  # type: ignore[method-assign]
    answers = handle_one(app)
    eventually(lambda: answers == ["ack"] and seen, "it is handled", seconds=10)
    assert seen[0] > 0
    eventually(lambda: app.leases.longest_handling_seconds == 0, "it is let go", seconds=10)
    line = b'photo_worker_events_total{outcome="ignored",type="ignored"} 1.0'
    assert line in app.counters.text()[0]


def test_a_worker_that_has_not_started_can_be_scraped(app: App) -> None:
    app.counters.add(Gauges(app.liveness, CAPACITY))
    text = app.counters.text()[0]
    assert b"photo_worker_slots 1.0" in text
    assert b"photo_worker_stream_open 0.0" in text
    assert all(app.liveness.alive().values())
    assert not app.liveness.ready()["running"]


def test_the_daemon_notes_each_look(app: App) -> None:
    app.liveness.enter(Phase.RUNNING)
    app.liveness._looked_at -= 1000
    assert not app.liveness.alive()["daemon_looks"]
    app.fatal_errors.put(Fatal("enough"))
    with pytest.raises(Fatal, match="enough"):
        daemon()._watch(app)
    assert app.liveness.alive()["daemon_looks"]


def test_a_brake_that_comes_off_in_a_drain_opens_no_stream(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    braked = daemon()
    opened: list[str] = []
    monkeypatch.setattr(app.brake, "next_action", lambda: BrakeAction.GO)
    monkeypatch.setattr(app.consumer, "start", lambda: opened.append("stream"))
    braked._obey_brake(app)
    # The trial that is waited for may take all of the drain's time.
    monkeypatch.setattr(app.consumer, "pause", braked._stop.ask)
    braked._obey_brake(app)
    assert opened == ["stream"]


def daemon() -> Daemon:
    """One that leaves the signals of this process alone."""
    without_signals = Daemon.__new__(Daemon)
    without_signals._log = recording_log()[0]
    without_signals._stop = Stop()
    return without_signals


def handle_one(app: App) -> list[str]:
    """Begin to handle a delivery; the answer turns up in the list."""
    answers: list[str] = []
    # An event to be ignored: it is acked without a request to any service.
    ignored = {"eventType": "OBJECT_METADATA_UPDATE", "bucketId": "originals", "objectId": "a.jpg"}
    one = delivery(answers, attributes=ignored)
    handling = threading.Thread(target=app.consumer._handle, args=(one,), daemon=True)
    handling.start()
    handling.join(0.2)
    return answers


def test_a_worker_loads_nothing_of_the_lab() -> None:
    code = (
        "import sys, worker.service.daemon, worker.service.build\n"
        "print([m for m in sys.modules"
        " if m.startswith(('worker.lab', 'fake_gcs_server', 'benchmarks'))])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_a_lease_outlasts_every_render_that_runs_into_its_limit_by_the_clock() -> None:
    settings = Settings.load(
        {"WORKER_RENDER_TIMEOUT_SECONDS": "100", "WORKER_IN_FLIGHT_PER_VCPU": "2"}
    )
    # Two that share its slot, of which it is one, and its own second try.
    assert longest_handling_seconds(settings) >= 3 * 3 * 100
