"""Alive and ready: alive means progress, or waiting for a good reason."""

from __future__ import annotations

import pytest

from tests.support.stubs import DRAIN_SECONDS, HANDLING_SECONDS, Parts, delivery
from worker.service.liveness import START_SECONDS, STILL_SECONDS, STUCK_FACTOR, Phase


@pytest.fixture
def parts() -> Parts:
    parts = Parts()
    parts.liveness.enter(Phase.RUNNING)
    return parts


def failing(conditions: dict[str, bool]) -> list[str]:
    return [name for name, holds in conditions.items() if not holds]


@pytest.mark.parametrize(
    ("phase", "stream_open", "pool_alive", "ready", "alive"),
    [
        (Phase.STARTING, False, False, False, True),
        (Phase.STARTING, True, True, False, True),
        (Phase.RUNNING, True, True, True, True),
        (Phase.RUNNING, False, True, False, False),
        (Phase.RUNNING, True, False, False, True),
        (Phase.DRAINING, False, True, False, True),
        (Phase.DRAINING, True, True, False, True),
    ],
)
def test_alive_and_ready_by_phase(
    parts: Parts, phase: Phase, *, stream_open: bool, pool_alive: bool, ready: bool, alive: bool
) -> None:
    parts.liveness.enter(phase)
    parts.consumer.open = stream_open
    parts.pool.alive = pool_alive
    assert all(parts.liveness.ready().values()) is ready
    assert all(parts.liveness.alive().values()) is alive


def test_a_pool_whose_slots_are_lost_is_not_alive(parts: Parts) -> None:
    parts.pool.serving = False
    assert failing(parts.liveness.alive()) == ["can_progress"]


@pytest.mark.parametrize("service", ["pubsub", "storage"])
def test_a_stuck_network_is_unready_and_not_dead(parts: Parts, service: str) -> None:
    getattr(parts, service).reachable = False
    assert failing(parts.liveness.ready()) == [f"{service}_reachable"]
    assert failing(parts.liveness.alive()) == []


def test_the_brake_makes_it_unready_and_not_dead(parts: Parts) -> None:
    parts.brake.on = True
    assert failing(parts.liveness.ready()) == ["brake_off"]
    assert failing(parts.liveness.alive()) == []


def test_a_daemon_that_looks_no_more_is_dead_until_it_looks_again(parts: Parts) -> None:
    parts.ticks.now += STILL_SECONDS + 2 * DRAIN_SECONDS
    assert failing(parts.liveness.alive()) == []
    parts.ticks.now += 1
    assert failing(parts.liveness.alive()) == ["daemon_looks"]
    parts.liveness.looked()
    assert failing(parts.liveness.alive()) == []


@pytest.mark.parametrize(
    ("phase", "patience"),
    [(Phase.STARTING, START_SECONDS), (Phase.DRAINING, STILL_SECONDS + 2 * DRAIN_SECONDS)],
)
def test_a_start_and_a_drain_have_an_end_too(parts: Parts, phase: Phase, patience: float) -> None:
    parts.liveness.enter(phase)
    parts.ticks.now += patience
    assert failing(parts.liveness.alive()) == []
    parts.ticks.now += 1
    assert failing(parts.liveness.alive()) == ["daemon_looks"]


def test_a_message_that_is_handled_far_too_long_is_stuck(parts: Parts) -> None:
    with parts.leases.hold(delivery()) as lease:
        lease.begin()
        after(parts, STUCK_FACTOR * HANDLING_SECONDS)
        assert failing(parts.liveness.alive()) == []
        after(parts, 1)
        assert failing(parts.liveness.alive()) == ["nothing_stuck"]
        # That its answer has been given meanwhile does not bring its thread back.
        lease.delivery.nack()
        assert failing(parts.liveness.alive()) == ["nothing_stuck"]
    assert failing(parts.liveness.alive()) == []


def test_a_message_that_waits_for_a_silent_storage_is_not(parts: Parts) -> None:
    with parts.leases.hold(delivery()) as lease:
        after(parts, 100 * HANDLING_SECONDS)
        assert failing(parts.liveness.alive()) == []
        lease.begin()
        after(parts, HANDLING_SECONDS)
        assert failing(parts.liveness.alive()) == []


def after(parts: Parts, seconds: float) -> None:
    parts.ticks.now += seconds
    parts.liveness.looked()
