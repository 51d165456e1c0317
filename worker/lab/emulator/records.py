"""The embedded broker's values, and the limits and names that Pub/Sub enforces.

They are plain values without gRPC or a clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar

ACK_DEADLINE_RANGE_SECONDS = (10, 600)
DELIVERY_ATTEMPTS_RANGE = (5, 100)
MAX_BACKOFF_SECONDS = 600

UNPUBLISHED = datetime.min.replace(tzinfo=UTC)
"""The publish time of a message before it is published."""

# https://docs.cloud.google.com/pubsub/docs/pubsub-basics#resource_names
_NAME = re.compile(
    r"projects/([^/]+)/(topics|subscriptions)/(?!goog)([A-Za-z][\w.~+%-]{2,254})", re.ASCII
)


class BrokerError(Exception):
    """A refused request. `status` is the name of its gRPC status code."""

    status: ClassVar[str] = "UNKNOWN"


class NotFoundError(BrokerError):
    """The topic or subscription does not exist (any more)."""

    status = "NOT_FOUND"


class AlreadyExistsError(BrokerError):
    """The topic or subscription exists."""

    status = "ALREADY_EXISTS"


class InvalidArgumentError(BrokerError):
    """The request itself is wrong, in any state of the broker."""

    status = "INVALID_ARGUMENT"


def check_name(name: str, kind: str) -> None:
    """Raise InvalidArgumentError unless `name` is one of a `kind`: topics or subscriptions."""
    match = _NAME.fullmatch(name)
    if match is None or match[2] != kind:
        raise InvalidArgumentError(f"Invalid [{kind}] name: (name={name})")


def check_range(what: str, value: float, limits: tuple[float, float]) -> None:
    """Raise InvalidArgumentError unless `value` is within `limits`, both included."""
    low, high = limits
    if not low <= value <= high:
        raise InvalidArgumentError(f"{what} must be between {low:g} and {high:g}, not {value:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic; `rest` is opaque: settings that the broker keeps for the caller and ignores."""

    name: str
    rest: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Misbehaviour on purpose, for tests; equal seeds give equal misbehaviour.

    Attributes:
        seed: the seed of the random numbers; each subscription combines it with its own name.
        duplicate: the probability (0 to 1) that a delivered message is delivered once more, under
            another ack id: acking one copy does not ack the other.
        reorder: deliver the backlog in random order.
        reset_stream_after: end each stream with UNAVAILABLE after so many delivered messages.
    """

    seed: int = 0
    duplicate: float = 0.0
    reorder: bool = False
    reset_stream_after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message of a topic. The broker sets `message_id` and `publish_time` on publish."""

    data: bytes = b""
    attributes: Mapping[str, str] = field(default_factory=dict)
    ordering_key: str = ""
    message_id: str = ""
    publish_time: datetime = UNPUBLISHED

    @property
    def size_bytes(self) -> int:
        """Return the bytes of data and attributes, as flow control counts them."""
        return len(self.data) + sum(len(k) + len(v) for k, v in self.attributes.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterPolicy:
    """The topic for a message after `max_delivery_attempts` deliveries that were not acked."""

    topic: str
    max_delivery_attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The time between a nack or an expired lease and the redelivery of a message."""

    minimum_backoff_seconds: float
    maximum_backoff_seconds: float

    def backoff_seconds(self, deliveries: int) -> float:
        """Return the rest after so many deliveries: the minimum, doubled each time, capped."""
        # Without a cap on the exponent, the thousandth redelivery would overflow a float.
        doubled = self.minimum_backoff_seconds * 2.0 ** min(deliveries - 1, 60)
        return min(doubled, self.maximum_backoff_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionConfig:
    """The settings of a subscription.

    `rest` has settings that the state machine keeps for the caller and ignores.
    """

    name: str
    topic: str
    ack_deadline_seconds: int = 10
    dead_letter: DeadLetterPolicy | None = None
    retry: RetryPolicy | None = None
    retain_acked_messages: bool = False
    rest: bytes = b""

    def check(self) -> None:
        """Raise InvalidArgumentError for a name or number outside of Pub/Sub's limits."""
        check_name(self.name, "subscriptions")
        deadline = self.ack_deadline_seconds
        check_range("ack_deadline_seconds", deadline, ACK_DEADLINE_RANGE_SECONDS)
        if self.dead_letter:
            attempts = self.dead_letter.max_delivery_attempts
            check_range("max_delivery_attempts", attempts, DELIVERY_ATTEMPTS_RANGE)
        if self.retry:
            least, most = self.retry.minimum_backoff_seconds, self.retry.maximum_backoff_seconds
            check_range("minimum_backoff", least, (0, MAX_BACKOFF_SECONDS))
            check_range("maximum_backoff", most, (least, MAX_BACKOFF_SECONDS))


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedMessage:
    """A message leased to a consumer. `attempt` is 0 without a dead-letter policy."""

    ack_id: str
    message: Message
    attempt: int
