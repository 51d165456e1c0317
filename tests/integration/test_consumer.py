"""The consumer on Google's emulator: flow control, answers, and the bounded drain."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator

import grpc
import pytest
from google.cloud import pubsub_v1
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import PubsubMessage

from tests.support.fakes import recording_log
from tests.support.pubsub import PubSub
from tests.support.waiting import eventually
from worker.errors import PublishFailed, StreamLost, SubscriptionUnavailable
from worker.photo.delivery import Delivery
from worker.pubsub.clients import PubSubPublisher, check_subscription
from worker.pubsub.consumer import EMULATOR_LEASE_SECONDS, Consumer

IN_FLIGHT = 4


class Broker(PubSub):
    """A topic and a subscription of one test, and consumers on them."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        project = f"projects/it-{uuid.uuid4().hex[:8]}"
        self.topic = f"{project}/topics/photos"
        self.subscription = f"{project}/subscriptions/photos"
        self.publisher.create_topic(name=self.topic)
        self.subscriber.create_subscription(
            name=self.subscription, topic=self.topic, ack_deadline_seconds=10
        )
        self._clients: list[pubsub_v1.SubscriberClient] = []
        self._consumers: list[Consumer] = []

    def publish(self, count: int) -> list[str]:
        messages = [PubsubMessage(data=str(number).encode()) for number in range(count)]
        return list(self.publisher.publish(topic=self.topic, messages=messages).message_ids)

    def consumer(
        self,
        handle: Callable[[Delivery], None],
        *,
        drain_seconds: float = 10,
        on_start: Callable[[], None] = lambda: None,
        on_drain: Callable[[], None] = lambda: None,
    ) -> Consumer:
        transport = SubscriberGrpcTransport(channel=grpc.insecure_channel(self.address))
        client = pubsub_v1.SubscriberClient(transport=transport)
        self._clients.append(client)
        consumer = Consumer(
            client,
            self.subscription,
            in_flight=IN_FLIGHT,
            lease_seconds=EMULATOR_LEASE_SECONDS,
            max_lease_seconds=60,
            drain_seconds=drain_seconds,
            handle=handle,
            on_start=on_start,
            on_drain=on_drain,
            log=recording_log()[0],
        )
        self._consumers.append(consumer)
        consumer.start()
        return consumer

    def redelivered(self) -> list[str]:
        """Ids of the messages that a pull gets; they are acked."""
        return [message.message_id for message in self.take(self.subscription, seconds=0.5)]

    def close(self) -> None:
        for consumer in self._consumers:
            consumer.drain()
        for client in self._clients:
            client.close()
        super().close()


@pytest.fixture
def broker(broker_address: str) -> Iterator[Broker]:
    broker = Broker(broker_address)
    yield broker
    broker.close()


class Gate:
    """A handler that holds every delivery until it is opened."""

    def __init__(self) -> None:
        self.inside: list[Delivery] = []
        self.most = 0
        self.open = threading.Event()
        self._lock = threading.Lock()
        self._count = 0

    def __call__(self, delivery: Delivery) -> None:
        with self._lock:
            self.inside.append(delivery)
            self._count += 1
            self.most = max(self.most, self._count)
        self.open.wait(60)
        delivery.ack()
        with self._lock:
            self._count -= 1


def test_no_more_is_handled_at_once_than_is_in_flight(broker: Broker) -> None:
    gate = Gate()
    broker.consumer(gate)
    broker.publish(20)
    eventually(lambda: len(gate.inside) == IN_FLIGHT, "all places are taken")
    gate.open.set()
    eventually(lambda: len(gate.inside) == 20, "the rest follows")
    assert gate.most == IN_FLIGHT


def test_acked_is_gone_and_nacked_comes_back(broker: Broker) -> None:
    seen: list[tuple[bytes, int]] = []
    ids: dict[str, int] = {}

    def handle(delivery: Delivery) -> None:
        ids[delivery.message_id] = ids.get(delivery.message_id, 0) + 1
        seen.append((delivery.data, ids[delivery.message_id]))
        if delivery.data == b"1" and ids[delivery.message_id] < 3:
            delivery.nack()
        else:
            delivery.ack()

    consumer = broker.consumer(handle)
    broker.publish(2)
    eventually(lambda: (b"1", 3) in seen, "the nacked one comes a third time")
    consumer.drain()
    assert seen.count((b"0", 1)) == 1
    assert (b"0", 2) not in seen
    assert broker.redelivered() == []


def test_a_handler_that_raises_costs_a_nack_and_not_the_stream(broker: Broker) -> None:
    attempts: list[str] = []

    def handle(delivery: Delivery) -> None:
        attempts.append(delivery.message_id)
        if len(attempts) == 1:
            raise RuntimeError("a bug")
        delivery.ack()

    consumer = broker.consumer(handle)
    broker.publish(1)
    eventually(lambda: len(attempts) == 2, "it is delivered again")
    consumer.raise_if_lost()
    assert consumer.open


def test_a_drain_waits_for_running_work_and_its_acks_arrive(broker: Broker) -> None:
    gate = Gate()
    told = threading.Event()
    consumer = broker.consumer(gate, on_drain=told.set)
    broker.publish(3)
    eventually(lambda: len(gate.inside) == 3, "all are running")
    drained: list[bool] = []
    draining = threading.Thread(target=lambda: drained.append(consumer.drain()))
    draining.start()
    assert told.wait(10)
    draining.join(1.5)
    assert draining.is_alive(), "it did not wait for running work"
    gate.open.set()
    draining.join(20)
    assert drained == [True]
    assert broker.redelivered() == []


def test_a_drain_gives_waiting_messages_back_while_work_still_runs(broker: Broker) -> None:
    gate = Gate()
    consumer = broker.consumer(gate, drain_seconds=30)
    published = set(broker.publish(12))
    eventually(lambda: len(gate.inside) == IN_FLIGHT, "all places are taken")
    draining = threading.Thread(target=consumer.drain)
    draining.start()
    waiting = published - {delivery.message_id for delivery in gate.inside}
    came_back: set[str] = set()

    def all_back() -> bool:
        came_back.update(broker.redelivered())
        return came_back >= waiting

    eventually(all_back, "what was waiting is redelivered", seconds=8)
    assert draining.is_alive(), "the running work still holds the drain"
    assert len(gate.inside) == IN_FLIGHT
    gate.open.set()
    draining.join(20)
    assert came_back == waiting


def test_a_drain_ends_within_its_budget_and_nacks_what_still_runs(broker: Broker) -> None:
    gate = Gate()
    consumer = broker.consumer(gate, drain_seconds=0.3)
    (message_id,) = broker.publish(1)
    eventually(lambda: gate.inside, "it is running")
    assert consumer.drain() is False
    assert gate.inside[0].settled
    eventually(lambda: message_id in broker.redelivered(), "it is redelivered", seconds=8)
    gate.open.set()


def test_a_paused_consumer_pulls_nothing_until_it_starts_again(broker: Broker) -> None:
    gate = Gate()
    gate.open.set()
    starts: list[str] = []
    consumer = broker.consumer(
        gate, on_start=lambda: starts.append("start"), on_drain=lambda: starts.append("drain")
    )
    consumer.pause()
    assert consumer.open, "it has not ended by itself"
    consumer.raise_if_lost()
    published = broker.publish(1)
    eventually(lambda: broker.redelivered() == published, "another gets what it leaves alone")
    assert gate.inside == []

    consumer.start(1)
    broker.publish(6)
    eventually(lambda: len(gate.inside) == 6, "it pulls again")
    assert gate.most == 1
    assert starts == ["start", "drain", "start"]


def test_a_pause_gives_everything_back_and_the_next_stream_gets_it(broker: Broker) -> None:
    gate = Gate()
    consumer = broker.consumer(gate, drain_seconds=0.3)
    published = set(broker.publish(6))
    eventually(lambda: len(gate.inside) == IN_FLIGHT, "all places are taken")
    late = list(gate.inside)
    consumer.pause()
    assert all(delivery.settled for delivery in late)
    consumer.start()
    # Its own threads: those of the first stream are still held by the handler.
    eventually(lambda: consumer.running == IN_FLIGHT, "the second stream's places are taken")
    gate.open.set()
    eventually(lambda: {d.message_id for d in gate.inside[IN_FLIGHT:]} == published, "all are back")
    eventually(lambda: consumer.running == 0, "all are handled")
    assert consumer.drain()
    assert broker.redelivered() == []


def test_a_deleted_subscription_is_told(broker: Broker) -> None:
    consumer = broker.consumer(lambda _: None)
    broker.subscriber.delete_subscription(subscription=broker.subscription)

    def lost() -> bool:
        try:
            consumer.raise_if_lost()
        except SubscriptionUnavailable as error:
            return broker.subscription in str(error)
        return False

    eventually(lost, "the consumer knows")


def test_a_missing_subscription_is_named(broker: Broker) -> None:
    missing = broker.subscription + "-missing"
    with pytest.raises(SubscriptionUnavailable, match="missing"):
        check_subscription(broker.subscriber, missing)


def test_attributes_named_like_arguments_are_published(broker: Broker) -> None:
    publisher = PubSubPublisher(broker.address)
    attributes = {"topic": "a", "data": "b", "timeout": "c", "ordering_key": "d", "retry": "e"}
    publisher.publish(broker.topic, b"data", attributes, ordering_key="key")
    answer = broker.subscriber.pull(subscription=broker.subscription, max_messages=1, timeout=10)
    message = answer.received_messages[0].message
    assert dict(message.attributes) == attributes
    assert (message.data, message.ordering_key) == (b"data", "key")
    publisher.close()


def test_a_publish_that_nobody_confirms_fails(broker: Broker) -> None:
    publisher = PubSubPublisher(broker.address)
    with pytest.raises(PublishFailed, match="missing"):
        publisher.publish(broker.topic + "-missing", b"data", {})
    with pytest.raises(SubscriptionUnavailable, match="missing"):
        publisher.check_topic(broker.topic + "-missing")
    publisher.close()


def test_an_address_where_nobody_listens_is_a_lost_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.pubsub.clients.LOOK_UP_SECONDS", 0.5)
    monkeypatch.setattr("worker.pubsub.clients._LOOK_UP", None)
    publisher = PubSubPublisher("127.0.0.1:1")
    with pytest.raises(StreamLost, match="cannot reach"):
        publisher.check_topic("projects/p/topics/t")
    publisher.close()
