"""The brake, a circuit breaker: it stops the worker when almost every photo fails permanently.

The worker is then at fault, not the photos. A bad deploy or a wrong bucket would otherwise turn a
whole backlog into dead letters. `Brake` decides when to stop, try again and give up; `daemon`
carries it out. docs/decisions/0011 gives the reasons for these rules.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Self

from worker.errors import BrakeHeld, Permanent, Reason
from worker.photo.outcome import Effect

TRIAL_DELIVERIES: Final = 3
"""A trial handles this many messages, one at a time. All must succeed, so the brake stays on in a
backlog in which only one photo in ten is sound. The number is small because each nacked message
loses one delivery attempt."""

TRIAL_IN_FLIGHT: Final = 1

_FIRST_REST: Final = 1 / 30
_LONGEST_REST: Final = 1 / 5
"""The first and the longest pause between trials, as shares of `seconds`. Each pause is twice as
long as the last, up to the longest. There is time for six trials, so one message loses at most six
delivery attempts."""

_PROOF = frozenset({Effect.REGISTERED, Effect.DEREGISTERED})
"""Effects that show in a trial that the worker can work again. No-ops do not show this."""

_SOUND = _PROOF | {Effect.ALREADY_CURRENT, Effect.SUPERSEDED}
"""Effects that count as successes. No-ops count too: in a replayed backlog 99 of 100 messages can
be no-ops; if they did not count, one bad photo would look like 100 % failures."""


class BrakeAction(Enum):
    """The worker's next action on its stream."""

    STOP = auto()
    """The brake has come on: close the stream."""

    TRY = auto()
    """Open a stream with `TRIAL_IN_FLIGHT` messages."""

    REST = auto()
    """The trial has failed: close its stream."""

    GO = auto()
    """The brake is off: close the trial's stream and open a full one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeCause:
    """Why the brake came on; `example` is the text of the last error with that reason."""

    failed: int
    of: int
    reason: Reason
    reason_count: int
    example: str

    def __str__(self) -> str:
        """Return one line for a log."""
        return (
            f"{self.failed} of the last {self.of} photos failed permanently, "
            f"{self.reason_count} of them as {self.reason.value} ({self.example})"
        )


class _State(Enum):
    OFF = auto()
    ON = auto()
    TRYING = auto()


@dataclass(slots=True)
class _Trial:
    handed_out: int = 0
    acked: int = 0
    proven: bool = False


class Brake:
    """A brake that comes on once `share` of the last `events` photos have failed; thread-safe.

    A photo counts once, with its latest end. With a share of 0 the brake stays off. After `seconds`
    without success, `next_action` raises; only one thread may call it. `clock` gives monotonic
    seconds.
    """

    def __init__(
        self,
        *,
        share: float,
        events: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._events = events
        # Round first, because 0.55 * 100 is a little more than 55.
        self._too_many = max(1, math.ceil(round(share * events, 6))) if share else math.inf
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._ends: OrderedDict[str, Permanent | None] = OrderedDict()
        self._state = _State.OFF
        self._action: BrakeAction | None = None
        self._trial = _Trial()
        self._on_since = 0.0
        self._rest_seconds = 0.0
        self._rest_until = 0.0
        self._cause: BrakeCause | None = None

    @classmethod
    def disengaged(cls) -> Self:
        """Return a brake that stays off."""
        return cls(share=0, events=1, seconds=0)

    @property
    def on(self) -> bool:
        """True while failures stay unrecorded; also true in trials."""
        return self._state is not _State.OFF

    @property
    def cause(self) -> BrakeCause | None:
        """Why the brake came on last; `None` if it was always off."""
        return self._cause

    @property
    def on_seconds(self) -> float:
        """Seconds since the brake came on last."""
        return self._clock() - self._on_since

    @property
    def next_trial_seconds(self) -> float:
        """Seconds until the next trial, while the brake rests; otherwise 0."""
        return max(0.0, self._rest_until - self._clock())

    def admit(self) -> bool:
        """Return True if a delivery may be handled; a trial admits only `TRIAL_DELIVERIES`."""
        with self._lock:
            if self._state is _State.TRYING and self._trial.handed_out < TRIAL_DELIVERIES:
                self._trial.handed_out += 1
                return True
            return self._state is _State.OFF

    def record_failure(self, photo: str, error: Permanent) -> bool:
        """Count a permanent failure; return True if it may be recorded and dead-lettered.

        Return False for the failure that turns the brake on, and for all failures while it is on.
        """
        with self._lock:
            if self._state is _State.TRYING:
                self._rest()
            if self._state is not _State.OFF:
                return False
            self._note(photo, error)
            failures = [end for end in self._ends.values() if end is not None]
            if len(failures) < self._too_many:
                return True
            self._come_on(failures)
            return False

    def acked(self, photo: str, effect: Effect) -> None:
        """Count an event that was acked."""
        with self._lock:
            if self._state is _State.OFF and effect in _SOUND:
                self._note(photo, None)
            elif self._state is _State.TRYING:
                self._trial.acked += 1
                self._trial.proven |= effect in _PROOF
                if self._trial.acked == TRIAL_DELIVERIES:
                    self._come_off() if self._trial.proven else self._rest()

    def record_nack(self) -> None:
        """Record that a delivery is about to be nacked, which ends a trial."""
        with self._lock:
            if self._state is _State.TRYING:
                self._rest()

    def next_action(self) -> BrakeAction | None:
        """Return the action to take now, or `None`; each action is returned once.

        Raises:
            BrakeHeld: the brake has been on for `seconds`.
        """
        with self._lock:
            now = self._clock()
            action, self._action = self._action, None
            if action is not None or self._state is _State.OFF:
                return action
            if now >= self._on_since + self._seconds:
                if self._state is _State.TRYING and self._trial.proven:
                    # All messages succeeded, but fewer came than a trial takes.
                    self._come_off()
                    self._action = None
                    return BrakeAction.GO
                raise BrakeHeld(
                    f"the brake was on for {self._seconds:.0f} s and nothing got better: "
                    f"{self._cause}; what was not dead-lettered is still in the subscription"
                )
            if self._state is _State.ON and now >= self._rest_until:
                self._state = _State.TRYING
                self._trial = _Trial()
                return BrakeAction.TRY
            return None

    def _note(self, photo: str, end: Permanent | None) -> None:
        self._ends.pop(photo, None)
        self._ends[photo] = end
        if len(self._ends) > self._events:
            self._ends.popitem(last=False)

    def _come_on(self, failures: list[Permanent]) -> None:
        (reason, count), *_ = Counter(error.reason for error in failures).most_common()
        self._cause = BrakeCause(
            failed=len(failures),
            of=len(self._ends),
            reason=reason,
            reason_count=count,
            example=next(str(error) for error in reversed(failures) if error.reason is reason),
        )
        self._ends.clear()
        self._state = _State.ON
        self._on_since = self._clock()
        self._rest_seconds = self._seconds * _FIRST_REST
        self._rest_until = self._on_since + self._rest_seconds
        self._action = BrakeAction.STOP

    def _rest(self) -> None:
        self._state = _State.ON
        self._rest_seconds = min(self._rest_seconds * 2, self._seconds * _LONGEST_REST)
        self._rest_until = self._clock() + self._rest_seconds
        self._action = BrakeAction.REST

    def _come_off(self) -> None:
        self._state = _State.OFF
        self._action = BrakeAction.GO
