"""The embedded broker's state machine, on a clock that only the test moves."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from worker.lab.emulator.broker import Broker
from worker.lab.emulator.records import (
    DeadLetterPolicy,
    Faults,
    LeasedMessage,
    Message,
    NotFoundError,
    RetryPolicy,
    SubscriptionConfig,
    Topic,
)
from worker.lab.emulator.subscription import BATCH_BYTES, BrokerConsumer

TOPIC = "projects/p/topics/photos"
DEAD = "projects/p/topics/dead"
SUB = "projects/p/subscriptions/worker"
DEAD_SUB = "projects/p/subscriptions/dead"
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Bench:
    """A broker with a topic, and time in the test's hand."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.now = 1000.0
        self.woken: list[str] = []
        self.broker = Broker(
            clock=lambda: self.now,
            wall_clock=lambda: NOON + timedelta(seconds=self.now),
            faults=faults,
            wake=self.woken.append,
        )
        for topic in (TOPIC, DEAD):
            self.broker.create_topic(Topic(name=topic))
        self.config = SubscriptionConfig(name=SUB, topic=TOPIC)

    def subscribe(
        self,
        *,
        dead_letter: DeadLetterPolicy | None = None,
        retry: RetryPolicy | None = None,
        retain: bool = False,
    ) -> BrokerConsumer:
        config = replace(
            self.config, dead_letter=dead_letter, retry=retry, retain_acked_messages=retain
        )
        self.broker.create_subscription(config)
        return self.broker.attach(SUB)

    def publish(self, *data: bytes) -> list[str]:
        return self.broker.publish(TOPIC, [Message(data=item) for item in data])

    def take(self, consumer: BrokerConsumer, limit: int = 100) -> list[LeasedMessage]:
        return self.broker.take(consumer, limit)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.broker.advance()

    def nack(self, *deliveries: LeasedMessage) -> None:
        self.broker.modify_ack_deadline(SUB, [one.ack_id for one in deliveries], 0)

    def ack(self, *deliveries: LeasedMessage) -> None:
        self.broker.acknowledge(SUB, [one.ack_id for one in deliveries])


@pytest.fixture
def bench() -> Bench:
    return Bench()


def data(deliveries: list[LeasedMessage]) -> list[bytes]:
    return [one.message.data for one in deliveries]


def test_a_lease_expires_exactly_at_its_deadline(bench: Bench) -> None:
    consumer = bench.subscribe()
    bench.publish(b"x")
    [first] = bench.take(consumer)
    assert bench.broker.next_due() == 1010.0
    bench.pass_time(9.999)
    assert bench.take(consumer) == []
    bench.pass_time(0.001)
    [second] = bench.take(consumer)
    assert second.message == first.message
    assert second.ack_id != first.ack_id


def test_an_ack_after_the_deadline_is_too_late_even_if_nobody_looked(bench: Bench) -> None:
    consumer = bench.subscribe()
    bench.publish(b"x")
    held = bench.take(consumer)
    bench.now += 10
    bench.ack(*held)
    assert data(bench.take(consumer)) == [b"x"]


def test_nothing_is_due_once_everything_is_acked(bench: Bench) -> None:
    consumer = bench.subscribe()
    bench.publish(b"1", b"2")
    bench.ack(*bench.take(consumer))
    assert bench.broker.next_due() is None
    bench.pass_time(10_000)
    assert bench.take(consumer) == []


def test_attempts_count_nacks_and_expiries_only_with_a_dead_letter_policy(bench: Bench) -> None:
    policy = DeadLetterPolicy(topic=DEAD, max_delivery_attempts=5)
    consumer = bench.subscribe(dead_letter=policy)
    bench.publish(b"x")
    attempts = []
    for give_back in (bench.nack, lambda _: bench.pass_time(10)):
        [held] = bench.take(consumer)
        attempts.append(held.attempt)
        give_back(held)
    bench.broker.update_subscription(bench.config)
    [held] = bench.take(consumer)
    assert [*attempts, held.attempt] == [1, 2, 0]


def test_the_last_attempt_ends_on_the_dead_letter_topic(bench: Bench) -> None:
    policy = DeadLetterPolicy(topic=DEAD, max_delivery_attempts=5)
    consumer = bench.subscribe(dead_letter=policy)
    bench.broker.create_subscription(SubscriptionConfig(name=DEAD_SUB, topic=DEAD))
    dead = bench.broker.attach(DEAD_SUB)
    original = Message(data=b"x", attributes={"k": "v"}, ordering_key="o")
    [message_id] = bench.broker.publish(TOPIC, [original])
    for _ in range(5):
        assert bench.take(dead) == []
        bench.take(consumer)
        bench.woken.clear()
        bench.pass_time(10)
    # An expiry alone forwards it, and wakes those who wait there.
    assert DEAD_SUB in bench.woken
    [letter] = bench.take(dead)
    assert letter.message.message_id != message_id
    assert letter.message.publish_time == NOON + timedelta(seconds=1050)
    assert (letter.message.data, letter.message.ordering_key) == (b"x", "o")
    assert letter.message.attributes == {
        "k": "v",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": "worker",
        "CloudPubSubDeadLetterSourceSubscriptionProject": "p",
        "CloudPubSubDeadLetterSourceTopicPublishTime": "2026-05-01T12:16:40.000Z",
    }
    assert bench.take(consumer) == []


def test_without_its_dead_letter_topic_a_message_is_redelivered_for_ever(bench: Bench) -> None:
    policy = DeadLetterPolicy(topic=DEAD, max_delivery_attempts=5)
    consumer = bench.subscribe(dead_letter=policy)
    bench.broker.delete_topic(DEAD)
    bench.publish(b"x")
    for attempt in range(1, 9):
        [held] = bench.take(consumer)
        assert held.attempt == attempt
        bench.nack(held)


def test_backoff_doubles_up_to_its_maximum(bench: Bench) -> None:
    retry = RetryPolicy(minimum_backoff_seconds=2, maximum_backoff_seconds=10)
    consumer = bench.subscribe(retry=retry)
    bench.publish(b"x")
    for rest_seconds in (2, 4, 8, 10, 10):
        bench.nack(*bench.take(consumer))
        assert bench.broker.next_due() == bench.now + rest_seconds
        bench.pass_time(rest_seconds - 0.01)
        assert bench.take(consumer) == []
        bench.woken.clear()
        bench.pass_time(0.01)
        assert bench.woken == [SUB]
    assert data(bench.take(consumer)) == [b"x"]


def test_backoff_does_not_overflow() -> None:
    retry = RetryPolicy(minimum_backoff_seconds=1, maximum_backoff_seconds=600)
    assert retry.backoff_seconds(5000) == 600
    assert RetryPolicy(minimum_backoff_seconds=0, maximum_backoff_seconds=9).backoff_seconds(5) == 0


def test_flow_control_counts_what_is_held(bench: Bench) -> None:
    bench.subscribe()
    consumer = bench.broker.attach(SUB, max_messages=2)
    bench.publish(b"1", b"2", b"3", b"4", b"5", b"6")
    first, second = bench.take(consumer, 2)
    assert bench.take(consumer) == []
    bench.ack(first)
    [third] = bench.take(consumer)
    bench.nack(second)
    [fourth] = bench.take(consumer)
    assert bench.take(consumer) == []
    bench.broker.modify_ack_deadline(SUB, [third.ack_id, fourth.ack_id], 600)
    bench.pass_time(599)
    assert bench.take(consumer) == []
    bench.pass_time(1)
    assert len(bench.take(consumer)) == 2


def test_a_batch_is_bounded_in_bytes(bench: Bench) -> None:
    consumer = bench.subscribe()
    large, small = b"x" * (BATCH_BYTES + 1), b"x" * (BATCH_BYTES // 2)
    bench.publish(large, small, small, small)
    assert [len(bench.take(consumer)) for _ in range(4)] == [1, 2, 1, 0]


def test_consumers_get_fair_parts_and_leave_without_a_trace(bench: Bench) -> None:
    first = bench.subscribe()
    second = bench.broker.attach(SUB)
    bench.publish(*(b"%d" % n for n in range(10)))
    held = bench.take(first)
    assert len(held) == 5
    bench.broker.detach(first)
    assert bench.take(first) == []
    assert len(bench.take(second)) == 5
    bench.pass_time(10)
    assert len(bench.take(second)) == 10


def test_a_deleted_subscription_ends_its_consumers_even_when_made_again(bench: Bench) -> None:
    consumer = bench.subscribe()
    bench.woken.clear()
    bench.broker.delete_subscription(SUB)
    assert bench.woken == [SUB]
    bench.subscribe()
    with pytest.raises(NotFoundError):
        bench.take(consumer)


def test_ack_ids_of_an_earlier_subscription_do_not_ack_a_later_message(bench: Bench) -> None:
    consumer = bench.subscribe()
    bench.publish(b"old")
    old = bench.take(consumer)
    bench.broker.delete_subscription(SUB)
    consumer = bench.subscribe()
    bench.publish(b"new")
    bench.take(consumer)
    bench.ack(*old)
    bench.pass_time(10)
    assert data(bench.take(consumer)) == [b"new"]


def test_seek_purges_ready_leased_and_resting_messages(bench: Bench) -> None:
    retry = RetryPolicy(minimum_backoff_seconds=30, maximum_backoff_seconds=30)
    consumer = bench.subscribe(retry=retry)
    bench.publish(b"resting", b"leased", b"ready")
    resting, _leased = bench.take(consumer, 2)
    bench.nack(resting)
    bench.broker.seek(SUB, NOON + timedelta(days=1))
    assert consumer.held_messages == 0
    assert bench.broker.next_due() is None
    bench.pass_time(100)
    assert bench.take(consumer) == []


def test_seek_replays_retained_messages_once_and_counts_anew(bench: Bench) -> None:
    policy = DeadLetterPolicy(topic=DEAD, max_delivery_attempts=5)
    consumer = bench.subscribe(retain=True, dead_letter=policy)
    bench.publish(b"before")
    bench.now += 100
    bench.publish(b"after")
    bench.ack(*bench.take(consumer))
    for _ in range(2):
        bench.broker.seek(SUB, NOON + timedelta(seconds=1050))
    [again] = bench.take(consumer)
    assert (again.message.data, again.attempt) == (b"after", 1)
    bench.broker.seek(SUB, NOON)
    assert data(bench.take(consumer)) == [b"before"]


def test_a_purge_then_a_replay_delivers_once(bench: Bench) -> None:
    consumer = bench.subscribe(retain=True)
    bench.publish(b"x")
    bench.broker.seek(SUB, NOON + timedelta(days=1))
    bench.broker.seek(SUB, NOON)
    assert data(bench.take(consumer)) == [b"x"]


# Faults


def test_duplicates_have_fates_of_their_own() -> None:
    bench = Bench(Faults(duplicate=1.0))
    policy = DeadLetterPolicy(topic=DEAD, max_delivery_attempts=5)
    consumer = bench.subscribe(dead_letter=policy)
    bench.publish(b"x")
    first, second = bench.take(consumer, 1) + bench.take(consumer, 1)
    assert first.message == second.message
    assert (first.attempt, second.attempt) == (1, 1)
    bench.ack(first)
    bench.nack(second)
    assert bench.take(consumer)[0].attempt == 2


def test_duplicates_keep_to_flow_control() -> None:
    bench = Bench(Faults(duplicate=1.0))
    bench.subscribe()
    consumer = bench.broker.attach(SUB, max_messages=1)
    bench.publish(b"x")
    assert len(bench.take(consumer)) == 1
    assert bench.take(consumer) == []


def test_some_are_duplicated_by_seed() -> None:
    def deliver(seed: int) -> Counter[bytes]:
        bench = Bench(Faults(seed=seed, duplicate=0.5))
        consumer = bench.subscribe()
        bench.publish(*(b"%d" % n for n in range(100)))
        return Counter(data(bench.take(consumer, 1000) + bench.take(consumer, 1000)))

    assert deliver(1) == deliver(1) != deliver(2)
    assert set(deliver(1).values()) == {1, 2}
    assert 120 < deliver(1).total() < 180
