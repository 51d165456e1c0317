"""Attributes: whatever a message has, its dead letter and its replay can be published."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.photo.attributes import FOLDED, folded, unfolded

NOTIFICATION = ("eventType", "bucketId", "objectId", "objectGeneration", "overwrittenByGeneration")
ADDED = {"dead_letter_reason": "r", "dead_letter_message": "m", "dead_letter_worker": "w"}

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)
values = st.integers(0, 1024).map("v".__mul__) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=256
)
messages = st.dictionaries(names | st.sampled_from(NOTIFICATION), values, min_size=80, max_size=100)


@given(messages)
def test_what_pubsub_took_it_takes_again(own: dict[str, str]) -> None:
    sent = folded(own, ADDED)
    assert len(sent) <= 96
    assert all(len(value.encode()) <= 1024 for value in sent.values())
    assert sent.items() >= ADDED.items()
    back = unfolded(sent)
    assert back.items() <= (own | ADDED).items()
    assert {name: back.get(name) for name in NOTIFICATION} == {
        name: own.get(name) for name in NOTIFICATION
    }


@given(st.dictionaries(st.sampled_from([f"n{number}" for number in range(100)]), st.just("v")))
def test_small_attributes_all_come_back(own: dict[str, str]) -> None:
    assert unfolded(folded(own, ADDED)) == own | ADDED
    # As by a replay that fails again.
    assert unfolded(folded(folded(own, ADDED), ADDED)) == own | ADDED
    assert (FOLDED in folded(own, ADDED)) == (len(own) > 93)


def test_the_largest_that_do_not_fit_are_left_out() -> None:
    own = {f"n{number}": "x" * 1024 for number in range(100)}
    sent = folded(own, ADDED)
    assert len(sent) == 96
    assert sent[FOLDED] == "{}"


@pytest.mark.parametrize("odd", ["", "[]", "{", "[" * 1000, '{"a": 1}', "null"])
def test_an_attribute_of_that_name_that_is_none_of_ours(odd: str) -> None:
    assert unfolded({FOLDED: odd, "a": "b"}) == {FOLDED: odd, "a": "b"}
