"""Google Cloud Pub/Sub: its clients, publishing with confirmation, and checks of resources.

This module translates Google's exceptions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from google.api_core import exceptions as api
from google.api_core.retry import Retry, if_exception_type
from google.auth.exceptions import GoogleAuthError
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import PubsubMessage

from worker.errors import NoCredentials, PublishFailed, StreamLost, SubscriptionUnavailable
from worker.photo.ports import OutgoingMessage
from worker.pubsub.channels import PublisherTransport, SubscriberTransport, emulator_channel

PUBLISH_SECONDS = 10.0
"""The longest wait for a confirmation, including the client's retries; much less than a drain."""

LOOK_UP_SECONDS = 15.0
"""The longest time for a check at the start, including retries."""

ANSWER_SECONDS = 5.0
"""How long `look_at` waits for an answer while the worker runs."""

_REQUEST_BYTES = 8_000_000
"""The most bytes in one publish request; Pub/Sub takes ten million."""

_FRAMING_BYTES = 16
"""An upper limit for the bytes that an attribute takes besides its name and value."""

_PARALLEL = 8
"""Publish requests at once. Messages with different ordering keys need different requests."""

_CALL_ERRORS = (api.GoogleAPICallError, api.RetryError, GoogleAuthError)

_PUBLISH = Retry(
    predicate=if_exception_type(
        api.Aborted,
        api.DeadlineExceeded,
        api.InternalServerError,
        api.ResourceExhausted,
        api.ServiceUnavailable,
        api.Unknown,
    ),
    initial=0.1,
    maximum=2.0,
    timeout=PUBLISH_SECONDS,
)
_SETTLE = Retry(
    # The client's own retry pauses for up to a minute. One thread sends all acks; it would still
    # sleep after the network works again.
    predicate=if_exception_type(api.ServiceUnavailable),
    initial=0.1,
    maximum=2.0,
    timeout=60.0,
)
_LOOK_UP = Retry(initial=0.2, maximum=2.0, timeout=LOOK_UP_SECONDS)


class Subscriber(pubsub_v1.SubscriberClient):  # type: ignore[misc] # (the client has no types)
    """Google's client, with a stream that survives lost acks and lease extensions.

    In Google's own client, an ack or a lease extension that fails for a minute ends the stream and
    so the worker. This client gives the request up: its message is delivered again, which is
    harmless.
    """

    def __init__(self, emulator_host: str | None) -> None:
        """Connects later, with the first request.

        Raises:
            Fatal: credentials are missing.
        """
        if emulator_host:
            channel = emulator_channel(emulator_host, kept_alive=True)
            super().__init__(transport=SubscriberGrpcTransport(channel=channel))
            return
        try:
            super().__init__(transport=SubscriberTransport)
        except GoogleAuthError as error:
            raise NoCredentials.of(error) from error

    def acknowledge(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """As in Google's client, but without RetryError, which would end the stream."""
        with _best_effort():
            super().acknowledge(*args, **{"retry": _SETTLE, **kwargs})

    def modify_ack_deadline(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """As in Google's client, but without RetryError, which would end the stream."""
        with _best_effort():
            super().modify_ack_deadline(*args, **{"retry": _SETTLE, **kwargs})


@contextmanager
def _best_effort() -> Iterator[None]:
    try:
        yield
    except api.RetryError as error:
        raise api.ServiceUnavailable(str(error)) from error  # type: ignore[no-untyped-call]


class PubSubPublisher:
    """`ports.BatchPublisher`; thread-safe. The process needs only one.

    It sends unary calls, because every caller waits for its own confirmation anyway. Google's
    batching client takes attributes as keyword arguments, so it cannot send an attribute named
    `timeout`.
    """

    def __init__(self, emulator_host: str | None) -> None:
        """Connects later, with the first request.

        Raises:
            Fatal: credentials are missing.
        """
        if emulator_host:
            channel = emulator_channel(emulator_host, kept_alive=True)
            self._client = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
            return
        try:
            self._client = PublisherClient(transport=PublisherTransport)
        except GoogleAuthError as error:
            raise NoCredentials.of(error) from error

    def publish(
        self, topic: str, data: bytes, attributes: Mapping[str, str], ordering_key: str = ""
    ) -> str:
        """See `ports.Publisher`."""
        message = OutgoingMessage(data=data, attributes=attributes, ordering_key=ordering_key)
        try:
            return self._send(topic, [message])
        except _CALL_ERRORS as error:
            raise PublishFailed(f"{topic}: {error}") from error

    def publish_all(self, topic: str, messages: Sequence[OutgoingMessage]) -> None:
        """See `ports.BatchPublisher`; up to 1,000 messages.

        Raises:
            SubscriptionUnavailable: the topic is missing or forbidden.
        """
        requests = list(_requests(messages))
        with ThreadPoolExecutor(min(_PARALLEL, len(requests) or 1)) as threads:
            # At its end the block waits for all requests, even if one has failed.
            for sent in [threads.submit(self._send_request, topic, each) for each in requests]:
                sent.result()

    def _send_request(self, topic: str, messages: Sequence[OutgoingMessage]) -> None:
        try:
            self._send(topic, messages)
        except (api.NotFound, api.PermissionDenied) as error:
            raise SubscriptionUnavailable(
                f"topic {topic} is missing or forbidden; create it or grant roles/pubsub.publisher "
                f"({error})"
            ) from error
        except _CALL_ERRORS as error:
            raise PublishFailed(f"{topic}: {error}") from error

    def _send(self, topic: str, messages: Sequence[OutgoingMessage]) -> str:
        """Publish one request; return the id of its first message."""
        outgoing = [
            PubsubMessage(
                data=each.data, attributes=each.attributes, ordering_key=each.ordering_key
            )
            for each in messages
        ]
        answer = self._client.publish(
            topic=topic, messages=outgoing, retry=_PUBLISH, timeout=PUBLISH_SECONDS
        )
        return str(answer.message_ids[0])

    def check_topic(self, topic: str) -> None:
        """Check that a topic exists.

        A publisher may lack the permission to look (roles/pubsub.publisher does). The check then
        passes, and a missing topic shows at the first publish.

        Raises:
            SubscriptionUnavailable: the topic does not exist.
            StreamLost: Pub/Sub does not answer.
        """
        _check(partial(self._client.get_topic, topic=topic), f"topic {topic}", "create it")

    def close(self) -> None:
        """Close the channel."""
        self._client.transport.close()  # type: ignore[no-untyped-call]


def _requests(messages: Sequence[OutgoingMessage]) -> Iterator[list[OutgoingMessage]]:
    """Split messages into requests of one ordering key and at most `_REQUEST_BYTES`."""
    by_key: dict[str, list[OutgoingMessage]] = {}
    for message in messages:
        by_key.setdefault(message.ordering_key, []).append(message)
    for batch in by_key.values():
        yield from _by_size(batch)


def _by_size(messages: Sequence[OutgoingMessage]) -> Iterator[list[OutgoingMessage]]:
    batch: list[OutgoingMessage] = []
    size = 0
    for message in messages:
        own = len(message.data) + sum(
            len(key.encode()) + len(value.encode()) + _FRAMING_BYTES
            for key, value in message.attributes.items()
        )
        if batch and size + own > _REQUEST_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += own
    if batch:
        yield batch


def check_subscription(client: pubsub_v1.SubscriberClient, subscription: str) -> None:
    """Check that a subscription exists. Without the permission to look, the check passes.

    Raises:
        SubscriptionUnavailable: the subscription does not exist.
        StreamLost: Pub/Sub does not answer.
    """
    look = partial(client.get_subscription, subscription=subscription)
    _check(look, f"subscription {subscription}", "create it or correct WORKER_SUBSCRIPTION")


def _check(look: Callable[..., object], what: str, remedy: str) -> None:
    try:
        look(timeout=LOOK_UP_SECONDS, retry=_LOOK_UP)
    except api.NotFound as error:
        raise SubscriptionUnavailable(f"{what} does not exist; {remedy}") from error
    except api.PermissionDenied:
        return
    except _CALL_ERRORS as error:
        name = what.partition(" ")[2]
        raise StreamLost(f"cannot reach Pub/Sub to look at {name}: {error}") from error


def look_at(client: pubsub_v1.SubscriberClient, subscription: str) -> None:
    """Check that Pub/Sub answers, through the connection of the stream.

    An error answer is enough: a subscriber may lack the permission to look, or a project may have
    used up its quota.

    Raises:
        ConnectionError: the answer is "unavailable", or takes longer than `ANSWER_SECONDS`.
    """
    try:
        client.get_subscription(subscription=subscription, timeout=ANSWER_SECONDS, retry=None)
    except (api.ServiceUnavailable, api.GatewayTimeout, api.RetryError, GoogleAuthError) as error:
        raise ConnectionError(str(error)) from error
    except api.GoogleAPICallError:
        return
