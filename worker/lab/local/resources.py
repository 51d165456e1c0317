"""Topics, subscriptions and buckets of a local session, structured as in production."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import grpc
from google.api_core import exceptions as api
from google.protobuf.duration_pb2 import Duration
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import DeadLetterPolicy, RetryPolicy, Subscription

from worker.errors import StorageUnavailable, StreamLost
from worker.gcs.store import GcsStore
from worker.pubsub.channels import emulator_channel

DELIVERY_ATTEMPTS = 10
"""Drains and vanished machines count as attempts, so fewer would dead-letter healthy messages."""

ORIGINALS_BUCKET = "originals"
RENDITIONS_BUCKET = "renditions"
_CALL_SECONDS = 15.0

_TOPICS = ("photos", "photos-dead-letters", "photos-outcomes")
_SUBSCRIPTIONS = {
    "photos": "photos",
    "photos-dead-letters": "photos-dead-letters",
    "photos-dead-letters-watch": "photos-dead-letters",
    "photos-outcomes-watch": "photos-outcomes",
}
"""The topic of each subscription. Only `photos` has a dead-letter policy."""


@dataclass(frozen=True, slots=True)
class Names:
    """Full resource names of one session; `suffix` keeps sessions on one broker apart."""

    project: str
    suffix: str = ""

    def topic(self, name: str) -> str:
        """`projects/P/topics/NAME`."""
        return f"projects/{self.project}/topics/{name}{self.suffix}"

    def subscription(self, name: str) -> str:
        """`projects/P/subscriptions/NAME`."""
        return f"projects/{self.project}/subscriptions/{name}{self.suffix}"

    def environment(self) -> dict[str, str]:
        """The settings that a worker, and the other verbs, need for this session."""
        return {
            "GOOGLE_CLOUD_PROJECT": self.project,
            "WORKER_TOPIC": self.topic("photos"),
            "WORKER_SUBSCRIPTION": self.subscription("photos"),
            "WORKER_DEAD_LETTER_TOPIC": self.topic("photos-dead-letters"),
            "WORKER_DEAD_LETTER_SUBSCRIPTION": self.subscription("photos-dead-letters"),
            "WORKER_OUTCOME_TOPIC": self.topic("photos-outcomes"),
            "WORKER_ORIGINALS_BUCKETS": ORIGINALS_BUCKET,
            "WORKER_RENDITIONS_BUCKET": RENDITIONS_BUCKET,
        }


class Resources:
    """Creates the resources of a session on a broker, and deletes them."""

    def __init__(self, broker_address: str, names: Names) -> None:
        self._names = names
        self._address = broker_address
        self._channel = emulator_channel(broker_address)
        self._publisher = PublisherClient(transport=PublisherGrpcTransport(channel=self._channel))
        self._subscriber = SubscriberClient(
            transport=SubscriberGrpcTransport(channel=self._channel)
        )

    def create(self, store: GcsStore) -> None:
        """Create everything; existing resources stay as they are.

        Raises:
            StreamLost: the broker or the GCS server does not answer.
        """
        try:
            grpc.channel_ready_future(self._channel).result(timeout=_CALL_SECONDS)
        except grpc.FutureTimeoutError as error:
            raise StreamLost(f"no Pub/Sub broker answers at {self._address}") from error
        for topic in _TOPICS:
            with suppress(api.AlreadyExists):
                self._publisher.create_topic(name=self._names.topic(topic), timeout=_CALL_SECONDS)
        for name in _SUBSCRIPTIONS:
            with suppress(api.AlreadyExists):
                self._subscriber.create_subscription(
                    request=self._subscription(name), timeout=_CALL_SECONDS
                )
        try:
            for bucket in (ORIGINALS_BUCKET, RENDITIONS_BUCKET):
                store.create_bucket(bucket)
        except StorageUnavailable as error:
            raise StreamLost(f"no GCS server answers: {error}") from error

    def delete(self) -> None:
        """Delete the session's subscriptions and topics from a broker that others use too."""
        for name in _SUBSCRIPTIONS:
            with suppress(api.GoogleAPICallError):
                self._subscriber.delete_subscription(
                    subscription=self._names.subscription(name), timeout=_CALL_SECONDS
                )
        for topic in _TOPICS:
            with suppress(api.GoogleAPICallError):
                self._publisher.delete_topic(topic=self._names.topic(topic), timeout=_CALL_SECONDS)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _subscription(self, name: str) -> Subscription:
        policies: dict[str, object] = {}
        if name == "photos":
            policies["dead_letter_policy"] = DeadLetterPolicy(
                dead_letter_topic=self._names.topic("photos-dead-letters"),
                max_delivery_attempts=DELIVERY_ATTEMPTS,
            )
            policies["retry_policy"] = RetryPolicy(
                minimum_backoff=Duration(seconds=1), maximum_backoff=Duration(seconds=60)
            )
        return Subscription(
            name=self._names.subscription(name),
            topic=self._names.topic(_SUBSCRIPTIONS[name]),
            ack_deadline_seconds=10,
            **policies,
        )
