"""One delivery of a message: the facts of its transport, and its answer, an ack or a nack."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message that the worker holds. `ack` and `nack` are thread-safe; the first call counts.

    `attempt` is Pub/Sub's count of deliveries, from 1; `None` without a dead-letter policy.
    """

    message_id: str
    data: bytes
    attributes: Mapping[str, str]
    ordering_key: str = ""
    attempt: int | None = None
    send_ack: Callable[[], None] = field(repr=False)
    send_nack: Callable[[], None] = field(repr=False)
    _settled: threading.Event = field(default_factory=threading.Event, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def ack(self) -> bool:
        """Ack the delivery: the effect is durable. Return False if it was answered before."""
        return self._settle(self.send_ack)

    def nack(self) -> bool:
        """Give the delivery back to Pub/Sub. Return False if it was answered before."""
        return self._settle(self.send_nack)

    @property
    def settled(self) -> bool:
        """True once an answer was chosen; it is sent at once."""
        return self._settled.is_set()

    def _settle(self, send: Callable[[], None]) -> bool:
        with self._lock:
            if self._settled.is_set():
                return False
            self._settled.set()
        send()
        return True
