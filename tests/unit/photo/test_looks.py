"""Efforts and tuning of each rung."""

from __future__ import annotations

import itertools

import pytest

from worker.photo.ladder import RungSize
from worker.photo.looks import EFFORTS, Looks, Tuning

DEFAULTS = Looks(quality=80, effort=4, full_effort=2)


def size(rung: str, width: int, height: int) -> RungSize:
    return RungSize(rung=rung, width=width, height=height)


@pytest.mark.parametrize("longest", [320, 640, 2560])
def test_a_careful_method_is_left_as_it_is(longest: int) -> None:
    tuning = DEFAULTS.tuning(size(str(longest), longest, 200))
    assert tuning == Tuning(quality=80, method=4)


def test_a_fast_method_is_tuned_unless_the_picture_is_small() -> None:
    tuned = DEFAULTS.tuning(size("full", 480, 640))
    assert tuned == Tuning(quality=80, method=2, sns_strength=70, filter_strength=90)
    assert DEFAULTS.tuning(size("full", 639, 480)) == Tuning(quality=80, method=2)


def test_the_points_go_from_fast_to_small() -> None:
    efforts = list(EFFORTS.values())
    for one, other in itertools.pairwise(efforts):
        assert all(a <= b for a, b in zip(one, other, strict=True))
    assert list(EFFORTS) == ["fast", "balanced", "compact", "small"]
