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
"""The daemon looks at its parts twice a second. After this time without a look, plus the time to
close a stream, it counts as hung."""

START_SECONDS: Final = 600.0
"""The longest start. It checks a handful of resources, each with its own time-outs, and waits for
child processes for a minute at most."""

STUCK_FACTOR: Final = 2.0
"""A handling is stuck after this many times the longest legitimate handling. A restart interrupts
all other messages in flight, so a message that is only slow must not cause one."""


class Phase(StrEnum):
    """Where a worker is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"


@dataclass(slots=True, kw_only=True)
class Liveness:
    """The conditions that probes ask for; thread-safe. Only the daemon calls `enter` and `looked`.

    `handling_seconds` is the longest time that a message may take, `drain_seconds` the longest time
    that closing a stream may take. `clock` gives monotonic seconds.
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
        """Change to another phase."""
        self._looked_at = self.clock()
        self.phase = phase

    def looked(self) -> None:
        """Record that the daemon has looked at its parts."""
        self._looked_at = self.clock()

    def ready(self) -> dict[str, bool]:
        """Return each condition of readiness; all must hold."""
        return {
            "running": self.phase is Phase.RUNNING,
            "stream_open": self.consumer.open,
            "pool_alive": self.pool.alive,
            "pubsub_reachable": self.pubsub.reachable,
            "storage_reachable": self.storage.reachable,
            "brake_off": not self.brake.on,
        }

    def alive(self) -> dict[str, bool]:
        """Return each condition of liveness; all must hold.

        While the worker starts or drains, its stream and children may be closed.
        """
        running = self.phase is Phase.RUNNING
        if self.phase is Phase.STARTING:
            patience_seconds = START_SECONDS
        else:
            # Allow two drains: the brake may close two streams between two looks.
            patience_seconds = STILL_SECONDS + 2 * self.drain_seconds
        stuck_seconds = STUCK_FACTOR * self.handling_seconds
        return {
            "can_progress": not running or (self.consumer.open and self.pool.serving),
            "daemon_looks": self.clock() - self._looked_at <= patience_seconds,
            "nothing_stuck": self.leases.longest_handling_seconds <= stuck_seconds,
        }
