"""The brake, a circuit breaker: when almost every photo fails for good, the worker is at fault.

A bad deploy or a wrong bucket would otherwise turn a whole backlog into dead letters. `Brake`
decides when to stop, when to try again, and when to give up; `daemon` does it. Why these rules:
docs/decisions/0011.
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
"""Handed out in one trial, one by one. All must succeed, so a backlog in which one photo in ten is
sound does not take the brake off. They are few, because each one that is given back has lost a
delivery attempt."""

TRIAL_IN_FLIGHT: Final = 1

_FIRST_REST: Final = 1 / 30
_LONGEST_REST: Final = 1 / 5
"""Shares of the whole time, between trials; each rest is twice as long as the last. Six trials fit,
so the message that Pub/Sub delivers first in every trial loses at most six attempts."""

_PROOF = frozenset({Effect.REGISTERED, Effect.DEREGISTERED})
"""What shows in a trial that work succeeds again; no-ops do not."""

_SOUND = _PROOF | {Effect.ALREADY_CURRENT, Effect.SUPERSEDED}
"""Successes: they keep the share of failures down. No-ops count as successes: without them, one bad
photo in a hundred of a replayed backlog would look like all of it."""


class BrakeAction(Enum):
    """What the worker has to do with its stream now."""

    STOP = auto()
    """The brake has come on: end the stream."""

    TRY = auto()
    """Open a stream with `TRIAL_IN_FLIGHT` messages."""

    REST = auto()
    """The trial has failed: end its stream."""

    GO = auto()
    """The brake is off: end the trial's stream and open a full one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeCause:
    """Why the brake came on; `example` is the message of the last failure with that reason."""

    failed: int
    of: int
    reason: Reason
    reason_count: int
    example: str

    def __str__(self) -> str:
        """One line for a log."""
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
    """Comes on once `share` of the last `events` photos have failed; thread-safe.

    A photo counts once, with its latest end. With a share of 0 it stays off. After `seconds`
    without success it gives up. One thread calls `next_action`. `clock` gives monotonic seconds.
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
        # Rounded first: 0.55 * 100 is a little more than 55.
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
        """A brake that stays off."""
        return cls(share=0, events=1, seconds=0)

    @property
    def on(self) -> bool:
        """Whether failures are kept off the record; true in trials too."""
        return self._state is not _State.OFF

    @property
    def cause(self) -> BrakeCause | None:
        """Why it came on last."""
        return self._cause

    @property
    def on_seconds(self) -> float:
        """Seconds since it came on last."""
        return self._clock() - self._on_since

    @property
    def next_trial_seconds(self) -> float:
        """Seconds until the next trial, while it rests."""
        return max(0.0, self._rest_until - self._clock())

    def admits(self) -> bool:
        """Whether a delivery may be handled; in a trial, only a few are."""
        with self._lock:
            if self._state is _State.TRYING and self._trial.handed_out < TRIAL_DELIVERIES:
                self._trial.handed_out += 1
                return True
            return self._state is _State.OFF

    def may_fail(self, photo: str, error: Permanent) -> bool:
        """Count a permanent failure; whether it may be put on record and dead-lettered.

        False from the failure that brings the brake on; it and all after it stay unrecorded.
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
        """Count an event that was settled for good."""
        with self._lock:
            if self._state is _State.OFF and effect in _SOUND:
                self._note(photo, None)
            elif self._state is _State.TRYING:
                self._trial.acked += 1
                self._trial.proven |= effect in _PROOF
                if self._trial.acked == TRIAL_DELIVERIES:
                    self._come_off() if self._trial.proven else self._rest()

    def giving_back(self) -> None:
        """Note that a delivery is about to be nacked, which ends a trial."""
        with self._lock:
            if self._state is _State.TRYING:
                self._rest()

    def next_action(self) -> BrakeAction | None:
        """What to do now, if anything; each action comes once.

        Raises:
            BrakeHeld: it has been on for too long.
        """
        with self._lock:
            now = self._clock()
            action, self._action = self._action, None
            if action is not None or self._state is _State.OFF:
                return action
            if now >= self._on_since + self._seconds:
                if self._state is _State.TRYING and self._trial.proven:
                    # Fewer messages came than a trial takes, and all of them succeeded.
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
