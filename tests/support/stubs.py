"""The parts of a worker that its health is read from, a clock and a delivery, for tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from worker.handlers.brake import Brake
from worker.handlers.leases import Leases
from worker.photo.delivery import Delivery
from worker.pubsub.consumer import Consumer
from worker.render.pool import RenderPool
from worker.service.liveness import Liveness
from worker.service.reachability import Reachability

HANDLING_SECONDS = 540.0
DRAIN_SECONDS = 20.0


def delivery(answers: list[str] | None = None, **fields: Any) -> Delivery:
    """A delivery whose answers, `ack` or `nack`, turn up in a list."""
    sent = [] if answers is None else answers
    message: dict[str, Any] = {"message_id": "m-1", "data": b"", "attributes": {}}
    return Delivery(
        **(message | fields),
        send_ack=lambda: sent.append("ack"),
        send_nack=lambda: sent.append("nack"),
    )


class Ticks:
    """Monotonic seconds that only a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Parts:
    """A healthy worker, and its liveness."""

    def __init__(self) -> None:
        self.ticks = Ticks()
        self.consumer = SimpleNamespace(open=True, running=0)
        self.pool = SimpleNamespace(
            alive=True,
            serving=True,
            running=0,
            admitted_bytes=0,
            recipe=SimpleNamespace(fingerprint="f1ngerpr1nt"),
        )
        self.pubsub = SimpleNamespace(reachable=True)
        self.storage = SimpleNamespace(reachable=True)
        self.brake = SimpleNamespace(on=False)
        self.leases = Leases(clock=self.ticks)
        self.liveness = Liveness(
            consumer=cast("Consumer", self.consumer),
            pool=cast("RenderPool", self.pool),
            pubsub=cast("Reachability", self.pubsub),
            storage=cast("Reachability", self.storage),
            brake=cast("Brake", self.brake),
            leases=self.leases,
            handling_seconds=HANDLING_SECONDS,
            drain_seconds=DRAIN_SECONDS,
            clock=self.ticks,
        )
