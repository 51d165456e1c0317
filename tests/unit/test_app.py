"""The composition: what only the way in which the parts are put together can get wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.fakes import recording_log
from tests.waiting import eventually
from worker.app import App, build
from worker.capacity import MIB, Capacity
from worker.config import Settings
from worker.delivery import Delivery
from worker.reachability import SILENT_SECONDS

NOBODY = "127.0.0.1:1"


@pytest.fixture
def app() -> Iterator[App]:
    """A worker that is not started, and whose services are not there."""
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
    capacity = Capacity(slots=1, in_flight=1, render_memory_bytes=512 * MIB)
    app = build(settings, capacity, recording_log()[0])
    yield app
    app.scratch.cleanup()
    app.store.close()
    app.publisher.close()
    app.subscriber.close()


def test_a_silent_storage_holds_deliveries_and_the_drain_gives_them_back(app: App) -> None:
    app.storage._answered_at -= SILENT_SECONDS + 1
    answers = handle_one(app)
    assert answers == []
    app.consumer._scheduler.close_admission()
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


def handle_one(app: App) -> list[str]:
    """Begin to handle a delivery; the answer turns up in the list."""
    answers: list[str] = []
    delivery = Delivery(
        message_id="1",
        # An event to be ignored: handled, it is acked without a request to anybody.
        data=b"",
        attributes={"eventType": "OBJECT_ARCHIVE", "bucketId": "originals", "objectId": "a.jpg"},
        send_ack=lambda: answers.append("ack"),
        send_nack=lambda: answers.append("nack"),
    )
    handling = threading.Thread(target=app.consumer._handle, args=(delivery,), daemon=True)
    handling.start()
    handling.join(0.2)
    return answers
