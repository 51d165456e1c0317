"""The gate between the stream and `dispatch`: a delivery waits here while Cloud Storage is silent.

If deliveries were tried and nacked during an outage, they would use up their delivery attempts
within minutes. So the gate holds them, with their leases extended, until the service answers or the
worker drains.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Protocol

from worker.handlers.leases import Leases
from worker.photo.delivery import Delivery

_LOOK_SECONDS: Final = 0.5


class RenderQueue(Protocol):
    """The part of the render pool that a drain closes."""

    def open_admission(self) -> None:
        """Accept renders again."""

    def close_admission(self) -> None:
        """Refuse renders that wait or arrive; running renders go on."""


class Gate:
    """A gate that hands deliveries to `dispatch`, each in the thread that brings it; thread-safe.

    Args:
        dispatch: handles and answers one delivery.
        storage_answers: returns True if Cloud Storage has answered lately.
        renders: the queue that opens and closes with the gate.
        leases: records which deliveries are held, and which are being handled.
        closed: set while the gate is closed. `dispatch` waits on this event before a nack.
    """

    def __init__(
        self,
        dispatch: Callable[[Delivery], None],
        storage_answers: Callable[[], bool],
        renders: RenderQueue,
        leases: Leases,
        closed: threading.Event,
    ) -> None:
        self._dispatch = dispatch
        self._storage_answers = storage_answers
        self._renders = renders
        self._leases = leases
        self._closed = closed

    def open(self) -> None:
        """Let deliveries through; the consumer calls this before a stream opens."""
        self._closed.clear()
        self._renders.open_admission()

    def close(self) -> None:
        """Nack what waits for Cloud Storage or a slot; the consumer calls this to begin a drain."""
        self._closed.set()
        self._renders.close_admission()

    def __call__(self, delivery: Delivery) -> None:
        """Handle a delivery once Cloud Storage answers; nack it if a drain comes before that."""
        with self._leases.hold(delivery) as lease:
            while not self._storage_answers():
                if self._closed.wait(_LOOK_SECONDS):
                    delivery.nack()
                    return
            lease.begin()
            self._dispatch(delivery)
