"""Pub/Sub's clients in an outage: what counts as an answer, and what a lost ack costs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import google.auth
import grpc
import pytest
from google.api_core import exceptions as api
from google.api_core.retry import Retry
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import RefreshError
from google.cloud import pubsub_v1
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import PubsubMessage

from worker.errors import PublishFailed, SubscriptionUnavailable
from worker.photo.ports import OutgoingMessage
from worker.pubsub import clients as pubsub
from worker.pubsub.clients import PubSubPublisher, Subscriber, look_at

errors: Any = api
"""Google's exceptions, whose constructors have no types."""

NOBODY = "127.0.0.1:1"
SUBSCRIPTION = "projects/p/subscriptions/photos"


def client_that(outcome: Exception | None) -> pubsub_v1.SubscriberClient:
    def get_subscription(**_: Any) -> None:
        if outcome is not None:
            raise outcome

    return cast("pubsub_v1.SubscriberClient", SimpleNamespace(get_subscription=get_subscription))


@pytest.mark.parametrize(
    "answer",
    [
        None,
        errors.PermissionDenied("a subscriber may not look"),
        errors.NotFound("deleted"),
        errors.ResourceExhausted("no quota left for looks"),
        errors.Unauthenticated("no"),
        errors.InternalServerError("a bug of theirs"),
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_whatever_is_answered_is_an_answer(answer: Exception | None) -> None:
    look_at(client_that(answer), SUBSCRIPTION)


@pytest.mark.parametrize(
    "silence",
    [
        errors.ServiceUnavailable("no connection"),
        errors.DeadlineExceeded("timed out"),
        errors.RetryError("timed out", cause=None),
        RefreshError("no token"),  # type: ignore[no-untyped-call]
    ],
    ids=lambda silence: type(silence).__name__,
)
def test_silence_is_none(silence: Exception) -> None:
    with pytest.raises(ConnectionError, match=r"no connection|timed out|no token"):
        look_at(client_that(silence), SUBSCRIPTION)


def test_an_address_where_nobody_listens_does_not_answer() -> None:
    client = Subscriber(NOBODY)
    with pytest.raises(ConnectionError):
        look_at(client, SUBSCRIPTION)
    client.close()


def test_an_ack_that_never_arrives_does_not_end_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    # Google's client ends the stream for good on a RetryError, and forgets any other failure.
    brief = Retry(predicate=pubsub._SETTLE._predicate, initial=0.01, maximum=0.01, timeout=0.1)
    monkeypatch.setattr("worker.pubsub.clients._SETTLE", brief)
    client = Subscriber(NOBODY)
    with pytest.raises(api.ServiceUnavailable, match="exceeded"):
        client.acknowledge(subscription=SUBSCRIPTION, ack_ids=["a"])
    with pytest.raises(api.ServiceUnavailable, match="exceeded"):
        client.modify_ack_deadline(
            subscription=SUBSCRIPTION, ack_ids=["a"], ack_deadline_seconds=10
        )
    client.close()


def test_productions_channels_keep_their_options_and_reconnect_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    created: list[dict[str, int]] = []

    def create_channel(*_: Any, options: Any = (), **__: Any) -> grpc.Channel:
        assert len(dict(options)) == len(options)
        created.append(dict(options))
        return grpc.insecure_channel(NOBODY)

    def default(**_: Any) -> tuple[AnonymousCredentials, str]:
        return AnonymousCredentials(), "p"  # type: ignore[no-untyped-call]

    monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
    monkeypatch.setattr(google.auth, "default", default)
    for transport in (PublisherGrpcTransport, SubscriberGrpcTransport):
        monkeypatch.setattr(transport, "create_channel", create_channel)
    Subscriber(None).close()
    PubSubPublisher(None).close()
    assert len(created) == 2
    for options in created:
        assert options["grpc.max_receive_message_length"] == -1
        # Google's own: without it a silent connection would stay for ever.
        assert options["grpc.keepalive_time_ms"] <= 30_000
        assert options["grpc.http2.ping_timeout_ms"] <= 10_000
        assert options["grpc.max_reconnect_backoff_ms"] <= 10_000


class Requests:
    """A publisher whose requests end here, and the requests."""

    def __init__(self) -> None:
        self.publisher = PubSubPublisher(NOBODY)
        self.sent: list[list[Any]] = []
        self.meanwhile: Callable[[], object] = lambda: None
        self.publisher._client = cast("Any", SimpleNamespace(publish=self._publish))

    def _publish(self, *, messages: list[Any], **_: Any) -> Any:
        self.meanwhile()
        self.sent.append(messages)
        return SimpleNamespace(message_ids=["1"])

    @property
    def sizes(self) -> list[int]:
        return sorted(len(each) for each in self.sent)


TOPIC = "projects/p/topics/photos"


def outgoing(data: bytes, key: str = "", **attributes: str) -> OutgoingMessage:
    return OutgoingMessage(data=data, attributes=attributes, ordering_key=key)


def test_a_batch_is_one_request() -> None:
    requests = Requests()
    requests.publisher.publish_all(TOPIC, [outgoing(b"1", a="b"), outgoing(b"2")])
    ((first, second),) = requests.sent
    assert (first.data, dict(first.attributes), first.ordering_key) == (b"1", {"a": "b"}, "")
    assert second.data == b"2"


def test_nothing_is_no_request() -> None:
    requests = Requests()
    requests.publisher.publish_all(TOPIC, [])
    assert requests.sent == []


def test_a_request_holds_no_more_bytes_than_pubsub_takes() -> None:
    requests = Requests()
    three = [outgoing(b"x" * 3_000_000) for _ in range(5)]
    requests.publisher.publish_all(TOPIC, [*three, outgoing(b"x" * 9_900_000)])
    assert requests.sizes == [1, 1, 2, 2]
    requests.sent.clear()
    attributes = {f"name-{number}": "é" * 500 for number in range(90)}
    requests.publisher.publish_all(TOPIC, [outgoing(b"", **attributes) for _ in range(180)])
    assert len(requests.sent) == 3
    assert max(sum(PubsubMessage.pb(m).ByteSize() for m in each) for each in requests.sent) < 10e6


def test_a_request_holds_one_ordering_key() -> None:
    """Pub/Sub refuses others."""
    requests = Requests()
    keyed = [outgoing(str(number).encode(), f"key-{number % 3}") for number in range(10)]
    requests.publisher.publish_all(TOPIC, [*keyed, outgoing(b"without")])
    assert requests.sizes == [1, 3, 3, 4]
    for sent in requests.sent:
        assert len({each.ordering_key for each in sent}) == 1
        assert [each.data for each in sent] == sorted(each.data for each in sent)


def test_requests_do_not_wait_for_each_other() -> None:
    requests = Requests()
    together = threading.Barrier(8)
    requests.meanwhile = lambda: together.wait(10)
    requests.publisher.publish_all(TOPIC, [outgoing(b"x", f"key-{n}") for n in range(8)])
    assert len(requests.sent) == 8


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (errors.NotFound("gone"), SubscriptionUnavailable),
        (errors.PermissionDenied("no"), SubscriptionUnavailable),
        (errors.InvalidArgument("too large"), PublishFailed),
        (errors.RetryError("timed out", cause=None), PublishFailed),
    ],
    ids=lambda each: getattr(each, "__name__", type(each).__name__),
)
def test_one_request_that_fails_fails_the_batch(error: Exception, raised: type[Exception]) -> None:
    requests = Requests()
    first = threading.Lock()

    def fail_once() -> None:
        if first.acquire(blocking=False):
            raise error

    requests.meanwhile = fail_once
    with pytest.raises(raised, match=TOPIC):
        requests.publisher.publish_all(TOPIC, [outgoing(b"x", f"key-{n}") for n in range(4)])
    assert len(requests.sent) == 3
