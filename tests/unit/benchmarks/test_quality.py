"""Scores become means, differences, and bytes at equal scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.rivals.contenders import OURS
from benchmarks.rivals.quality import (
    bytes_at_score,
    geometric_mean,
    scored_rungs,
    summarise,
)
from benchmarks.rivals.scores import ScoredRendition
from tests.support.pictures import corners_jpeg
from worker.lab.bench.photos import read_photo
from worker.photo.ladder import Ladder


def rendition(contender: str, photo: str, size_bytes: int, quality: int = 80) -> ScoredRendition:
    return ScoredRendition(
        photo=Path(photo),
        file=Path(contender, photo, f"{quality}.webp"),
        size_bytes=size_bytes,
        contender=contender,
        quality=quality,
        rung="320",
    )


def test_a_rival_is_held_against_our_bytes_at_its_score() -> None:
    scores = {
        rendition(OURS, "a", 100, 74): 68.0,
        rendition(OURS, "a", 200): 72.0,
        rendition(OURS, "a", 400, 86): 76.0,
        rendition("rival", "a", 400): 74.0,
        rendition(OURS, "b", 100): 70.0,
        rendition(OURS, "b", 300, 86): 80.0,
        rendition("rival", "b", 100): 70.5,
    }
    found = summarise(scores, 80)
    [row] = found["rival"]["rungs"]
    assert row["ssimulacra2"] == 72.25
    assert row["ours_ahead"] == -1.25
    assert row["ours_ahead_at_worst"] == -2.0
    # 200 * sqrt(2) bytes of ours are as good as its 400; and 100 * 3 ** 0.05 as its 100.
    assert row["our_bytes_at_equal_score"] == 0.8643
    assert found[OURS]["our_bytes_at_equal_score"] == 1.0


def test_without_a_curve_that_reaches_it_no_ratio_is_told() -> None:
    found = summarise({rendition(OURS, "a", 100): 70.0, rendition("rival", "a", 90): 75.0}, 80)
    assert found["rival"]["our_bytes_at_equal_score"] is None
    assert found["rival"]["rungs"][0]["ours_ahead"] == -5.0


def test_what_is_scored_is_no_larger_than_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(corners_jpeg(90, 120))
    photo = read_photo("a.jpg", tmp_path / "a.jpg")
    ladder = Ladder.parse("32,64,96")
    assert scored_rungs(ladder, photo, 64) == ["32", "64"]
    assert scored_rungs(ladder, photo, 120) == ["32", "64", "96", "full"]
    unknown = replace(photo, width=0, height=0)  # only a decoder could tell
    assert scored_rungs(ladder, unknown, 120) == []


def test_bytes_are_read_off_the_curve_in_logarithms() -> None:
    curve = [(80.0, 400.0), (60.0, 100.0), (70.0, 200.0)]
    assert bytes_at_score(curve, 70.0) == pytest.approx(200)
    assert bytes_at_score(curve, 75.0) == pytest.approx(200 * 2**0.5)
    assert bytes_at_score(curve, 60.0) == pytest.approx(100)


def test_nothing_is_told_beyond_the_curve() -> None:
    curve = [(60.0, 100.0), (70.0, 200.0)]
    assert bytes_at_score(curve, 59.9) is None
    assert bytes_at_score(curve, 70.1) is None
    assert bytes_at_score(curve[:1], 60.0) is None
    assert bytes_at_score([(60.0, 100.0), (60.0, 100.0)], 60.0) == pytest.approx(100)


def test_the_mean_of_ratios_is_geometric() -> None:
    assert geometric_mean([0.5, 2.0]) == 1.0
    assert geometric_mean([]) is None
