"""Pub/Sub's clients where nobody answers: what counts as an answer, and what a lost ack costs."""

from __future__ import annotations

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

from worker import pubsub
from worker.pubsub import PubSubPublisher, Subscriber, look_at

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
    monkeypatch.setattr("worker.pubsub._SETTLE", brief)
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
        # Google's own: without it a silent connection would never be given up.
        assert options["grpc.keepalive_time_ms"] <= 30_000
        assert options["grpc.http2.ping_timeout_ms"] <= 10_000
        assert options["grpc.max_reconnect_backoff_ms"] <= 10_000
