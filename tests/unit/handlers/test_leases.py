"""Leases: what is held since when, on a clock that only the test moves."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.support.stubs import Ticks, delivery
from worker.handlers.leases import Leases


def test_the_oldest_counts_until_it_is_let_go() -> None:
    ticks = Ticks()
    leases = Leases(clock=ticks)
    assert (leases.oldest_seconds, leases.longest_handling_seconds) == (0.0, 0.0)
    with leases.hold(delivery()):
        ticks.now += 5
        with leases.hold(delivery()) as second:
            second.begin()
            ticks.now += 2
            assert leases.oldest_seconds == 7.0
            assert leases.longest_handling_seconds == 2.0
        assert leases.longest_handling_seconds == 0.0
    assert leases.oldest_seconds == 0.0


def test_what_has_its_answer_is_leased_no_more() -> None:
    ticks = Ticks()
    leases = Leases(clock=ticks)
    with leases.hold(delivery()) as lease:
        lease.begin()
        ticks.now += 3
        lease.delivery.nack()
        assert leases.oldest_seconds == 0.0
        assert leases.longest_handling_seconds == 3.0


def test_the_same_delivery_twice_is_two_leases() -> None:
    leases, twice = Leases(), delivery()
    with ExitStack() as stack:
        stack.enter_context(leases.hold(twice))
        with leases.hold(twice):
            assert len(leases._now()) == 2
        assert len(leases._now()) == 1


def test_a_handler_that_fails_lets_go() -> None:
    leases = Leases()
    with pytest.raises(KeyError), leases.hold(delivery()):
        raise KeyError
    assert leases._now() == []
