"""The faults that the embedded broker injects on demand, seen through Google's own clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.cloud import pubsub_v1

from tests.contract.brokers import PATIENCE_SECONDS, Client
from tests.support.waiting import eventually
from worker.lab.emulator.server import EmbeddedBroker, Faults

NUMBERS = [str(n).encode() for n in range(20)]


@contextmanager
def client_of(faults: Faults) -> Iterator[Client]:
    with EmbeddedBroker(faults=faults) as broker:
        client = Client(broker.address)
        yield client
        client.close()


def test_the_backlog_is_shuffled_by_seed() -> None:
    orders: list[list[bytes]] = []
    for seed in (1, 1, 2):
        with client_of(Faults(seed=seed, reorder=True)) as client:
            # The order goes by seed and name, so the names must be equal.
            client.project = "projects/same"
            topic, subscription = client.topic(), f"{client.project}/subscriptions/same"
            client.subscriber.create_subscription(name=subscription, topic=topic)
            client.publish_batch(topic, [{"data": number} for number in NUMBERS])
            stream = client.stream(subscription)
            orders.append([stream.receive().message.data for _ in NUMBERS])
    assert all(sorted(order) == sorted(NUMBERS) for order in orders)
    assert orders[0] == orders[1] != orders[2]
    assert NUMBERS not in orders


def test_a_stream_is_reset_after_so_many_messages() -> None:
    with client_of(Faults(reset_stream_after=3)) as client:
        topic, subscription = client.pair()
        client.publish(topic, *NUMBERS)
        for expected in (NUMBERS[:3], NUMBERS[3:6]):
            stream = client.stream(subscription)
            assert stream.wait_for_end() is grpc.StatusCode.UNAVAILABLE
            assert [one.message.data for one in stream.received()] == expected


def test_googles_client_gets_everything_in_spite_of_all_faults() -> None:
    faults = Faults(seed=7, duplicate=0.5, reorder=True, reset_stream_after=6)
    with client_of(faults) as client:
        topic, subscription = client.pair()
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
