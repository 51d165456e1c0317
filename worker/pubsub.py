"""Google Cloud Pub/Sub, the sending side: publishing with confirmation, and looking at resources.

With `consumer`, the only room that imports google-cloud-pubsub; Google's exceptions end here.
"""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from google.api_core import exceptions as api
from google.api_core.retry import Retry, if_exception_type
from google.auth.exceptions import GoogleAuthError
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.types import PubsubMessage

from worker.errors import NoCredentials, PublishFailed, StreamLost, SubscriptionUnavailable

PUBLISH_SECONDS = 10.0
"""Longest wait for a confirmation, retries of the client included; well inside a drain."""

LOOK_UP_SECONDS = 15.0


def emulator_channel(address: str) -> grpc.Channel:
    """A channel to a broker on this machine that takes messages of any size.

    gRPC's own limit of 4 MB would silently hold back every message that shares a response with a
    large one; the clients' production channels have none either.
    """
    return grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])


class PubSubPublisher:
    """`ports.Publisher`; thread-safe, one for the process.

    Unary calls, one message each: every caller waits for its own confirmation anyway, and the
    batching client takes attributes as keyword arguments, so that a message with an attribute
    named `timeout` could not be dead-lettered.
    """

    def __init__(self, emulator_host: str | None) -> None:
        """Open no connection yet.

        Raises:
            Fatal: there are no credentials.
        """
        if emulator_host:
            transport = PublisherGrpcTransport(channel=emulator_channel(emulator_host))
            self._client = PublisherClient(transport=transport)
        else:
            try:
                self._client = PublisherClient()
            except GoogleAuthError as error:
                raise NoCredentials.of(error) from error

    def publish(
        self, topic: str, data: bytes, attributes: Mapping[str, str], ordering_key: str = ""
    ) -> str:
        """See `ports.Publisher`."""
        message = PubsubMessage(data=data, attributes=attributes, ordering_key=ordering_key)
        try:
            answer = self._client.publish(
                topic=topic, messages=[message], retry=_PUBLISH, timeout=PUBLISH_SECONDS
            )
        except (api.GoogleAPICallError, api.RetryError, GoogleAuthError) as error:
            raise PublishFailed(f"{topic}: {error}") from error
        return str(answer.message_ids[0])

    def check_topic(self, topic: str) -> None:
        """See that a topic exists.

        A publisher may lack the permission to look (roles/pubsub.publisher does); that is no
        fault, the first publish will tell.

        Raises:
            SubscriptionUnavailable: it does not exist.
            StreamLost: nobody answers.
        """
        try:
            self._client.get_topic(topic=topic, timeout=LOOK_UP_SECONDS, retry=_LOOK_UP)
        except api.NotFound as error:
            raise SubscriptionUnavailable(f"topic {topic} does not exist; create it") from error
        except api.PermissionDenied:
            return
        except (api.GoogleAPICallError, api.RetryError, GoogleAuthError) as error:
            raise StreamLost(f"cannot reach Pub/Sub to look at {topic}: {error}") from error

    def close(self) -> None:
        """Close the channel."""
        self._client.transport.close()  # type: ignore[no-untyped-call]


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
_LOOK_UP = Retry(initial=0.2, maximum=2.0, timeout=LOOK_UP_SECONDS)


def check_subscription(client: pubsub_v1.SubscriberClient, subscription: str) -> None:
    """See that a subscription exists; lacking the permission to look is no fault.

    Raises:
        SubscriptionUnavailable: it does not exist.
        StreamLost: nobody answers.
    """
    try:
        client.get_subscription(subscription=subscription, timeout=LOOK_UP_SECONDS, retry=_LOOK_UP)
    except api.NotFound as error:
        raise SubscriptionUnavailable(
            f"subscription {subscription} does not exist; create it or correct WORKER_SUBSCRIPTION"
        ) from error
    except api.PermissionDenied:
        return
    except (api.GoogleAPICallError, api.RetryError, GoogleAuthError) as error:
        raise StreamLost(f"cannot reach Pub/Sub to look at {subscription}: {error}") from error
