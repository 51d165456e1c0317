"""This module maps each unary call of `google.pubsub.v1` to the embedded broker.

It translates between protobuf messages and the values of `records`. Calls that are missing in
`UNARY_CALLS` are unimplemented on purpose (schemas, snapshots, push, detaching, IAM).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC
from typing import Any, TypeVar

from google.pubsub_v1 import types

from worker.lab.emulator.broker import DELETED_TOPIC, Broker
from worker.lab.emulator.records import (
    DeadLetterPolicy,
    InvalidArgumentError,
    LeasedMessage,
    Message,
    RetryPolicy,
    SubscriptionConfig,
    Topic,
)

_T = TypeVar("_T")

log = logging.getLogger(__name__)

# These are the classes that protoc made; the wrappers of google.pubsub_v1 copy messages on access.
type_of = {
    name: getattr(types, name).pb() for name in types.__all__ if hasattr(getattr(types, name), "pb")
}

Pb = Any
"""A protobuf message; they are made at run time, so type checkers see all of them alike."""

DEFAULT_ACK_DEADLINE_SECONDS = 10
DEFAULT_DELIVERY_ATTEMPTS = 5
DEFAULT_BACKOFF_SECONDS = (10, 600)
DEFAULT_RETENTION_SECONDS = 604_800
DEFAULT_PAGE_SIZE = 1000

_NOT_HONOURED = ("filter", "enable_message_ordering", "enable_exactly_once_delivery")


def received_messages(deliveries: Iterable[LeasedMessage]) -> list[Pb]:
    """Translate deliveries for a response of Pull or StreamingPull."""
    return [_received_message(delivery) for delivery in deliveries]


def _received_message(delivery: LeasedMessage) -> Pb:
    message = delivery.message
    pb = type_of["ReceivedMessage"](ack_id=delivery.ack_id, delivery_attempt=delivery.attempt)
    pb.message.data = message.data
    pb.message.attributes.update(message.attributes)
    pb.message.ordering_key = message.ordering_key
    pb.message.message_id = message.message_id
    pb.message.publish_time.FromDatetime(message.publish_time)
    return pb


def _create_topic(broker: Broker, request: Pb) -> Pb:
    broker.create_topic(Topic(name=request.name, rest=request.SerializeToString()))
    return request


def _get_topic(broker: Broker, request: Pb) -> Pb:
    return _topic_pb(broker.topic(request.topic))


def _update_topic(broker: Broker, request: Pb) -> Pb:
    changed = _topic_pb(broker.topic(request.topic.name))
    _merge(request.update_mask, request.topic, changed, immutable={"name"})
    broker.update_topic(Topic(name=changed.name, rest=changed.SerializeToString()))
    return changed


def _list_topics(broker: Broker, request: Pb) -> Pb:
    pbs = [_topic_pb(topic) for topic in broker.topics(request.project)]
    page, next_token = _page(pbs, request, name=lambda pb: str(pb.name))
    return type_of["ListTopicsResponse"](topics=page, next_page_token=next_token)


def _list_topic_subscriptions(broker: Broker, request: Pb) -> Pb:
    names = [config.name for config in broker.subscriptions(topic=request.topic)]
    page, next_token = _page(names, request, name=str)
    return type_of["ListTopicSubscriptionsResponse"](subscriptions=page, next_page_token=next_token)


def _delete_topic(broker: Broker, request: Pb) -> None:
    broker.delete_topic(request.topic)


def _publish(broker: Broker, request: Pb) -> Pb:
    messages = [
        Message(data=pb.data, attributes=dict(pb.attributes), ordering_key=pb.ordering_key)
        for pb in request.messages
    ]
    return type_of["PublishResponse"](message_ids=broker.publish(request.topic, messages))


def _create_subscription(broker: Broker, request: Pb) -> Pb:
    config = _config(request)
    broker.create_subscription(config)
    if ignored := [field for field in _NOT_HONOURED if getattr(request, field)]:
        log.warning("the embedded broker does not honour %s of %s", ", ".join(ignored), config.name)
    return _subscription_pb(config)


def _get_subscription(broker: Broker, request: Pb) -> Pb:
    return _subscription_pb(broker.subscription(request.subscription))


def _update_subscription(broker: Broker, request: Pb) -> Pb:
    changed = _subscription_pb(broker.subscription(request.subscription.name))
    _merge(
        request.update_mask, request.subscription, changed, immutable={"name", "topic", "filter"}
    )
    config = _config(changed)
    broker.update_subscription(config)
    return _subscription_pb(config)


def _list_subscriptions(broker: Broker, request: Pb) -> Pb:
    pbs = [_subscription_pb(config) for config in broker.subscriptions(project=request.project)]
    page, next_token = _page(pbs, request, name=lambda pb: str(pb.name))
    return type_of["ListSubscriptionsResponse"](subscriptions=page, next_page_token=next_token)


def _delete_subscription(broker: Broker, request: Pb) -> None:
    broker.delete_subscription(request.subscription)


def _acknowledge(broker: Broker, request: Pb) -> None:
    _require_ack_ids(request)
    broker.acknowledge(request.subscription, request.ack_ids)


def _modify_ack_deadline(broker: Broker, request: Pb) -> None:
    _require_ack_ids(request)
    broker.modify_ack_deadline(request.subscription, request.ack_ids, request.ack_deadline_seconds)


def _seek(broker: Broker, request: Pb) -> Pb:
    if not request.HasField("time"):
        raise InvalidArgumentError("Seek needs a time; the embedded broker has no snapshots")
    broker.seek(request.subscription, request.time.ToDatetime(tzinfo=UTC))
    return type_of["SeekResponse"]()


UnaryCall = Callable[[Broker, Pb], Pb | None]
"""Carries out a request and returns the response, None for an empty one; raises BrokerError."""

UNARY_CALLS: Mapping[str, Mapping[str, tuple[str, UnaryCall]]] = {
    "Publisher": {
        "CreateTopic": ("Topic", _create_topic),
        "GetTopic": ("GetTopicRequest", _get_topic),
        "UpdateTopic": ("UpdateTopicRequest", _update_topic),
        "ListTopics": ("ListTopicsRequest", _list_topics),
        "ListTopicSubscriptions": ("ListTopicSubscriptionsRequest", _list_topic_subscriptions),
        "DeleteTopic": ("DeleteTopicRequest", _delete_topic),
        "Publish": ("PublishRequest", _publish),
    },
    "Subscriber": {
        "CreateSubscription": ("Subscription", _create_subscription),
        "GetSubscription": ("GetSubscriptionRequest", _get_subscription),
        "UpdateSubscription": ("UpdateSubscriptionRequest", _update_subscription),
        "ListSubscriptions": ("ListSubscriptionsRequest", _list_subscriptions),
        "DeleteSubscription": ("DeleteSubscriptionRequest", _delete_subscription),
        "Acknowledge": ("AcknowledgeRequest", _acknowledge),
        "ModifyAckDeadline": ("ModifyAckDeadlineRequest", _modify_ack_deadline),
        "Seek": ("SeekRequest", _seek),
    },
}
"""By service and method: the name of the request's type, and the function for the call."""


def _topic_pb(topic: Topic) -> Pb:
    return type_of["Topic"].FromString(topic.rest)


def _subscription_pb(config: SubscriptionConfig) -> Pb:
    pb = type_of["Subscription"].FromString(config.rest)
    if config.topic == DELETED_TOPIC:
        pb.topic = DELETED_TOPIC
    return pb


def _config(pb: Pb) -> SubscriptionConfig:
    """Read a Subscription, after writing Pub/Sub's defaults into a copy that is kept."""
    kept = type_of["Subscription"]()
    kept.CopyFrom(pb)
    kept.ack_deadline_seconds = pb.ack_deadline_seconds or DEFAULT_ACK_DEADLINE_SECONDS
    if not pb.HasField("message_retention_duration"):
        kept.message_retention_duration.FromSeconds(DEFAULT_RETENTION_SECONDS)
    dead_letter = retry = None
    if pb.HasField("dead_letter_policy"):
        policy = kept.dead_letter_policy
        policy.max_delivery_attempts = policy.max_delivery_attempts or DEFAULT_DELIVERY_ATTEMPTS
        dead_letter = DeadLetterPolicy(
            topic=policy.dead_letter_topic, max_delivery_attempts=policy.max_delivery_attempts
        )
    if pb.HasField("retry_policy"):
        policy = kept.retry_policy
        for name, seconds in zip(
            ("minimum_backoff", "maximum_backoff"), DEFAULT_BACKOFF_SECONDS, strict=True
        ):
            if not policy.HasField(name):
                getattr(policy, name).FromSeconds(seconds)
        retry = RetryPolicy(
            minimum_backoff_seconds=policy.minimum_backoff.ToTimedelta().total_seconds(),
            maximum_backoff_seconds=policy.maximum_backoff.ToTimedelta().total_seconds(),
        )
    return SubscriptionConfig(
        name=pb.name,
        topic=pb.topic,
        ack_deadline_seconds=kept.ack_deadline_seconds,
        dead_letter=dead_letter,
        retry=retry,
        retain_acked_messages=pb.retain_acked_messages,
        rest=kept.SerializeToString(),
    )


def _merge(mask: Pb, source: Pb, target: Pb, *, immutable: set[str]) -> None:
    """Copy the fields that `mask` names, whole; those absent in the source are removed."""
    if not mask.paths:
        raise InvalidArgumentError("The update_mask must be set, and contain paths")
    for path in mask.paths:
        if path not in target.DESCRIPTOR.fields_by_name:
            raise InvalidArgumentError(f"Invalid update_mask: {path} is not a known field")
        if path in immutable:
            raise InvalidArgumentError(f"Invalid update_mask: {path} is not mutable")
    mask.MergeMessage(source, target, True, True)  # noqa: FBT003


def _page(items: list[_T], request: Pb, *, name: Callable[[_T], str]) -> tuple[list[_T], str]:
    """Cut one page out of items sorted by name; a page token is the name that comes next."""
    rest = [item for item in items if name(item) >= request.page_token]
    size = request.page_size or DEFAULT_PAGE_SIZE
    return rest[:size], name(rest[size]) if len(rest) > size else ""


def _require_ack_ids(request: Pb) -> None:
    if not request.ack_ids:
        raise InvalidArgumentError("No ack ids specified")
