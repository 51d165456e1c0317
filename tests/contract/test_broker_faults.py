"""The faults that the embedded broker injects on demand, seen through Google's own clients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.cloud import pubsub_v1

from tests.contract.brokers import PATIENCE_SECONDS, Client, eventually
from worker.lab.emulator.server import EmbeddedBroker, Faults

NUMBERS = [str(n).encode() for n in range(20)]


@contextmanager
def client_of(faults: Faults) -> Iterator[Client]:
    with EmbeddedBroker(faults=faults) as broker:
        client = Client(broker.address)
        yield client
        client.close()


def receive_all(client: Client, count: int) -> list[bytes]:
    """Publish the numbers to one subscription; return `count` of what a stream of it gets."""
    topic = client.topic()
    subscription = f"{client.project}/subscriptions/the-same-name"
    client.subscriber.create_subscription(name=subscription, topic=topic)
    client.publish_batch(topic, [{"data": number} for number in NUMBERS])
    stream = client.stream(subscription)
    return [stream.receive().message.data for _ in range(count)]


def test_every_message_is_delivered_twice_under_two_ack_ids() -> None:
    with client_of(Faults(duplicate=1.0)) as client:
        topic = client.topic()
        subscription = client.subscription(topic)
        client.publish(topic, *NUMBERS)
        received = client.pull(subscription, 40)
        assert Counter(one.message.data for one in received) == dict.fromkeys(NUMBERS, 2)
        assert len({one.ack_id for one in received}) == 40
        client.ack(subscription, *received)
        assert client.pull_now(subscription) == []


def test_a_duplicate_comes_even_after_the_ack() -> None:
    with client_of(Faults(duplicate=1.0)) as client:
        topic = client.topic()
        subscription = client.subscription(topic)
        client.publish(topic, b"x")
        [first] = client.pull_now(subscription, 1)
        client.ack(subscription, first)
        [second] = client.pull_now(subscription, 1)
        assert second.message.message_id == first.message.message_id
        client.ack(subscription, second)
        assert client.pull_now(subscription) == []


def test_the_backlog_is_shuffled_by_seed() -> None:
    orders = []
    for seed in (1, 1, 2):
        with client_of(Faults(seed=seed, reorder=True)) as client:
            # The seed goes with the name, so equal names are needed.
            client.project = "projects/same"
            orders.append(receive_all(client, len(NUMBERS)))
    assert all(sorted(order) == sorted(NUMBERS) for order in orders)
    assert orders[0] == orders[1] != orders[2]
    assert NUMBERS not in orders


def test_a_stream_is_reset_after_so_many_messages() -> None:
    with client_of(Faults(reset_stream_after=3)) as client:
        topic = client.topic()
        subscription = client.subscription(topic)
        client.publish(topic, *NUMBERS)
        for expected in (NUMBERS[:3], NUMBERS[3:6]):
            stream = client.stream(subscription)
            assert stream.wait_for_end() is grpc.StatusCode.UNAVAILABLE
            assert [one.message.data for one in stream.received()] == expected


def test_googles_client_gets_everything_in_spite_of_all_faults() -> None:
    faults = Faults(seed=7, duplicate=0.5, reorder=True, reset_stream_after=6)
    with client_of(faults) as client:
        topic = client.topic()
        subscription = client.subscription(topic)
        client.publish(topic, *NUMBERS)
        seen: set[bytes] = set()

        def receive(message: Any) -> None:
            seen.add(message.data)
            message.ack()

        future = client.subscriber.subscribe(
            subscription,
            callback=receive,
            flow_control=pubsub_v1.types.FlowControl(max_messages=4),
            await_callbacks_on_shutdown=True,
        )
        try:
            eventually(lambda: len(seen) == len(NUMBERS))
        finally:
            future.cancel()
            future.result(timeout=PATIENCE_SECONDS)
