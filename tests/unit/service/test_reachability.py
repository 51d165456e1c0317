"""Reachability by a clock that a test moves: judged by the last answer, told once, held through."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.support.fakes import recording_log
from tests.support.waiting import eventually
from worker.service.reachability import (
    LOOK_AGAIN_SECONDS,
    LOOK_EVERY_SECONDS,
    SILENT_SECONDS,
    Reachability,
)


class Service:
    """A service that answers, fails, or hangs; and the clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.error: Exception | None = None
        self.looks = 0
        self.gate = threading.Event()
        self.gate.set()
        self.log, self.entries = recording_log()
        self.reachability = Reachability("Pub/Sub", self._look, self.log, clock=lambda: self.now)

    def _look(self) -> None:
        self.looks += 1
        self.gate.wait()
        if self.error is not None:
            raise self.error

    def told(self) -> list[str]:
        self.reachability.log_changes()
        return [str(entry["event"]) for entry in self.entries]


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.reachability.stop()
    service.gate.set()


def test_it_is_reachable_until_it_has_been_silent_for_too_long(service: Service) -> None:
    service.error = ConnectionError("timed out")
    service.now += SILENT_SECONDS
    assert service.reachability.look() == LOOK_AGAIN_SECONDS
    assert service.reachability.reachable
    service.now += 0.1
    assert not service.reachability.reachable


def test_an_answer_makes_it_reachable_at_once(service: Service) -> None:
    service.now += 10 * SILENT_SECONDS
    assert not service.reachability.reachable
    assert service.reachability.look() == LOOK_EVERY_SECONDS
    assert service.reachability.reachable


def test_an_answer_counts_from_when_it_came(service: Service) -> None:
    def slow() -> None:
        service.now += 10 * SILENT_SECONDS

    slowly = Reachability("Pub/Sub", slow, service.log, clock=lambda: service.now)
    slowly.look()
    assert slowly.reachable


def test_one_failed_look_is_no_outage() -> None:
    assert LOOK_EVERY_SECONDS + LOOK_AGAIN_SECONDS < SILENT_SECONDS


def test_both_turns_are_told_once_with_how_long_it_was(service: Service) -> None:
    service.reachability.look()
    assert service.told() == []
    service.error = ConnectionError("timed out")
    service.reachability.look()
    service.now += SILENT_SECONDS + 1
    assert service.told() == service.told() == ["unreachable"]
    service.now += 40
    service.error = None
    service.reachability.look()
    assert service.told() == service.told() == ["unreachable", "reachable again"]
    gone, back = service.entries
    assert (gone["level"], gone["service"], gone["detail"]) == (
        "warning",
        "Pub/Sub",
        "timed out",
    )
    assert gone["silent_seconds"] == SILENT_SECONDS + 1
    assert (back["level"], back["silent_seconds"]) == ("info", SILENT_SECONDS + 41)


def test_a_look_that_never_returns_makes_it_unreachable(service: Service) -> None:
    service.gate.clear()
    service.reachability.start()
    eventually(lambda: service.looks, "it is being looked at")
    assert service.reachability.reachable
    service.now += SILENT_SECONDS + 1
    assert not service.reachability.reachable
    assert service.told() == ["unreachable"]
    assert service.entries[0]["detail"] == "a look does not return"
    service.gate.set()
    eventually(lambda: service.reachability.reachable, "its answer counts, late as it is")


def test_it_is_looked_at_again_and_again_until_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.service.reachability.LOOK_EVERY_SECONDS", 0)
    service = Service()
    others = set(threading.enumerate())
    service.reachability.start()
    # Before it is stopped: it may end at once.
    (thread,) = (each for each in {*threading.enumerate()} - others if each.name == "Pub/Sub")
    eventually(lambda: service.looks > 2, "it is looked at again")
    service.reachability.stop()
    thread.join(10)
    assert not thread.is_alive()
