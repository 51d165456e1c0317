"""Dead letters made by hand, and a subscription of them in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from google.cloud import pubsub_v1

from worker.photo.dead_letter import DeadLetter

DEAD_AT = datetime(2026, 11, 22, 11, tzinfo=UTC)
"""An hour before the clock of the fakes."""

BY_WORKER = {
    "dead_letter_reason": "corrupt_original",
    "dead_letter_message": "VipsJpeg: premature end of JPEG image",
    "dead_letter_worker": "photo-worker/0.1.0 host-7:42",
}
BY_PUBSUB = {
    "CloudPubSubDeadLetterSourceDeliveryCount": "10",
    "CloudPubSubDeadLetterSourceSubscription": "photos",
    "CloudPubSubDeadLetterSourceSubscriptionProject": "p",
    "CloudPubSubDeadLetterSourceTopicPublishTime": "2026-11-22T10:00:00.000+00:00",
}


def event(photo_id: str = "a", version: int = 17, **more: Any) -> dict[str, Any]:
    return {
        "type": "photo.register",
        "photo_id": photo_id,
        "version": version,
        "original": f"gs://originals/{photo_id}.jpg",
        **more,
    }


def letter(
    message_id: str = "1",
    data: bytes | dict[str, Any] | None = None,
    attributes: dict[str, str] | None = None,
    *,
    at: datetime = DEAD_AT,
    ordering_key: str = "",
) -> DeadLetter:
    """A dead letter, by the worker's fast path unless its attributes say otherwise."""
    if data is None:
        data = event()
    return DeadLetter(
        message_id=message_id,
        published_at=at,
        data=data if isinstance(data, bytes) else json.dumps(data).encode(),
        attributes=BY_WORKER if attributes is None else attributes,
        ordering_key=ordering_key,
    )


class FakeLetters:
    """`replay.Letters` from lists. `journal` is shared with what is published."""

    def __init__(self, *pages: list[DeadLetter], journal: list[str] | None = None) -> None:
        self.arrived = 0
        self.journal: list[str] = [] if journal is None else journal
        self.acked: list[str] = []
        self.before_ack: Callable[[], object] = lambda: None
        self._pages = pages

    def pages(self) -> Iterator[list[DeadLetter]]:
        for page in self._pages:
            self.journal.append("page")
            yield page

    def ack(self, letters: Iterable[DeadLetter]) -> None:
        self.before_ack()
        ids = [each.message_id for each in letters]
        self.journal.append(f"ack {' '.join(ids)}")
        self.acked += ids


class FakeSubscription:
    """A subscription behind Google's client: `pulls` are the answers to come, then emptiness.

    Each pull costs `pull_seconds` of its own clock.
    """

    def __init__(self, *pulls: list[DeadLetter] | Exception) -> None:
        self.pulls = list(pulls)
        self.pull_seconds = 1.0
        self.seconds = 0.0
        self.settings: Any = SimpleNamespace(
            message_retention_duration=None,
            dead_letter_policy=SimpleNamespace(dead_letter_topic=""),
        )
        self.asked: list[int] = []
        self.acked: list[str] = []
        self.deadlines: list[tuple[str, int]] = []
        self.errors: dict[str, Exception] = {}
        self._ack_number = 0

    @property
    def client(self) -> pubsub_v1.SubscriberClient:
        return cast("pubsub_v1.SubscriberClient", self)

    def monotonic(self) -> float:
        return self.seconds

    def pull(self, *, max_messages: int, **_: Any) -> Any:
        self.asked.append(max_messages)
        self.seconds += self.pull_seconds
        answer = self.pulls.pop(0) if self.pulls else []
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(received_messages=[self._received(each) for each in answer])

    def _received(self, each: DeadLetter) -> Any:
        self._ack_number += 1
        message = SimpleNamespace(
            message_id=each.message_id,
            publish_time=each.published_at,
            data=each.data,
            attributes=each.attributes,
            ordering_key=each.ordering_key,
        )
        return SimpleNamespace(ack_id=f"ack-{self._ack_number}", message=message)

    def acknowledge(self, *, ack_ids: list[str], **_: Any) -> None:
        self._fail("acknowledge")
        self.acked += ack_ids

    def modify_ack_deadline(
        self, *, ack_ids: list[str], ack_deadline_seconds: int, **_: Any
    ) -> None:
        self._fail("modify_ack_deadline")
        self.deadlines += [(each, ack_deadline_seconds) for each in ack_ids]

    def get_subscription(self, **_: Any) -> Any:
        self._fail("get_subscription")
        return self.settings

    def _fail(self, verb: str) -> None:
        if verb in self.errors:
            raise self.errors[verb]
