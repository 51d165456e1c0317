"""A delivery's one answer: the first counts, from whichever thread it comes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.stubs import delivery
from worker.photo.delivery import Delivery


@pytest.mark.parametrize("first", ["ack", "nack"])
@pytest.mark.parametrize("second", ["ack", "nack"])
def test_the_first_answer_counts(first: str, second: str) -> None:
    sent: list[str] = []
    one = delivery(sent)
    assert not one.settled
    assert getattr(one, first)() is True
    assert one.settled
    assert getattr(one, second)() is False
    assert sent == [first]


def test_of_many_threads_one_answers() -> None:
    threads = 8
    barrier = threading.Barrier(threads)
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(50):
            sent: list[str] = []
            one = delivery(sent)

            def answer(number: int, one: Delivery = one) -> bool:
                barrier.wait(timeout=10)
                return one.ack() if number % 2 else one.nack()

            assert sum(pool.map(answer, range(threads))) == 1
            assert len(sent) == 1


def test_an_answer_that_fails_to_be_sent_is_not_sent_twice() -> None:
    def fail() -> None:
        raise ConnectionError

    sent: list[str] = []
    one = Delivery(
        message_id="1",
        data=b"",
        attributes={},
        send_ack=fail,
        send_nack=lambda: sent.append("nack"),
    )
    with pytest.raises(ConnectionError):
        one.ack()
    assert one.nack() is False
    assert sent == []


def test_neither_callbacks_nor_locks_are_printed() -> None:
    assert "send" not in repr(delivery([]))
    assert "lock" not in repr(delivery([]))
