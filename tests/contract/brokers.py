"""Google's own clients, as the broker suites use them."""

from __future__ import annotations

import queue
import threading
import uuid
import warnings
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherClient, types

from tests.support.waiting import eventually

PATIENCE_SECONDS = 15.0


@dataclass(eq=False)
class RawStream:
    """A StreamingPull without Google's high-level client, to see each response and the end."""

    call: Any
    requests: queue.SimpleQueue[Any]
    responses: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)
    error: grpc.RpcError | None = None

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._receive, daemon=True)
        self.thread.start()

    def _receive(self) -> None:
        try:
            for response in self.call:
                for received in response.received_messages:
                    self.responses.put(received)
        except grpc.RpcError as error:
            self.error = error

    def send(self, **fields: Any) -> None:
        self.requests.put(types.StreamingPullRequest(**fields))

    def receive(self, seconds: float = PATIENCE_SECONDS) -> Any:
        return self.responses.get(timeout=seconds)

    def received(self) -> list[Any]:
        return [self.responses.get_nowait() for _ in range(self.responses.qsize())]

    def half_close(self) -> None:
        self.requests.put(None)

    def wait_for_end(self) -> grpc.StatusCode:
        self.thread.join(PATIENCE_SECONDS)
        assert not self.thread.is_alive(), "the stream did not end"
        return self.error.code() if self.error else grpc.StatusCode.OK


class Client:
    """Google's publisher and subscriber clients for one broker, with names of their own."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.project = f"projects/test-{uuid.uuid4().hex[:8]}"
        # As in a program: the clients read the variable when they are made, and only then.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PUBSUB_EMULATOR_HOST", address)
            self.publisher = pubsub_v1.PublisherClient()
            self.subscriber = pubsub_v1.SubscriberClient()
        self._streams: list[RawStream] = []

    def topic(self, name: str = "photos") -> str:
        path = f"{self.project}/topics/{name}-{uuid.uuid4().hex[:8]}"
        self.publisher.create_topic(name=path)
        return path

    def subscription(self, topic: str, **fields: Any) -> str:
        path = f"{self.project}/subscriptions/sub-{uuid.uuid4().hex[:8]}"
        self.subscriber.create_subscription(request={"name": path, "topic": topic, **fields})
        return path

    def pair(self) -> tuple[str, str]:
        """A topic and a subscription of it."""
        topic = self.topic()
        return topic, self.subscription(topic)

    def publish(self, topic: str, *data: bytes, **attributes: str) -> list[str]:
        futures = [self.publisher.publish(topic, item, **attributes) for item in data]
        return [str(future.result(timeout=PATIENCE_SECONDS)) for future in futures]

    def publish_batch(self, topic: str, messages: list[dict[str, Any]]) -> list[str]:
        """Publish in one request, past the client's own batching and checks."""
        call = PublisherClient(transport=self.publisher.transport).publish
        request = {"topic": topic, "messages": messages}
        return list(call(request=request, retry=None, timeout=5).message_ids)

    def pull_now(self, subscription: str, most: int = 100) -> list[Any]:
        request = types.PullRequest(
            subscription=subscription, max_messages=most, return_immediately=True
        )
        with warnings.catch_warnings():
            # The field is deprecated, and the only way not to wait.
            warnings.simplefilter("ignore", DeprecationWarning)
            response = self.subscriber.pull(request=request, timeout=5, retry=None)
        return list(response.received_messages)

    def pull(self, subscription: str, count: int = 1) -> list[Any]:
        """Pull exactly `count` messages, waiting for them."""
        got: list[Any] = []

        def enough() -> bool:
            got.extend(self.pull_now(subscription, count - len(got)))
            return len(got) >= count

        eventually(enough, f"{count} messages", seconds=PATIENCE_SECONDS)
        return got

    def ack(self, subscription: str, *received: Any) -> None:
        ack_ids = [one.ack_id for one in received]
        self.subscriber.acknowledge(subscription=subscription, ack_ids=ack_ids)

    def lease(self, subscription: str, seconds: int, *received: Any) -> None:
        self.subscriber.modify_ack_deadline(
            subscription=subscription,
            ack_ids=[one.ack_id for one in received],
            ack_deadline_seconds=seconds,
        )

    def nack(self, subscription: str, *received: Any) -> None:
        self.lease(subscription, 0, *received)

    def stream(self, subscription: str, **fields: Any) -> RawStream:
        requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        requests.put(
            types.StreamingPullRequest(
                subscription=subscription, **{"stream_ack_deadline_seconds": 10, **fields}
            )
        )
        # The plain stub: the client's wrapper would swallow the status of a refused stream.
        call = self.subscriber.transport.streaming_pull(iter(requests.get, None))
        stream = RawStream(call, requests)
        self._streams.append(stream)
        return stream

    def close(self) -> None:
        for stream in self._streams:
            # Half-close first: Google's emulator keeps serving a stream that was cut off.
            stream.half_close()
            stream.thread.join(2)
            stream.call.cancel()
            stream.wait_for_end()
        self.publisher.stop()
        self.publisher.transport.close()
        self.subscriber.close()
