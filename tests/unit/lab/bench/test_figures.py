"""The arithmetic of measured runs."""

from __future__ import annotations

import pytest

from worker.errors import UsageFault
from worker.lab.bench.figures import (
    counts,
    in_order,
    in_turns,
    median,
    medians,
    ratio,
    sums,
)


def test_a_median_is_not_moved_by_one_bad_round() -> None:
    assert median([1.0, 900.0, 2.0]) == 2.0
    assert median([1.0, 2.00004], digits=2) == 1.5
    with pytest.raises(ValueError, match="no median"):
        median([])


def test_medians_are_of_what_all_rounds_have() -> None:
    rounds = [{"b": 1.0, "a": 3.0, "lost": 1.0}, {"a": 5.0, "b": 2.0}, {"a": 4.0, "b": 9.0}]
    assert list(medians(rounds).items()) == [("b", 2.0), ("a", 4.0)]


def test_ratios() -> None:
    assert ratio(3.0, 2.0) == 1.5
    assert ratio(3.0, 0.0) is None


def test_sums_are_of_the_figures_that_are_named() -> None:
    assert sums([{"a": 1, "b": 0.5, "c": 9}, {"b": 0.25}], ("b", "a")) == {"b": 0.75, "a": 1}


def test_rungs_are_in_order_of_their_size() -> None:
    assert in_order(["full", "1024", "320"]) == ["320", "1024", "full"]


@pytest.mark.parametrize(("text", "expected"), [("2", (2,)), ("1,2", (1, 2)), (" 4 , 1,4", (4, 1))])
def test_lists_of_counts(text: str, expected: tuple[int, ...]) -> None:
    assert counts(text, "--vcpus", least=1) == expected


@pytest.mark.parametrize("text", ["", "0", "1,", "1;2", "-1", "1.5", "two", "²"])
def test_what_is_no_list_of_counts_is_refused(text: str) -> None:
    with pytest.raises(UsageFault, match="--vcpus"):
        counts(text, "--vcpus", least=1)


def test_everybody_is_first_in_turns() -> None:
    ran: list[tuple[str, int]] = []
    in_turns(3, ["a", "b", "c"], lambda name, number: ran.append((name, number)))
    assert "".join(name for name, _ in ran) == "abc" + "bca" + "cab"
    assert [number for _, number in ran] == [0] * 3 + [1] * 3 + [2] * 3
