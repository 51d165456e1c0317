"""What a draining scheduler gives back, and when: a nack on an open stream comes straight back."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import structlog

from worker.pubsub.scheduler import DrainingScheduler


class Message:
    def __init__(self) -> None:
        self.nacks = 0
        self.message_id = "m"

    def nack(self) -> None:
        self.nacks += 1


@pytest.fixture
def scheduler() -> Iterator[DrainingScheduler]:
    scheduler = DrainingScheduler(1, 5.0, lambda: None, structlog.get_logger())
    yield scheduler
    scheduler.shutdown()


def test_what_has_not_begun_is_given_back_at_once(scheduler: DrainingScheduler) -> None:
    release, begun = threading.Event(), threading.Event()

    def handle(_message: Message) -> None:
        begun.set()
        release.wait()

    running, queued = Message(), Message()
    scheduler.schedule(handle, running)
    assert begun.wait(10)
    scheduler.schedule(handle, queued)
    scheduler.refuse_new()
    assert (running.nacks, queued.nacks) == (0, 1)
    release.set()


def test_what_arrives_during_a_drain_is_given_back_once_and_only_when_the_stream_is_closed(
    scheduler: DrainingScheduler,
) -> None:
    handled: list[Message] = []
    scheduler.refuse_new()
    late = Message()
    scheduler.schedule(handled.append, late)
    assert late.nacks == 0, "on the open stream it would come back, and lose an attempt each time"
    scheduler.shutdown()
    assert late.nacks == 1

    latest = Message()
    scheduler.schedule(handled.append, latest)
    assert latest.nacks == 1
    scheduler.shutdown()
    assert (late.nacks, latest.nacks, handled) == (1, 1, [])
