"""Plain clients of a Pub/Sub broker, without the streams and batches of Google's own."""

from __future__ import annotations

import grpc
from google.api_core import exceptions as api
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import PubsubMessage


class PubSub:
    """A publisher and a subscriber on one channel to the broker at an address."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel = grpc.insecure_channel(address)
        self.publisher = PublisherClient(transport=PublisherGrpcTransport(channel=self._channel))
        self.subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=self._channel))

    def take(self, subscription: str, *, seconds: float = 1) -> list[PubsubMessage]:
        """Pull once and ack; what came within so many seconds."""
        try:
            answer = self.subscriber.pull(
                subscription=subscription, max_messages=1000, timeout=seconds, retry=None
            )
        except api.DeadlineExceeded:
            return []
        # Google's emulator may give an empty answer, and refuses an empty ack.
        if answer.received_messages:
            self.subscriber.acknowledge(
                subscription=subscription,
                ack_ids=[received.ack_id for received in answer.received_messages],
            )
        return [received.message for received in answer.received_messages]

    def take_all(self, subscription: str) -> list[PubsubMessage]:
        """Pull and ack until a pull is empty; for a subscription to which publishing has ended."""
        taken: list[PubsubMessage] = []
        while came := self.take(subscription, seconds=2):
            taken += came
        return taken

    def close(self) -> None:
        self._channel.close()
