"""Topics, subscriptions and buckets of a local session, shaped as production's are."""

from __future__ import annotations

import contextlib
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
    """Creates what a session needs on a broker, and takes it away again."""

    def __init__(self, broker_address: str, names: Names) -> None:
        """Open no connection yet."""
        self._names = names
        self._address = broker_address
        self._channel = emulator_channel(broker_address)
        self._publisher = PublisherClient(transport=PublisherGrpcTransport(channel=self._channel))
        self._subscriber = SubscriberClient(
            transport=SubscriberGrpcTransport(channel=self._channel)
        )

    def create(self, store: GcsStore) -> None:
        """Create everything; what exists is kept as it is.

        Raises:
            StreamLost: broker or GCS server do not answer.
        """
        try:
            grpc.channel_ready_future(self._channel).result(timeout=_CALL_SECONDS)
        except grpc.FutureTimeoutError as error:
            raise StreamLost(f"no Pub/Sub broker answers at {self._address}") from error
        names = self._names
        for topic in ("photos", "photos-dead-letters", "photos-outcomes"):
            with contextlib.suppress(api.AlreadyExists):
                self._publisher.create_topic(name=names.topic(topic), timeout=_CALL_SECONDS)
        self._subscribe(
            "photos",
            "photos",
            dead_letter_policy=DeadLetterPolicy(
                dead_letter_topic=names.topic("photos-dead-letters"),
                max_delivery_attempts=DELIVERY_ATTEMPTS,
            ),
            retry_policy=RetryPolicy(
                minimum_backoff=Duration(seconds=1), maximum_backoff=Duration(seconds=60)
            ),
        )
        # No dead-letter policy of its own: dead letters that die again would be lost.
        self._subscribe("photos-dead-letters", "photos-dead-letters")
        self._subscribe("photos-dead-letters-watch", "photos-dead-letters")
        self._subscribe("photos-outcomes-watch", "photos-outcomes")
        try:
            for bucket in (ORIGINALS_BUCKET, RENDITIONS_BUCKET):
                store.create_bucket(bucket)
        except StorageUnavailable as error:
            raise StreamLost(f"no GCS server answers: {error}") from error

    def delete(self) -> None:
        """Take the session's subscriptions and topics off a broker that is not ours."""
        names = self._names
        for subscription in (
            "photos",
            "photos-dead-letters",
            "photos-dead-letters-watch",
            "photos-outcomes-watch",
        ):
            with contextlib.suppress(api.GoogleAPICallError):
                self._subscriber.delete_subscription(
                    subscription=names.subscription(subscription), timeout=_CALL_SECONDS
                )
        for topic in ("photos", "photos-dead-letters", "photos-outcomes"):
            with contextlib.suppress(api.GoogleAPICallError):
                self._publisher.delete_topic(topic=names.topic(topic), timeout=_CALL_SECONDS)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _subscribe(self, name: str, topic: str, **policies: object) -> None:
        with contextlib.suppress(api.AlreadyExists):
            self._subscriber.create_subscription(
                request=Subscription(
                    name=self._names.subscription(name),
                    topic=self._names.topic(topic),
                    ack_deadline_seconds=10,
                    **policies,
                ),
                timeout=_CALL_SECONDS,
            )
