"""Liveness and readiness: what `/healthz` and `/readyz` answer.

Alive means progress: the stream has not ended for good, child processes are up or on their way, the
daemon looks after them, and each handling ends in time. Ready also means that Pub/Sub and Cloud
Storage answer, and that the brake is off. A worker whose network is stuck, or whose brake is on,
stays alive: a restart would only throw its renders away.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from worker.handlers.brake import Brake
from worker.handlers.leases import Leases
from worker.pubsub.consumer import Consumer
from worker.render.pool import RenderPool
from worker.service.reachability import Reachability

STILL_SECONDS: Final = 60.0
"""The daemon looks at its parts twice a second. After so long without a look, beyond the time that
closing a stream may take, it hangs."""

START_SECONDS: Final = 600.0
"""A start asks for a handful of resources, each with its own time-outs, and waits for child
processes for a minute at most."""

STUCK_FACTOR: Final = 2.0
"""Times the longest legitimate handling. A restart costs all other messages in flight, so a slow
one must not cause it."""


class Phase(StrEnum):
    """Where a worker is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"


@dataclass(slots=True, kw_only=True)
class Liveness:
    """The conditions that probes ask for; thread-safe. Only the daemon calls `enter` and `looked`.

    `handling_seconds` is the longest that a message may legitimately take, `drain_seconds` what
    closing a stream may take. `clock` gives monotonic seconds.
    """

    consumer: Consumer
    pool: RenderPool
    pubsub: Reachability
    storage: Reachability
    brake: Brake
    leases: Leases
    handling_seconds: float
    drain_seconds: float
    clock: Callable[[], float] = time.monotonic
    phase: Phase = Phase.STARTING
    _looked_at: float = field(init=False)

    def __post_init__(self) -> None:
        """Count the start as the first look."""
        self._looked_at = self.clock()

    def enter(self, phase: Phase) -> None:
        """Go on to another phase."""
        self._looked_at = self.clock()
        self.phase = phase

    def looked(self) -> None:
        """Note that the daemon has looked after its parts."""
        self._looked_at = self.clock()

    def ready(self) -> dict[str, bool]:
        """Each condition of readiness; all must hold."""
        return {
            "running": self.phase is Phase.RUNNING,
            "stream_open": self.consumer.open,
            "pool_alive": self.pool.alive,
            "pubsub_reachable": self.pubsub.reachable,
            "storage_reachable": self.storage.reachable,
            "brake_off": not self.brake.on,
        }

    def alive(self) -> dict[str, bool]:
        """Each condition of liveness; all must hold.

        While the worker starts or drains, its stream and children may be closed.
        """
        running = self.phase is Phase.RUNNING
        if self.phase is Phase.STARTING:
            patience_seconds = START_SECONDS
        else:
            # Twice: the brake may close one stream right after another between two looks.
            patience_seconds = STILL_SECONDS + 2 * self.drain_seconds
        stuck_seconds = STUCK_FACTOR * self.handling_seconds
        return {
            "can_progress": not running or (self.consumer.open and self.pool.serving),
            "daemon_looks": self.clock() - self._looked_at <= patience_seconds,
            "nothing_stuck": self.leases.longest_handling_seconds <= stuck_seconds,
        }
