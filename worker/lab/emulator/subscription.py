"""One subscription of the embedded broker: its backlog, leases, attempts and redelivery.

This module implements Pub/Sub's promises about a delivery after a message has reached a
subscription. It is a pure state machine: the caller passes `now`, monotonic seconds, and holds a
lock, because it is not thread-safe.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import count

from worker.lab.emulator.records import Faults, LeasedMessage, Message, SubscriptionConfig

BATCH_BYTES = 3 << 20
"""The most bytes of one response (a larger message goes alone): Google's clients refuse larger
responses as a whole if `PUBSUB_EMULATOR_HOST` points them at an emulator."""


@dataclass(slots=True, eq=False)
class BrokerConsumer:
    """A stream or a single pull, with its flow control. A limit of 0 means unlimited."""

    subscription: Subscription
    lease_seconds: int
    max_messages: int = 0
    max_bytes: int = 0
    held_messages: int = 0
    held_bytes: int = 0

    @property
    def has_room(self) -> bool:
        """Return True if flow control permits one more message."""
        return (self.max_messages <= 0 or self.held_messages < self.max_messages) and (
            self.max_bytes <= 0 or self.held_bytes < self.max_bytes
        )


@dataclass(slots=True, eq=False)
class _Entry:
    """A message on its way through this subscription: ready, resting, leased or acked."""

    message: Message
    deliveries: int = 0
    acked: bool = False
    is_duplicate: bool = False
    rests_until: float | None = None


@dataclass(slots=True, eq=False)
class _Lease:
    ack_id: str
    entry: _Entry
    consumer: BrokerConsumer
    deadline: float


class Subscription:
    """The deliveries of one subscription.

    Args:
        config: the owner may replace it at any time; it applies to later deliveries.
        ack_ids: makes ack ids that are new to this broker.
        forward: takes a message and its number of deliveries to the dead-letter topic, or returns
            False if that is impossible: the message is then redelivered for ever, as in Pub/Sub.
        faults: misbehaviour on purpose.
    """

    def __init__(
        self,
        config: SubscriptionConfig,
        *,
        ack_ids: Callable[[], str],
        forward: Callable[[SubscriptionConfig, Message, int], bool],
        faults: Faults,
    ) -> None:
        self.config = config
        self.deleted = False
        self.consumers: set[BrokerConsumer] = set()
        self._next_ack_id = ack_ids
        self._forward = forward
        self._faults = faults
        # The numbers are not for security; the seed makes a failing test fail again.
        self._random = random.Random(f"{faults.seed}:{config.name}")  # noqa: S311
        self._entries: dict[_Entry, None] = {}
        self._ready: deque[_Entry] = deque()
        self._leases: dict[str, _Lease] = {}
        self._due: list[tuple[float, int, _Lease | _Entry]] = []
        self._tie_break = count()

    def add(self, message: Message) -> None:
        """Append a published message to the backlog."""
        self._queue(_Entry(message))

    def take(self, consumer: BrokerConsumer, limit: int, now: float) -> list[LeasedMessage]:
        """Lease up to `limit` ready messages to a consumer, within its flow control.

        Several consumers share the backlog, so one call takes at most a fair part of it. A consumer
        that has left gets an empty list.
        """
        if consumer not in self.consumers:
            return []
        limit = min(limit, math.ceil(len(self._ready) / len(self.consumers)))
        taken: list[LeasedMessage] = []
        size = 0
        while self._ready and len(taken) < limit and consumer.has_room:
            if self._faults.reorder:
                self._ready.rotate(-self._random.randrange(len(self._ready)))
            size += self._ready[0].message.size_bytes
            if taken and size > BATCH_BYTES:
                break
            taken.append(self._deliver(self._ready.popleft(), consumer, now))
        return taken

    def ack(self, ack_id: str) -> None:
        """End a lease for good. An unknown or expired ack id is ignored."""
        if lease := self._release(ack_id):
            self._settle(lease.entry)

    def extend(self, ack_id: str, seconds: int, now: float) -> None:
        """Let a lease end `seconds` from now; 0 is a nack. An unknown ack id is ignored."""
        if seconds == 0:
            if lease := self._release(ack_id):
                self._redeliver(lease.entry, now)
        elif known := self._leases.get(ack_id):
            known.deadline = now + seconds
            self._schedule(known.deadline, known)

    def advance(self, now: float) -> bool:
        """Handle expired leases and ended rests; return True if there were any."""
        changed = False
        while (due := self.next_due()) is not None and due <= now:
            item = heapq.heappop(self._due)[2]
            changed = True
            if isinstance(item, _Lease):
                self._release(item.ack_id)
                self._redeliver(item.entry, now)
            else:
                item.rests_until = None
                self._ready.append(item)
        return changed

    def next_due(self) -> float | None:
        """Return the time at which `advance` has work again, or `None`."""
        while self._due and not self._is_current(*self._due[0]):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def seek(self, time: datetime) -> None:
        """Ack messages published before `time`; bring back retained messages published since."""
        for lease in [x for x in self._leases.values() if x.entry.message.publish_time < time]:
            self._release(lease.ack_id)
        for entry in list(self._entries):
            if entry.message.publish_time < time:
                self._settle(entry)
        self._ready = deque(entry for entry in self._ready if not entry.acked)
        for entry in self._entries:
            if entry.acked and entry.message.publish_time >= time:
                entry.acked = False
                entry.deliveries = 0
                self._ready.append(entry)

    def _queue(self, entry: _Entry) -> None:
        self._entries[entry] = None
        self._ready.append(entry)

    def _deliver(self, entry: _Entry, consumer: BrokerConsumer, now: float) -> LeasedMessage:
        if entry.is_duplicate:
            entry.is_duplicate = False
        else:
            entry.deliveries += 1
            # Draw a number only if this fault is on, so that it does not change the other's order.
            if self._faults.duplicate and self._random.random() < self._faults.duplicate:
                self._queue(_Entry(entry.message, deliveries=entry.deliveries, is_duplicate=True))
        lease = _Lease(self._next_ack_id(), entry, consumer, now + consumer.lease_seconds)
        self._leases[lease.ack_id] = lease
        self._schedule(lease.deadline, lease)
        consumer.held_messages += 1
        consumer.held_bytes += entry.message.size_bytes
        return LeasedMessage(
            ack_id=lease.ack_id,
            message=entry.message,
            attempt=entry.deliveries if self.config.dead_letter else 0,
        )

    def _release(self, ack_id: str) -> _Lease | None:
        lease = self._leases.pop(ack_id, None)
        if lease:
            lease.consumer.held_messages -= 1
            lease.consumer.held_bytes -= lease.entry.message.size_bytes
        return lease

    def _settle(self, entry: _Entry) -> None:
        entry.acked = True
        entry.rests_until = None
        if not self.config.retain_acked_messages:
            self._entries.pop(entry, None)

    def _redeliver(self, entry: _Entry, now: float) -> None:
        policy = self.config.dead_letter
        if (
            policy
            and entry.deliveries >= policy.max_delivery_attempts
            and self._forward(self.config, entry.message, entry.deliveries)
        ):
            self._settle(entry)
            return
        retry = self.config.retry
        rest_seconds = retry.backoff_seconds(entry.deliveries) if retry else 0.0
        if rest_seconds > 0:
            entry.rests_until = now + rest_seconds
            self._schedule(entry.rests_until, entry)
        else:
            self._ready.append(entry)

    def _schedule(self, due: float, item: _Lease | _Entry) -> None:
        heapq.heappush(self._due, (due, next(self._tie_break), item))

    def _is_current(self, due: float, _: int, item: _Lease | _Entry) -> bool:
        if isinstance(item, _Entry):
            return item.rests_until == due
        return item.deadline == due and self._leases.get(item.ack_id) is item
