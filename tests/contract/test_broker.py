"""One contract, held by the embedded broker and by Google's emulator alike.

The last part is what only the embedded broker promises.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud import pubsub_v1

from tests.conftest import NO_GOOGLE, absent
from tests.contract.brokers import PATIENCE_SECONDS, Client
from tests.support.waiting import eventually
from worker.lab.emulator.server import BrokerStartError, EmbeddedBroker
from worker.lab.local.emulator import EmulatorError, GoogleEmulator


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(scope="module", params=["embedded", "google"])
def address(request: pytest.FixtureRequest) -> str:
    if request.param == "embedded":
        broker: EmbeddedBroker = request.getfixturevalue("embedded")
        return broker.address
    return str(request.getfixturevalue("google_address"))


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    client = Client(address)
    yield client
    client.close()


@pytest.fixture
def own(embedded: EmbeddedBroker) -> Iterator[Client]:
    """Clients of the embedded broker."""
    client = Client(embedded.address)
    yield client
    client.close()


def data(received: list[Any]) -> list[bytes]:
    return [one.message.data for one in received]


# Topics and subscriptions


def test_a_topic_lives_from_create_to_delete(client: Client) -> None:
    topic = client.topic()
    assert client.publisher.get_topic(topic=topic).name == topic
    assert [t.name for t in client.publisher.list_topics(project=client.project)] == [topic]
    with pytest.raises(exceptions.AlreadyExists):
        client.publisher.create_topic(name=topic)
    client.publisher.delete_topic(topic=topic)
    for call in (client.publisher.get_topic, client.publisher.delete_topic):
        with pytest.raises(exceptions.NotFound):
            call(topic=topic)


def test_topics_are_listed_by_project_and_page(client: Client) -> None:
    topics = sorted(client.topic() for _ in range(5))
    pager = client.publisher.list_topics(request={"project": client.project, "page_size": 2})
    assert [[t.name for t in page.topics] for page in pager.pages] == [
        topics[:2],
        topics[2:4],
        topics[4:],
    ]


def test_a_topic_keeps_updated_settings(client: Client) -> None:
    topic = client.topic()
    update = {
        "topic": {"name": topic, "message_retention_duration": {"seconds": 1000}},
        "update_mask": {"paths": ["message_retention_duration"]},
    }
    client.publisher.update_topic(request=update)
    kept = client.publisher.get_topic(topic=topic)
    assert kept.message_retention_duration == timedelta(seconds=1000)


@pytest.mark.parametrize("name", ["ab", "1abc", "googabc", "a b c", "abc/def", "a" * 256, ""])
def test_bad_topic_names_are_refused(client: Client, name: str) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        client.publisher.create_topic(name=f"{client.project}/topics/{name}", retry=None)


def test_a_subscription_lives_from_create_to_delete(client: Client) -> None:
    topic, subscription = client.pair()
    kept = client.subscriber.get_subscription(subscription=subscription)
    assert (kept.name, kept.topic, kept.ack_deadline_seconds) == (subscription, topic, 10)
    listed = client.subscriber.list_subscriptions(project=client.project)
    assert [s.name for s in listed] == [subscription]
    assert list(client.publisher.list_topic_subscriptions(topic=topic)) == [subscription]
    with pytest.raises(exceptions.AlreadyExists):
        client.subscriber.create_subscription(name=subscription, topic=topic)
    client.subscriber.delete_subscription(subscription=subscription)
    with pytest.raises(exceptions.NotFound):
        client.subscriber.get_subscription(subscription=subscription)
    with pytest.raises(exceptions.NotFound):
        client.subscriber.delete_subscription(subscription=subscription)


def test_a_subscription_outlives_its_topic_with_its_backlog(client: Client) -> None:
    topic, subscription = client.pair()
    client.publish(topic, b"left")
    client.publisher.delete_topic(topic=topic)
    kept = client.subscriber.get_subscription(subscription=subscription)
    assert kept.topic == "_deleted-topic_"
    assert data(client.pull(subscription)) == [b"left"]


def test_policies_are_updated_and_removed(client: Client) -> None:
    topic, dead = client.topic(), client.topic("dead")
    subscription = client.subscription(topic)
    policies = {
        "name": subscription,
        "ack_deadline_seconds": 33,
        "dead_letter_policy": {"dead_letter_topic": dead, "max_delivery_attempts": 7},
        "retry_policy": {"minimum_backoff": {"seconds": 2}, "maximum_backoff": {"seconds": 20}},
    }
    paths = ["ack_deadline_seconds", "dead_letter_policy", "retry_policy"]
    client.subscriber.update_subscription(
        request={"subscription": policies, "update_mask": {"paths": paths}}
    )
    kept = client.subscriber.get_subscription(subscription=subscription)
    assert kept.ack_deadline_seconds == 33
    assert kept.dead_letter_policy.dead_letter_topic == dead
    assert kept.dead_letter_policy.max_delivery_attempts == 7
    assert kept.retry_policy.minimum_backoff == timedelta(seconds=2)
    assert kept.retry_policy.maximum_backoff == timedelta(seconds=20)
    assert kept.topic == topic

    client.subscriber.update_subscription(
        request={"subscription": {"name": subscription}, "update_mask": {"paths": paths[1:]}}
    )
    kept = client.subscriber.get_subscription(subscription=subscription)
    assert "dead_letter_policy" not in kept
    assert "retry_policy" not in kept
    assert kept.ack_deadline_seconds == 33


def test_what_a_policy_leaves_out_gets_defaults(client: Client) -> None:
    topic = client.topic()
    subscription = client.subscription(
        topic, dead_letter_policy={"dead_letter_topic": topic}, retry_policy={}
    )
    kept = client.subscriber.get_subscription(subscription=subscription)
    assert kept.dead_letter_policy.max_delivery_attempts == 5
    assert kept.retry_policy.minimum_backoff == timedelta(seconds=10)
    assert kept.retry_policy.maximum_backoff == timedelta(seconds=600)
    assert kept.message_retention_duration == timedelta(days=7)


@pytest.mark.parametrize(
    ("fields", "paths"),
    [({"topic": "projects/p/topics/other"}, ["topic"]), ({}, ["nonsense"]), ({}, [])],
)
def test_updates_of_what_cannot_change_are_refused(
    client: Client, fields: dict[str, Any], paths: list[str]
) -> None:
    subscription = client.subscription(client.topic())
    with pytest.raises(exceptions.InvalidArgument):
        client.subscriber.update_subscription(
            request={
                "subscription": {"name": subscription, **fields},
                "update_mask": {"paths": paths},
            }
        )


@pytest.mark.parametrize(
    "fields",
    [
        {"ack_deadline_seconds": 601},
        {"ack_deadline_seconds": -1},
        {"dead_letter_policy": {"max_delivery_attempts": 4}},
        {"dead_letter_policy": {"max_delivery_attempts": 101}},
        {"retry_policy": {"minimum_backoff": {"seconds": 601}}},
        {"retry_policy": {"minimum_backoff": {"seconds": 9}, "maximum_backoff": {"seconds": 8}}},
    ],
    ids=str,
)
def test_settings_beyond_the_limits_are_refused(client: Client, fields: dict[str, Any]) -> None:
    topic = client.topic()
    if "dead_letter_policy" in fields:
        policy = {**fields["dead_letter_policy"], "dead_letter_topic": topic}
        fields = {"dead_letter_policy": policy}
    # InvalidArgument or, for attempts on the emulator, OutOfRange.
    with pytest.raises(exceptions.BadRequest):
        client.subscription(topic, **fields)
    assert not list(client.publisher.list_topic_subscriptions(topic=topic))


def test_missing_topics_and_subscriptions_are_not_found(client: Client) -> None:
    topic, missing = client.topic(), f"{client.project}/topics/missing"
    subscription = f"{client.project}/subscriptions/missing"
    dead = {"dead_letter_topic": missing, "max_delivery_attempts": 5}
    calls: list[Callable[[], object]] = [
        lambda: client.publish_batch(missing, [{"data": b"x"}]),
        lambda: client.subscription(missing),
        lambda: client.subscription(topic, dead_letter_policy=dead),
        lambda: client.pull_now(subscription),
        lambda: client.subscriber.acknowledge(subscription=subscription, ack_ids=["a"]),
        lambda: client.subscriber.seek(
            request={"subscription": subscription, "time": datetime.now(UTC)}
        ),
    ]
    for call in calls:
        with pytest.raises(exceptions.NotFound):
            call()


# Messages


def test_a_message_arrives_as_published(client: Client) -> None:
    topic, subscription = client.pair()
    before = datetime.now(UTC) - timedelta(seconds=5)
    message = {"data": b"\x00photo", "attributes": {"k": "ü"}, "ordering_key": "album"}
    ids = client.publish_batch(topic, [message])
    [received] = client.pull(subscription)
    assert received.message.data == b"\x00photo"
    assert dict(received.message.attributes) == {"k": "ü"}
    assert received.message.ordering_key == "album"
    assert [received.message.message_id] == ids
    assert before < received.message.publish_time < datetime.now(UTC) + timedelta(seconds=5)
    assert received.delivery_attempt == 0


def test_each_subscription_gets_a_copy_in_order_of_publishing(client: Client) -> None:
    topic = client.topic()
    subscriptions = [client.subscription(topic) for _ in range(2)]
    numbers = [str(n).encode() for n in range(20)]
    messages = [{"data": number} for number in numbers]
    ids = client.publish_batch(topic, messages)
    assert len(set(ids)) == 20
    for subscription in subscriptions:
        assert data(client.pull(subscription, 20)) == numbers


def test_messages_without_content_are_refused_with_their_batch(client: Client) -> None:
    topic, subscription = client.pair()
    bad_batches: list[list[dict[str, Any]]] = [[], [{}], [{"data": b"good"}, {}]]
    for messages in bad_batches:
        with pytest.raises(exceptions.InvalidArgument):
            client.publish_batch(topic, messages)
    client.publish_batch(topic, [{"attributes": {"only": ""}}])
    assert data(client.pull(subscription)) == [b""]


def test_a_large_message_arrives(client: Client) -> None:
    topic, subscription = client.pair()
    large = os.urandom(3 << 20)
    client.publish_batch(topic, [{"data": large}])
    assert data(client.pull(subscription)) == [large]


# Pull, ack, nack, leases


def test_a_pull_returns_no_more_than_asked_for(client: Client) -> None:
    topic, subscription = client.pair()
    client.publish(topic, b"1", b"2", b"3")
    assert len(client.pull_now(subscription, 2)) == 2
    assert len(client.pull_now(subscription, 2)) == 1
    assert client.pull_now(subscription) == []
    with pytest.raises(exceptions.InvalidArgument):
        client.pull_now(subscription, 0)


def test_a_pull_waits_for_a_message(client: Client) -> None:
    topic, subscription = client.pair()
    later = threading.Timer(0.3, client.publish, (topic, b"late"))
    later.start()
    response = client.subscriber.pull(subscription=subscription, max_messages=5, timeout=10)
    later.join()
    assert data(list(response.received_messages)) == [b"late"]


def test_a_pull_returns_empty_before_its_deadline(client: Client) -> None:
    subscription = client.subscription(client.topic())
    response = client.subscriber.pull(
        subscription=subscription, max_messages=1, timeout=2, retry=None
    )
    assert not response.received_messages


def test_acked_messages_are_gone_and_nacked_ones_come_back(client: Client) -> None:
    topic, subscription = client.pair()
    ids = dict(zip((b"ack", b"nack"), client.publish(topic, b"ack", b"nack"), strict=True))
    received = {one.message.data: one for one in client.pull(subscription, 2)}
    client.ack(subscription, received[b"ack"])
    client.nack(subscription, received[b"nack"])
    [again] = client.pull(subscription)
    assert again.message.message_id == ids[b"nack"]
    assert again.ack_id != received[b"nack"].ack_id
    client.ack(subscription, again)
    assert client.pull_now(subscription) == []


def test_an_expired_lease_is_redelivered_and_its_ack_comes_too_late(client: Client) -> None:
    topic, subscription = client.pair()
    client.publish(topic, b"x")
    [first] = client.pull(subscription)
    client.lease(subscription, 1, first)
    began = time.monotonic()
    [second] = client.pull(subscription)
    assert time.monotonic() - began > 0.5
    client.ack(subscription, first)
    client.nack(subscription, second)
    assert data(client.pull(subscription)) == [b"x"]


def test_a_lease_can_be_made_longer(client: Client) -> None:
    topic, subscription = client.pair()
    client.publish(topic, b"long", b"short")
    by_data = {one.message.data: one for one in client.pull(subscription, 2)}
    client.lease(subscription, 1, *by_data.values())
    client.lease(subscription, 60, by_data[b"long"])
    assert data(client.pull(subscription)) == [b"short"]
    assert client.pull_now(subscription) == []


def test_ack_ids_of_others_are_refused_and_unknown_ones_ignored(client: Client) -> None:
    topic = client.topic()
    subscription, other = client.subscription(topic), client.subscription(topic)
    client.publish(topic, b"x")
    [received] = client.pull(subscription)
    for subscription_, ack_ids in ((subscription, ["zzz"]), (other, [received.ack_id])):
        for call, more in (
            (client.subscriber.acknowledge, {}),
            (client.subscriber.modify_ack_deadline, {"ack_deadline_seconds": 10}),
        ):
            with pytest.raises(exceptions.InvalidArgument):
                call(request={"subscription": subscription_, "ack_ids": ack_ids, **more})
    client.ack(subscription, received)
    client.ack(subscription, received)


# Attempts, dead letters, backoff


def test_attempts_are_counted_up_to_the_dead_letter(client: Client) -> None:
    topic, dead = client.topic(), client.topic("dead")
    dead_subscription = client.subscription(dead)
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    subscription = client.subscription(topic, dead_letter_policy=policy)
    message = {"data": b"poison", "attributes": {"k": "v"}}
    client.publish_batch(topic, [message])
    attempts = []
    for _ in range(5):
        [received] = client.pull(subscription)
        attempts.append(received.delivery_attempt)
        client.nack(subscription, received)
    assert attempts == [1, 2, 3, 4, 5]

    # Google's emulator forwards it only when somebody pulls the source once more.
    [letter] = eventually(
        lambda: client.pull_now(subscription) or client.pull_now(dead_subscription)
    )
    assert letter.message.data == b"poison"
    assert letter.message.message_id != received.message.message_id
    assert letter.message.publish_time > received.message.publish_time
    assert letter.delivery_attempt == 0
    published = letter.message.attributes["CloudPubSubDeadLetterSourceTopicPublishTime"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", published)
    difference = datetime.fromisoformat(published) - received.message.publish_time
    assert abs(difference) < timedelta(milliseconds=2)
    assert dict(letter.message.attributes) == {
        "k": "v",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": subscription.rsplit("/", 1)[1],
        "CloudPubSubDeadLetterSourceSubscriptionProject": client.project.split("/")[1],
        "CloudPubSubDeadLetterSourceTopicPublishTime": published,
    }
    assert client.pull_now(subscription) == []


def test_a_retry_policy_delays_redelivery(client: Client) -> None:
    topic = client.topic()
    backoff = {"minimum_backoff": {"seconds": 1}, "maximum_backoff": {"seconds": 1}}
    subscription = client.subscription(topic, retry_policy=backoff)
    client.publish(topic, b"x")
    began = time.monotonic()
    for _ in range(3):
        client.nack(subscription, *client.pull(subscription))
    client.pull(subscription)
    # The emulator does not delay the first one.
    assert time.monotonic() - began > 1.5


# Seek


def test_seek_to_the_future_purges(client: Client) -> None:
    topic, subscription = client.pair()
    client.publish(topic, b"1", b"2", b"3")
    client.pull(subscription, 1)
    later = datetime.now(UTC) + timedelta(minutes=1)
    client.subscriber.seek(request={"subscription": subscription, "time": later})
    assert client.pull_now(subscription) == []


@pytest.mark.parametrize("retained", [True, False])
def test_seek_to_the_past_replays_what_was_retained(client: Client, *, retained: bool) -> None:
    topic = client.topic()
    subscription = client.subscription(topic, retain_acked_messages=retained)
    client.publish(topic, b"1")
    client.publish(topic, b"2")
    acked = client.pull(subscription)
    client.ack(subscription, *acked)
    earlier = datetime.now(UTC) - timedelta(minutes=1)
    client.subscriber.seek(request={"subscription": subscription, "time": earlier})
    expected = {b"1", b"2"} if retained else {b"2"}
    assert set(data(client.pull(subscription, len(expected)))) == expected
    assert client.pull_now(subscription) == []


# Streams


def test_the_clients_own_loop_receives_and_acks_everything(client: Client) -> None:
    topic, subscription = client.pair()
    expected = {str(n).encode() for n in range(50)}
    client.publish(topic, *expected)
    seen: list[bytes] = []

    def receive(message: Any) -> None:
        seen.append(message.data)
        message.ack()

    future = client.subscriber.subscribe(
        subscription,
        callback=receive,
        flow_control=pubsub_v1.types.FlowControl(max_messages=4),
        await_callbacks_on_shutdown=True,
    )
    try:
        eventually(lambda: len(seen) >= 50)
    finally:
        future.cancel()
        future.result(timeout=PATIENCE_SECONDS)
    assert sorted(seen) == sorted(expected)
    assert client.pull_now(subscription) == []


def test_a_nack_on_a_stream_redelivers_and_an_ack_ends(client: Client) -> None:
    topic, subscription = client.pair()
    stream = client.stream(subscription)
    client.publish(topic, b"x")
    first = stream.receive()
    stream.send(modify_deadline_ack_ids=[first.ack_id], modify_deadline_seconds=[0])
    second = stream.receive()
    assert second.message.message_id == first.message.message_id
    stream.send()  # a heartbeat
    stream.send(ack_ids=[second.ack_id])
    stream.half_close()
    assert stream.wait_for_end() is grpc.StatusCode.OK
    assert stream.received() == []


def test_a_stream_shortens_a_lease(client: Client) -> None:
    topic, subscription = client.pair()
    stream = client.stream(subscription, stream_ack_deadline_seconds=600)
    client.publish(topic, b"x")
    first = stream.receive()
    stream.send(modify_deadline_ack_ids=[first.ack_id], modify_deadline_seconds=[1])
    assert stream.receive().message.message_id == first.message.message_id


def test_streams_share_messages_without_repeating_any(client: Client) -> None:
    topic, subscription = client.pair()
    streams = [client.stream(subscription) for _ in range(2)]
    expected = [str(n).encode() for n in range(30)]
    client.publish(topic, *expected)
    got: list[bytes] = []

    def everything() -> bool:
        for stream in streams:
            got.extend(data(stream.received()))
        return len(got) >= 30

    eventually(everything)
    assert sorted(got) == sorted(expected)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"subscription": "projects/p/subscriptions/missing"}, grpc.StatusCode.NOT_FOUND),
        ({"subscription": ""}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"stream_ack_deadline_seconds": 9}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"stream_ack_deadline_seconds": 0}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"ack_ids": ["zzz"]}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
    ids=str,
)
def test_a_wrong_first_request_ends_the_stream(
    client: Client, fields: dict[str, Any], status: grpc.StatusCode
) -> None:
    request = {"subscription": client.subscription(client.topic()), **fields}
    assert client.stream(**request).wait_for_end() is status


@pytest.mark.parametrize(
    "fields",
    [
        {"subscription": "projects/p/subscriptions/other"},
        {"stream_ack_deadline_seconds": 9},
        {"modify_deadline_ack_ids": ["a", "b"], "modify_deadline_seconds": [10]},
        {"ack_ids": ["zzz"]},
    ],
    ids=str,
)
def test_a_wrong_later_request_ends_the_stream(client: Client, fields: dict[str, Any]) -> None:
    stream = client.stream(client.subscription(client.topic()))
    stream.send(**fields)
    assert stream.wait_for_end() is grpc.StatusCode.INVALID_ARGUMENT


def test_deleting_a_subscription_ends_its_open_streams(client: Client) -> None:
    topic, subscription = client.pair()
    stream = client.stream(subscription)
    client.publish(topic, b"x")
    stream.receive()
    client.subscriber.delete_subscription(subscription=subscription)
    assert stream.wait_for_end() is grpc.StatusCode.NOT_FOUND


# What only the embedded broker promises


def test_flow_control_holds_messages_back_for_others(own: Client) -> None:
    topic, subscription = own.pair()
    stream = own.stream(subscription, max_outstanding_messages=2)
    own.publish(topic, *(str(n).encode() for n in range(5)))
    held = [stream.receive() for _ in range(2)]
    # What the stream may not have is there for somebody else, at once.
    assert len(own.pull(subscription, 3)) == 3
    assert stream.received() == []
    own.publish(topic, b"next")
    stream.send(ack_ids=[held[0].ack_id])
    assert stream.receive().message.data == b"next"


def test_flow_control_counts_bytes(own: Client) -> None:
    topic = own.topic()
    subscription = own.subscription(topic)
    stream = own.stream(subscription, max_outstanding_bytes=1000)
    own.publish(topic, b"a" * 600)
    first = stream.receive()
    own.publish(topic, b"b" * 600)
    assert stream.receive().message.data[:1] == b"b"
    own.publish(topic, b"c" * 600)
    [left] = own.pull(subscription)
    own.nack(subscription, left)
    stream.send(ack_ids=[first.ack_id])
    assert stream.receive().message.data[:1] == b"c"


def test_every_stream_gets_its_part(own: Client, embedded: EmbeddedBroker) -> None:
    topic = own.topic()
    subscription = own.subscription(topic)
    before = embedded.open_streams
    streams = [own.stream(subscription) for _ in range(4)]
    eventually(lambda: embedded.open_streams == before + 4)
    for n in range(40):
        own.publish(topic, str(n).encode())
    eventually(lambda: sum(stream.responses.qsize() for stream in streams) == 40)
    assert min(stream.responses.qsize() for stream in streams) > 0


def test_limits_that_the_emulator_does_not_check(own: Client) -> None:
    topic = own.topic()
    with pytest.raises(exceptions.InvalidArgument):
        own.subscription(topic, ack_deadline_seconds=9)
    with pytest.raises(exceptions.InvalidArgument):
        own.subscriber.create_subscription(name=topic, topic=topic)
    with pytest.raises(exceptions.InvalidArgument):
        own.publish_batch(topic, [{"data": b"x"}] * 1001)
    subscription = own.subscription(topic)
    own.publish(topic, b"x")
    received = own.pull(subscription)
    with pytest.raises(exceptions.InvalidArgument):
        own.lease(subscription, 601, *received)


def test_a_cancelled_stream_receives_nothing_more(own: Client, embedded: EmbeddedBroker) -> None:
    topic, subscription = own.pair()
    broken = own.stream(subscription)
    own.publish(topic, b"proof that it is open")
    broken.receive()
    open_streams = embedded.open_streams
    broken.call.cancel()
    eventually(lambda: embedded.open_streams == open_streams - 1)
    expected = [str(n).encode() for n in range(20)]
    own.publish(topic, *expected)
    assert sorted(data(own.pull(subscription, 20))) == sorted(expected)


STREAM_FOR_EVER = """
import sys
from google.cloud import pubsub_v1
def receive(message):
    print(message.message_id, flush=True)
pubsub_v1.SubscriberClient().subscribe(sys.argv[1], callback=receive).result()
"""


def test_a_killed_client_receives_nothing_more(own: Client, embedded: EmbeddedBroker) -> None:
    topic, subscription = own.pair()
    open_streams = embedded.open_streams
    with subprocess.Popen(
        [sys.executable, "-c", STREAM_FOR_EVER, subscription],
        env={**os.environ, "PUBSUB_EMULATOR_HOST": own.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as victim:
        try:
            [held] = own.publish(topic, b"held by the victim")
            assert victim.stdout is not None
            assert victim.stdout.readline().decode().strip() == held
        finally:
            victim.kill()
    eventually(lambda: embedded.open_streams == open_streams)
    expected = [str(n).encode() for n in range(20)]
    own.publish(topic, *expected)
    got = own.pull(subscription, 20)
    assert sorted(data(got)) == sorted(expected)


def test_64_streams_leave_room_for_calls(own: Client, embedded: EmbeddedBroker) -> None:
    topic, subscription = own.pair()
    before = embedded.open_streams
    streams = [own.stream(subscription, max_outstanding_messages=1) for _ in range(64)]
    eventually(lambda: embedded.open_streams == before + 64)
    own.publish(topic, *(str(n).encode() for n in range(64)))
    for stream in streams:
        assert stream.receive()


def test_stop_ends_open_streams_and_pulls_and_may_come_twice() -> None:
    broker = EmbeddedBroker().start()
    client = Client(broker.address)
    subscription = client.subscription(client.topic())
    streams = [client.stream(subscription) for _ in range(8)]
    waiting = client.subscriber.transport.pull.future(
        pubsub_v1.types.PullRequest(subscription=subscription, max_messages=1), timeout=60
    )
    eventually(lambda: broker.open_streams == 8)
    broker.stop()
    broker.stop()
    assert {stream.wait_for_end() for stream in streams} == {grpc.StatusCode.UNAVAILABLE}
    assert waiting.exception(timeout=5) is not None
    client.close()


def test_a_taken_port_is_reported(embedded: EmbeddedBroker) -> None:
    port = int(embedded.address.rsplit(":", 1)[1])
    with pytest.raises(BrokerStartError, match=str(port)):
        EmbeddedBroker(port).start()


# Google's emulator as a child process


def test_the_emulator_refuses_a_taken_port_and_stops() -> None:
    if GoogleEmulator.find(os.environ) is None:
        absent(NO_GOOGLE)
    with GoogleEmulator(os.environ) as first:
        port = int(first.address.rsplit(":", 1)[1])
        with pytest.raises(EmulatorError, match="taken"):
            GoogleEmulator(os.environ).start(port)
    # The port is free again, so the first is gone.
    with EmbeddedBroker(port) as broker:
        assert broker.address == first.address
