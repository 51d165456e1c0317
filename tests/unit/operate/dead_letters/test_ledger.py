"""Ledger: what a run holds, and by which ack ids."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from worker.operate.dead_letters.ledger import Ledger


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    ledger = Ledger()
    yield ledger
    ledger.close()


def test_new_known_and_taken_are_told_apart(ledger: Ledger) -> None:
    first = ledger.enter([("1", "a"), ("2", "b")])
    assert (set(first.fresh), set(first.taken)) == ({"1", "2"}, set())
    ledger.take(["2"])
    again = ledger.enter([("1", "c"), ("2", "d"), ("3", "e")])
    assert (set(again.fresh), set(again.taken)) == ({"3"}, {"2"})
    assert ledger.taken(["1", "2", "4"]) == {"2"}


def test_the_newest_lease_counts(ledger: Ledger) -> None:
    ledger.enter([("1", "a"), ("1", "b")])
    ledger.enter([("2", "c"), ("1", "d")])
    assert sorted(ledger.ack_ids(["1", "2", "unknown"])) == ["c", "d"]
    assert list(ledger.held()) == [["d", "c"]]


def test_what_is_entered_while_it_is_read_is_read_too(ledger: Ledger) -> None:
    ledger.enter([("1", "a")])
    held = ledger.held()
    assert next(held) == ["a"]
    ledger.enter([("2", "b")])
    assert next(held) == ["b"]


def test_nothing(ledger: Ledger) -> None:
    assert list(ledger.held()) == []
    assert ledger.enter([]).fresh == frozenset()
    assert ledger.ack_ids([]) == []
