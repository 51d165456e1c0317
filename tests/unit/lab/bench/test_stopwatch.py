"""Stages are told apart, and no moment counts twice."""

from __future__ import annotations

import pytest

from worker.lab.bench.stopwatch import Stopwatch


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_stages_add_up_and_what_lies_between_them_is_nobodys() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    for seconds in (1.0, 2.0):
        with watch.stage("encode"):
            clock.now += seconds
        clock.now += 50
    with watch.stage("decode"):
        clock.now += 4
    assert watch.seconds == {"encode": 3.0, "decode": 4.0}


def test_a_stage_within_another_stops_the_outer_one() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    with watch.stage("encode"):
        clock.now += 1
        with watch.stage("resize"):
            clock.now += 10
        clock.now += 2
    assert watch.seconds == {"encode": 3.0, "resize": 10.0}


def fail_after(watch: Stopwatch, clock: Clock, seconds: float) -> None:
    with watch.stage("encode"):
        clock.now += seconds
        raise LookupError


def test_what_raises_counts_too() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    with pytest.raises(LookupError):
        fail_after(watch, clock, 3.0)
    clock.now += 7
    assert watch.seconds == {"encode": 3.0}
