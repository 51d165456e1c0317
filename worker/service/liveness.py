"""Liveness: whether the worker is alive, and ready for messages.

Alive means progress: the stream has not ended for good, child processes are up or on their way, the
daemon looks after them, and no message is handled for longer than anything could take. Ready also
means that Pub/Sub and Cloud Storage answer, and that the brake is off. Neither a stuck network nor
the brake makes a worker dead: a restart would mend nothing, and throw away what it renders, or what
it knows. Decides nothing, and knows no HTTP.
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
"""The daemon looks at its parts twice a second. Without a look for so long, beyond what closing a
stream may take, it hangs."""

START_SECONDS: Final = 600.0
"""A start asks for a handful of resources and waits a minute at most for child processes; each
request has time-outs of its own."""

STUCK_FACTOR: Final = 2.0
"""Times the longest handling that is legitimate: a restart costs all other messages in flight, so a
slow one must not cause it."""


class Phase(StrEnum):
    """Where a worker is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"


@dataclass(slots=True, kw_only=True)
class Liveness:
    """What the probes ask; thread-safe. `enter` and `beat` are the daemon's only.

    `handling_seconds` is the longest that a message may take for good reasons, `drain_seconds` what
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
        """The start is the first beat."""
        self._looked_at = self.clock()

    def enter(self, phase: Phase) -> None:
        """Go on to another phase."""
        self._looked_at = self.clock()
        self.phase = phase

    def looked(self) -> None:
        """Tell that the daemon still looks after its parts."""
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

        While the worker starts or drains, nothing has to be open, and only time can be up.
        """
        running = self.phase is Phase.RUNNING
        stuck_seconds = STUCK_FACTOR * self.handling_seconds
        return {
            "can_progress": not running or (self.consumer.open and self.pool.serving),
            "daemon_looks": self.clock() - self._looked_at <= self._patience_seconds,
            "nothing_stuck": self.leases.longest_handling_seconds <= stuck_seconds,
        }

    @property
    def _patience_seconds(self) -> float:
        if self.phase is Phase.STARTING:
            return START_SECONDS
        # Twice: the brake may close one stream behind another between two looks.
        return STILL_SECONDS + 2 * self.drain_seconds
