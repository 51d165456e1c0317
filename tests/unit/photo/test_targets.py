"""Which quality is tried next: near enough in few trials, never beyond the bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.photo.targets import (
    CEILING,
    FLOOR,
    LOG_BYTES,
    MOST_TRIALS,
    SCORE_OVER,
    SCORES,
    STEP,
    Curve,
    approach,
    bytes_window,
    ceiling,
    near,
    offset_of_next,
    settle,
)

OFFSETS = st.floats(-3.0, 3.0)
SLOPES = st.floats(0.6, 1.6)


def steeper(curve: Curve, slope: float, offset: float) -> Curve:
    """What a photo makes of the usual curve."""
    return Curve(curve.qualities, tuple(slope * value + offset for value in curve.values))


@pytest.mark.parametrize("curve", [LOG_BYTES, SCORES])
@given(quality=st.floats(10, 100))
def test_a_curve_is_read_both_ways(curve: Curve, quality: float) -> None:
    assert curve.reaching(curve.at(quality)) == pytest.approx(quality)
    assert curve.reaching(-1e6) == curve.qualities[0]
    assert curve.reaching(1e6) == curve.qualities[-1]


@given(slope=SLOPES, offset=OFFSETS, guess=OFFSETS, most=st.floats(-2.0, 2.0))
def test_bytes_are_met_from_below_where_they_can_be(
    slope: float, offset: float, guess: float, most: float
) -> None:
    photo = steeper(LOG_BYTES, slope, offset)
    tried = approach(
        photo.at, curve=LOG_BYTES, window=bytes_window(most), offset=guess, bounds=(FLOOR, 80.0)
    )
    assert 1 <= len(tried) <= MOST_TRIALS
    assert all(FLOOR <= quality <= 80.0 for quality in tried)
    fitting = [value for value in tried.values() if value <= most]
    if photo.at(80.0) <= most:
        assert 80.0 in tried or any(value > most - 0.05 for value in fitting)
    elif photo.at(FLOOR + 5) <= most:
        # A step of the quality may be larger than the window.
        assert max(fitting) >= most - 0.25
    elif photo.at(FLOOR) > most:
        assert min(tried) == FLOOR


@given(offset=OFFSETS)
def test_who_knows_the_photo_needs_one_trial(offset: float) -> None:
    photo = steeper(LOG_BYTES, 1.0, offset)
    window = bytes_window(photo.at(61.0))
    tried = approach(photo.at, curve=LOG_BYTES, window=window, offset=offset, bounds=(FLOOR, 80.0))
    assert len(tried) == 1


def test_what_is_known_is_not_tried_again() -> None:
    asked = []

    def measure(quality: float) -> float:
        asked.append(quality)
        return LOG_BYTES.at(quality)

    tried = approach(
        measure,
        curve=LOG_BYTES,
        window=bytes_window(-0.5),
        offset=2.0,
        bounds=(FLOOR, 80.0),
        known={80.0: 0.0},
    )
    assert len(asked) == 1
    assert -0.55 <= tried[asked[0]] <= -0.5


@given(slope=st.floats(0.8, 1.25), offset=st.floats(-8, 8), score=st.floats(45, 85))
def test_a_score_is_settled_within_a_point_of_where_it_belongs(
    slope: float, offset: float, score: float
) -> None:
    """A photo whose curve is as much steeper or flatter as photos are, about the same middle."""
    middle = SCORES.at(75.0)
    photo = steeper(SCORES, slope, offset + middle - slope * middle)
    bounds = (FLOOR, ceiling(score))
    tried = approach(photo.at, curve=SCORES, window=near(score), offset=0.0, bounds=bounds)
    settled = settle(tried, score)
    assert bounds[0] <= settled <= bounds[1]
    assert len(tried) <= 3
    if photo.at(bounds[0]) < score < photo.at(bounds[1]) - 1:
        # The usual slope over at most five points, and the rounding of the quality.
        assert -1.0 <= photo.at(settled) - score <= SCORE_OVER + 1.0


def test_a_trial_that_is_near_enough_settles_it() -> None:
    assert settle({70.0: 68.0, 78.0: 74.6}, 74.0) == 78.0
    told = settle({70.0: 68.0, 78.0: 71.6}, 74.0)
    assert 78.0 < told < 84.0
    assert told % STEP == 0


def test_a_score_out_of_reach_gets_what_a_harder_photo_would() -> None:
    tried = approach(
        lambda _quality: 40.0,
        curve=SCORES,
        window=near(70.0),
        offset=0.0,
        bounds=(FLOOR, ceiling(70.0)),
    )
    assert settle(tried, 70.0) == ceiling(70.0) == max(tried)
    assert 85 < ceiling(70.0) < 95
    assert ceiling(90.0) == CEILING


def test_a_larger_rung_of_a_photo_has_more_bytes_but_not_as_many_more() -> None:
    more = offset_of_next(1.0, 100, 400) - 1.0
    assert math.log(2) < more < math.log(4)
    assert offset_of_next(1.0, 100, 100) == 1.0
