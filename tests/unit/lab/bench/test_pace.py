"""Who used the cores, and what that says."""

from __future__ import annotations

import os

import pytest

from worker.lab.bench.pace import Spent, shares, what_limits

FIGURES = ("at", "parent", "children", "servers", "bench", "machine", "stolen", "working")
NOTHING: Spent = dict.fromkeys(FIGURES, 0.0)


def after_ten_seconds(**spent: float) -> Spent:
    return {**NOTHING, "at": 10.0, **spent}


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def test_children_are_of_the_slots_the_others_of_the_machine() -> None:
    ended = after_ten_seconds(children=9.0, servers=2.0, machine=19.0, stolen=0.5)
    found = shares(NOTHING, ended, slots=1)
    assert found["children_of_slots"] == 0.9
    assert found["children_of_cores"] == 0.45
    assert found["servers_of_cores"] == 0.1
    assert found["busy_of_cores"] == 0.95
    assert found["stolen_of_cores"] == 0.025


@pytest.mark.parametrize(
    ("ended", "slots", "said"),
    [
        (after_ten_seconds(children=19.2, machine=19.9), 2, "the slots"),
        (after_ten_seconds(children=16.0, servers=3.0, machine=19.9), 2, "server take 15%"),
        (after_ten_seconds(children=14.0, machine=19.9), 2, "host 30%"),
        (after_ten_seconds(children=6.0, machine=19.8), 1, "host 69%"),
        (after_ten_seconds(children=12.0, machine=13.0, working=19.8), 2, "the cores"),
        (after_ten_seconds(children=12.0, machine=13.0, working=15.0), 2, "for 25%"),
    ],
)
def test_what_limits_is_said(ended: Spent, slots: int, said: str) -> None:
    assert said in what_limits(shares(NOTHING, ended, slots))
