"""The embedded broker's state: topics, subscriptions, and the messages between them.

This module does fan-out and dead-letter forwarding; `subscription` handles deliveries. It is a pure
state machine and not thread-safe: its caller holds one lock around every call (`shared` does).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import count

from worker.lab.emulator.records import (
    ACK_DEADLINE_RANGE_SECONDS,
    AlreadyExistsError,
    Faults,
    InvalidArgumentError,
    LeasedMessage,
    Message,
    NotFoundError,
    SubscriptionConfig,
    Topic,
    check_name,
    check_range,
)
from worker.lab.emulator.subscription import BrokerConsumer, Subscription

DELETED_TOPIC = "_deleted-topic_"
"""The topic of a subscription whose topic was deleted, as in Pub/Sub."""

MAX_MESSAGES_PER_PUBLISH = 1000


class Broker:
    """Topics and subscriptions. Every method may raise the `BrokerError` that its doc names.

    Args:
        clock: monotonic seconds; leases and rests are measured with it.
        wall_clock: aware time of day, for publish times.
        faults: misbehaviour on purpose, for tests.
        wake: called with a subscription's name when its consumers should look again.
        incarnation: part of every ack id, so that an ack meant for a broker that ran earlier on the
            same address cannot ack a message of this one.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], datetime],
        faults: Faults | None = None,
        wake: Callable[[str], None] = lambda _: None,
        incarnation: str = "0",
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._faults = faults or Faults()
        self._wake = wake
        self._incarnation = incarnation
        self._topics: dict[str, Topic] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._message_ids = count(1)
        self._ack_numbers = count(1)

    # Topics

    def create_topic(self, topic: Topic) -> None:
        """Add a topic. Raises InvalidArgumentError (name), AlreadyExistsError."""
        check_name(topic.name, "topics")
        if topic.name in self._topics:
            raise AlreadyExistsError(f"Topic already exists: {topic.name}")
        self._topics[topic.name] = topic

    def topic(self, name: str) -> Topic:
        """Look up a topic. Raises InvalidArgumentError (name), NotFoundError."""
        check_name(name, "topics")
        try:
            return self._topics[name]
        except KeyError:
            raise NotFoundError(f"Topic not found: {name}") from None

    def topics(self, project: str) -> list[Topic]:
        """List the topics of a project (`projects/P`), by name."""
        return [self._topics[name] for name in _of_project(self._topics, project)]

    def update_topic(self, topic: Topic) -> None:
        """Replace a topic's settings. Raises as `topic` does."""
        self.topic(topic.name)
        self._topics[topic.name] = topic

    def delete_topic(self, name: str) -> None:
        """Remove a topic; its subscriptions keep their backlog. Raises as `topic` does."""
        del self._topics[self.topic(name).name]
        for subscription in self._subscriptions.values():
            if subscription.config.topic == name:
                subscription.config = replace(subscription.config, topic=DELETED_TOPIC)

    def publish(self, topic: str, messages: Sequence[Message]) -> list[str]:
        """Give each subscription of a topic a copy; return the new message ids, in order.

        All or nothing. Raises NotFoundError, and InvalidArgumentError unless there are 1 to 1,000
        messages, each with data or attributes.
        """
        self.topic(topic)
        if not 0 < len(messages) <= MAX_MESSAGES_PER_PUBLISH:
            raise InvalidArgumentError(f"Publish 1 to {MAX_MESSAGES_PER_PUBLISH} messages at once")
        if any(not (message.data or message.attributes) for message in messages):
            raise InvalidArgumentError("A message needs data or attributes")
        return [self._publish(topic, message) for message in messages]

    # Subscriptions

    def create_subscription(self, config: SubscriptionConfig) -> None:
        """Add a subscription, which gets the messages that its topic gets from now on.

        Raises InvalidArgumentError (names, limits), NotFoundError (topic, dead-letter topic),
        AlreadyExistsError.
        """
        config.check()
        if config.name in self._subscriptions:
            raise AlreadyExistsError(f"Subscription already exists: {config.name}")
        self.topic(config.topic)
        self._check_dead_letter_topic(config)
        self._subscriptions[config.name] = Subscription(
            config,
            ack_ids=lambda: f"{config.name}:{self._incarnation}-{next(self._ack_numbers)}",
            forward=self._forward,
            faults=self._faults,
        )

    def subscription(self, name: str) -> SubscriptionConfig:
        """Look up a subscription. Raises InvalidArgumentError (name), NotFoundError."""
        return self._find(name).config

    def subscriptions(
        self, *, project: str | None = None, topic: str | None = None
    ) -> list[SubscriptionConfig]:
        """List subscriptions by name, of a project (`projects/P`) or of a topic."""
        names = (
            self._subscriptions if project is None else _of_project(self._subscriptions, project)
        )
        configs = [self._subscriptions[name].config for name in sorted(names)]
        return [config for config in configs if topic is None or config.topic == topic]

    def update_subscription(self, config: SubscriptionConfig) -> None:
        """Replace a subscription's settings; leases already given keep their deadlines.

        Raises as `create_subscription` does, and InvalidArgumentError for another topic.
        """
        subscription = self._find(config.name)
        if config.topic != subscription.config.topic:
            raise InvalidArgumentError("The topic of a subscription cannot change")
        config.check()
        self._check_dead_letter_topic(config)
        subscription.config = config

    def delete_subscription(self, name: str) -> None:
        """Remove a subscription with its backlog, and end its consumers. Raises NotFoundError."""
        self._find(name).deleted = True
        del self._subscriptions[name]
        self._wake(name)

    def seek(self, name: str, time: datetime) -> None:
        """Ack messages published before `time`; redeliver retained messages published since then.

        Messages acked earlier come back only if the subscription retains them. Raises
        NotFoundError.
        """
        self._find(name).seek(time)
        self._wake(name)

    # Deliveries

    def attach(
        self,
        name: str,
        *,
        lease_seconds: int | None = None,
        max_messages: int = 0,
        max_bytes: int = 0,
    ) -> BrokerConsumer:
        """Add a consumer with flow control (0 = none) and a lease (None = the subscription's).

        Raises NotFoundError, and InvalidArgumentError for a lease outside 10 to 600 seconds.
        """
        subscription = self._find(name)
        if lease_seconds is None:
            lease_seconds = subscription.config.ack_deadline_seconds
        check_range("stream_ack_deadline_seconds", lease_seconds, ACK_DEADLINE_RANGE_SECONDS)
        consumer = BrokerConsumer(subscription, lease_seconds, max_messages, max_bytes)
        subscription.consumers.add(consumer)
        return consumer

    def change_lease(self, consumer: BrokerConsumer, seconds: int) -> None:
        """Let later deliveries to a consumer be leased for `seconds`. Raises as `attach` does."""
        check_range("stream_ack_deadline_seconds", seconds, ACK_DEADLINE_RANGE_SECONDS)
        consumer.lease_seconds = seconds

    def detach(self, consumer: BrokerConsumer) -> None:
        """End a consumer; its messages are redelivered when their leases expire."""
        consumer.subscription.consumers.discard(consumer)
        # The fair part of the other consumers grew.
        self._wake(consumer.subscription.config.name)

    def take(self, consumer: BrokerConsumer, limit: int) -> list[LeasedMessage]:
        """Lease up to `limit` of the messages that are ready to a consumer.

        Raises NotFoundError once the subscription was deleted.
        """
        if consumer.subscription.deleted:
            raise NotFoundError(f"Subscription does not exist: {consumer.subscription.config.name}")
        now = self._clock()
        consumer.subscription.advance(now)
        return consumer.subscription.take(consumer, limit, now)

    def acknowledge(self, name: str, ack_ids: Iterable[str]) -> None:
        """End leases for good; unknown or expired ack ids are ignored.

        Raises NotFoundError, and InvalidArgumentError for an id that is not this subscription's.
        """
        subscription = self._find(name)
        subscription.advance(self._clock())
        for ack_id in _own_ack_ids(name, ack_ids):
            subscription.ack(ack_id)
        self._wake(name)

    def modify_ack_deadline(self, name: str, ack_ids: Iterable[str], seconds: int) -> None:
        """Let leases end in `seconds` (0 to 600; 0 is a nack). Raises as `acknowledge` does."""
        subscription = self._find(name)
        check_range("ack_deadline_seconds", seconds, (0, ACK_DEADLINE_RANGE_SECONDS[1]))
        now = self._clock()
        subscription.advance(now)
        for ack_id in _own_ack_ids(name, ack_ids):
            subscription.extend(ack_id, seconds, now)
        self._wake(name)

    def advance(self) -> None:
        """Carry out what is due by the clock: expired leases, ended rests, dead letters."""
        for name, subscription in self._subscriptions.items():
            if subscription.advance(self._clock()):
                self._wake(name)

    def next_due(self) -> float | None:
        """Return the clock's time at which `advance` has work again; `None` if it has none."""
        dues = [s.next_due() for s in self._subscriptions.values()]
        return min((due for due in dues if due is not None), default=None)

    def _find(self, name: str) -> Subscription:
        check_name(name, "subscriptions")
        try:
            return self._subscriptions[name]
        except KeyError:
            raise NotFoundError(f"Subscription does not exist: {name}") from None

    def _publish(self, topic: str, message: Message) -> str:
        message = replace(
            message, message_id=str(next(self._message_ids)), publish_time=self._wall_clock()
        )
        for name, subscription in self._subscriptions.items():
            if subscription.config.topic == topic:
                subscription.add(message)
                self._wake(name)
        return message.message_id

    def _forward(self, config: SubscriptionConfig, message: Message, deliveries: int) -> bool:
        if config.dead_letter is None or config.dead_letter.topic not in self._topics:
            return False
        _, project, _, name = config.name.split("/")
        published = message.publish_time.isoformat(timespec="milliseconds")
        source = {
            "CloudPubSubDeadLetterSourceDeliveryCount": str(deliveries),
            "CloudPubSubDeadLetterSourceSubscription": name,
            "CloudPubSubDeadLetterSourceSubscriptionProject": project,
            "CloudPubSubDeadLetterSourceTopicPublishTime": published.replace("+00:00", "Z"),
        }
        dead_letter = replace(message, attributes={**message.attributes, **source})
        self._publish(config.dead_letter.topic, dead_letter)
        return True

    def _check_dead_letter_topic(self, config: SubscriptionConfig) -> None:
        if config.dead_letter and config.dead_letter.topic not in self._topics:
            raise NotFoundError(f"Dead letter topic not found: {config.dead_letter.topic}")


def _of_project(names: Iterable[str], project: str) -> list[str]:
    return sorted(name for name in names if name.startswith(f"{project}/"))


def _own_ack_ids(name: str, ack_ids: Iterable[str]) -> list[str]:
    own = list(ack_ids)
    for ack_id in own:
        if not ack_id.startswith(f"{name}:"):
            raise InvalidArgumentError(f"Invalid ack id (ack_id={ack_id})")
    return own
