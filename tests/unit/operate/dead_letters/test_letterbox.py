"""Letterbox: what is held, shown, acked and given back, over a subscription in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from google.api_core import exceptions as api

from tests.support.fakes import Clock, recording_log
from tests.support.letters import DEAD_AT, FakeSubscription, letter
from tests.support.waiting import eventually
from worker.errors import ConfigurationError, PubSubUnavailable, SubscriptionUnavailable
from worker.operate.dead_letters.letterbox import Letterbox
from worker.photo.dead_letter import DeadLetter

errors: Any = api
"""Google's exceptions, whose constructors have no types."""

NAME = "projects/p/subscriptions/dead"


class Reading:
    """A letterbox on a fake subscription, and what was logged."""

    def __init__(self, fake: FakeSubscription, *, lease_seconds: int = 60) -> None:
        self.log, self.entries = recording_log()
        self.clock = Clock()
        self.letterbox = Letterbox(
            fake.client,
            NAME,
            self.log,
            lease_seconds=lease_seconds,
            quiet_seconds=4.0,
            clock=self.clock,
            monotonic=fake.monotonic,
        )

    @contextmanager
    def open(self) -> Iterator[Letterbox]:
        with self.letterbox as letterbox:
            yield letterbox


def ids(page: list[DeadLetter]) -> str:
    return " ".join(each.message_id for each in page)


def letters(*names: str) -> list[DeadLetter]:
    return [letter(name) for name in names]


def test_all_is_held_and_given_back() -> None:
    fake = FakeSubscription(letters("1", "2"), [], letters("3"))
    with Reading(fake).open() as letterbox:
        assert [ids(page) for page in letterbox.pages()] == ["1 2", "3"]
        assert fake.deadlines == [("ack-1", 60), ("ack-2", 60), ("ack-3", 60)]
    assert fake.deadlines[3:] == [("ack-1", 0), ("ack-2", 0), ("ack-3", 0)]
    assert fake.acked == []


def test_quiet_for_a_while_is_the_end() -> None:
    fake = FakeSubscription(letters("1"))
    with Reading(fake).open() as letterbox:
        assert len(list(letterbox.pages())) == 1
    assert fake.seconds == 5.0


def test_an_answer_that_does_not_come_is_an_empty_one() -> None:
    fake = FakeSubscription(errors.DeadlineExceeded("late"), letters("1"))
    with Reading(fake).open() as letterbox:
        assert [ids(page) for page in letterbox.pages()] == ["1"]


def test_what_was_acked_is_not_given_back() -> None:
    fake = FakeSubscription(letters("1", "2", "3"))
    with Reading(fake).open() as letterbox:
        for page in letterbox.pages():
            letterbox.ack(page[:2])
    assert fake.acked == ["ack-1", "ack-2"]
    assert fake.deadlines[3:] == [("ack-3", 0)]


def test_a_letter_that_comes_twice_is_shown_once_and_acked_by_its_newest_lease() -> None:
    fake = FakeSubscription(letters("1", "2"), letters("1", "1"))
    reading = Reading(fake)
    with reading.open() as letterbox:
        pages = list(letterbox.pages())
        assert reading.entries[-1]["letters"] == 2
        assert [ids(page) for page in pages] == ["1 2"]
        letterbox.ack(pages[0])
    assert sorted(fake.acked) == ["ack-2", "ack-4"]


def test_a_letter_that_comes_twice_within_a_page_is_shown_once() -> None:
    fake = FakeSubscription(letters("1", "1"))
    with Reading(fake).open() as letterbox:
        assert [ids(page) for page in letterbox.pages()] == ["1"]


def test_what_comes_again_behind_its_ack_is_acked_again() -> None:
    """Its lease had run out when it was acked, so Pub/Sub did not count that."""
    fake = FakeSubscription(letters("1"), letters("1"))
    reading = Reading(fake)
    with reading.open() as letterbox:
        for page in letterbox.pages():
            letterbox.ack(page)
    assert fake.acked == ["ack-1", "ack-2"]
    assert ("ack-2", 0) not in fake.deadlines
    assert reading.entries == []


def test_what_arrives_while_it_runs_is_held_and_not_shown() -> None:
    late = letter("2", at=Clock()() + timedelta(seconds=1))
    fake = FakeSubscription(letters("1"), [late])
    with Reading(fake).open() as letterbox:
        assert [ids(page) for page in letterbox.pages()] == ["1"]
        assert letterbox.arrived == 1
    assert ("ack-2", 0) in fake.deadlines


def test_a_stream_of_arrivals_does_not_keep_it_going() -> None:
    late = Clock()() + timedelta(seconds=1)
    fake = FakeSubscription(*([letter(str(number), at=late)] for number in range(1000)))
    with Reading(fake).open() as letterbox:
        assert list(letterbox.pages()) == []
    assert fake.seconds == 4.0


def test_a_replay_that_failed_again_is_for_another_run() -> None:
    """Whatever the clocks say: this one is an hour slow."""
    again = letter("2", attributes={"replay_of": "1", "replay_count": "1"})
    other = letter("3", attributes={"replay_of": "0", "replay_count": "1"})
    fake = FakeSubscription(letters("1"), [again, other])
    with Reading(fake).open() as letterbox:
        shown = []
        for page in letterbox.pages():
            letterbox.ack(page)
            shown.append(ids(page))
        assert shown == ["1", "3"]
        assert letterbox.arrived == 1


def test_large_messages_are_asked_for_in_small_pages() -> None:
    large = [letter("1", b"x" * 8_000_000), letter("2", b"x" * 8_000_000)]
    fake = FakeSubscription(letters("0"), large, letters("3"))
    with Reading(fake).open() as letterbox:
        list(letterbox.pages())
    assert fake.asked[:4] == [100, 1000, 2, 1000]


def test_leases_are_extended_while_they_are_held() -> None:
    fake = FakeSubscription(letters("1", "2"))
    with Reading(fake, lease_seconds=0).open() as letterbox:
        for page in letterbox.pages():
            letterbox.ack(page[:1])
            before = len(fake.deadlines)
            eventually(lambda before=before: len(fake.deadlines) > before + 3, "extensions")  # type: ignore[misc]
    assert fake.deadlines[-2:] == [("ack-2", 0), ("ack-2", 0)]


def test_an_extension_that_fails_is_logged_and_tried_again() -> None:
    fake = FakeSubscription(letters("1"))
    reading = Reading(fake, lease_seconds=0)
    with reading.open() as letterbox:
        for _ in letterbox.pages():
            fake.errors["modify_ack_deadline"] = errors.ServiceUnavailable("503")
            eventually(lambda: len(reading.entries) > 1, "two warnings")
            del fake.errors["modify_ack_deadline"]
    assert reading.entries[0]["event"] == "leases were not extended"


def test_what_cannot_be_given_back_is_said() -> None:
    fake = FakeSubscription(letters("1"))
    reading = Reading(fake)
    with reading.open() as letterbox:
        list(letterbox.pages())
        fake.errors["modify_ack_deadline"] = errors.ServiceUnavailable("503")
    assert reading.entries[-1]["event"] == "could not give back what was held"


def test_silence_at_the_end_is_no_empty_subscription() -> None:
    fake = FakeSubscription(letters("1"))
    with Reading(fake).open() as letterbox:
        pages = letterbox.pages()
        assert ids(next(pages)) == "1"
        fake.errors["get_subscription"] = errors.RetryError("timed out", cause=None)
        with pytest.raises(PubSubUnavailable, match="timed out"):
            next(pages)


@pytest.mark.parametrize("verb", ["get_subscription", "pull", "acknowledge"])
@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (errors.NotFound("gone"), SubscriptionUnavailable),
        (errors.Unauthenticated("no"), SubscriptionUnavailable),
        (errors.ServiceUnavailable("503"), PubSubUnavailable),
        (errors.RetryError("timed out", cause=None), PubSubUnavailable),
    ],
    ids=lambda each: getattr(each, "__name__", type(each).__name__),
)
def test_googles_errors_end_here(verb: str, error: Exception, raised: type[Exception]) -> None:
    fake = FakeSubscription(error if verb == "pull" else letters("1"))
    if verb != "pull":
        fake.errors[verb] = error

    def read() -> None:
        with Reading(fake).open() as letterbox:
            for page in letterbox.pages():
                letterbox.ack(page)

    with pytest.raises(raised, match=NAME):
        read()


def test_who_may_not_look_may_still_pull() -> None:
    fake = FakeSubscription(letters("1"))
    fake.errors["get_subscription"] = errors.PermissionDenied("no")
    with Reading(fake).open() as letterbox:
        assert [ids(page) for page in letterbox.pages()] == ["1"]
        assert letterbox.retention is None


def test_how_long_letters_are_kept() -> None:
    fake = FakeSubscription()
    fake.settings.message_retention_duration = timedelta(days=7)
    with Reading(fake).open() as letterbox:
        assert letterbox.retention == timedelta(days=7)


def test_a_subscription_that_would_move_its_letters_on_is_refused() -> None:
    fake = FakeSubscription(letters("1"))
    fake.settings.dead_letter_policy = SimpleNamespace(dead_letter_topic="projects/p/topics/t")
    with pytest.raises(ConfigurationError, match="dead-letter policy of its own"):
        Reading(fake).letterbox.__enter__()
    assert fake.asked == []


def test_more_than_a_request_takes_is_acked_and_given_back_in_several() -> None:
    many = letters(*map(str, range(2500)))
    fake = FakeSubscription(many[:900], many[900:1800], many[1800:])
    with Reading(fake).open() as letterbox:
        for _ in letterbox.pages():
            pass
        letterbox.ack(iter(many[:2100]))
        assert len(fake.acked) == 2100
    assert len(fake.deadlines) == 2500 + 400
    assert {seconds for _, seconds in fake.deadlines[2500:]} == {0}


def test_a_letter_of_long_ago() -> None:
    fake = FakeSubscription([letter("1", at=DEAD_AT - timedelta(days=31))])
    with Reading(fake).open() as letterbox:
        assert [ids(page) for page in letterbox.pages()] == ["1"]
