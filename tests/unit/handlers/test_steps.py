"""Seconds by step, on a clock that only the test moves."""

from __future__ import annotations

import pytest

from tests.support.stubs import Ticks
from worker.handlers.steps import Steps
from worker.photo.ports import RenderCost


def test_a_step_adds_up_over_its_blocks() -> None:
    ticks = Ticks()
    steps = Steps(clock=ticks)
    for seconds in (1.25, 0.5):
        with steps.time("download"):
            ticks.now += seconds
    ticks.now += 10
    assert steps.seconds == {"download": 1.75}


def test_a_step_that_raises_counts_too() -> None:
    ticks = Ticks()
    steps = Steps(clock=ticks)

    def commit() -> None:
        with steps.time("commit"):
            ticks.now += 2
            raise KeyError

    with pytest.raises(KeyError):
        commit()
    assert steps.seconds == {"commit": 2.0}


def test_steps_nest() -> None:
    ticks = Ticks()
    steps = Steps(clock=ticks)
    with steps.time("total"):
        ticks.now += 1
        with steps.time("download"):
            ticks.now += 2
    assert steps.seconds == {"download": 2.0, "total": 3.0}


def test_fields_are_the_log_lines() -> None:
    ticks = Ticks()
    steps = Steps(clock=ticks)
    with steps.time("download"):
        ticks.now += 0.12345
    steps.note_render(
        bytes_in=10, bytes_out=5, cost=RenderCost(seconds=1.0, cpu_seconds=0.9, peak_bytes=7)
    )
    steps.facts["photo_id"] = "a"
    assert steps.fields() == {
        "seconds": {"download": 0.123, "render": 1.0},
        "bytes_in": 10,
        "bytes_out": 5,
        "render_cpu_seconds": 0.9,
        "child_peak_bytes": 7,
        "photo_id": "a",
    }
