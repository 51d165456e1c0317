"""Attempts that stop before each request, so that a test says which of them goes on, and how.

Each attempt is a coroutine (a greenlet) around real code. One runs at a time, from one request to
the next, because between two requests nothing happens that another attempt could see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

# A dependency of playwright; its wheels lack types.
from greenlet import GreenletExit, getcurrent, greenlet  # type: ignore[import-untyped]

from worker.photo.events import Deregister, Register


class Fate(Enum):
    """What becomes of a request."""

    GO = auto()
    """It takes effect, and its answer arrives."""
    FAIL = auto()
    """It is lost on the way."""
    LOST = auto()
    """It takes effect, and its answer is lost."""
    REPEATED = auto()
    """It takes effect, its answer is lost, and the retry in place meets its own work: 412."""
    LATE = auto()
    """Its answer is lost, and it takes effect some time later."""
    TWICE = auto()
    """The retry in place takes effect, and some time later what was taken for lost does too."""


@dataclass(slots=True, eq=False)
class Message:
    """One message of the subscription, and what became of it.

    `event` is empty for what is not an event. `sound` and `failing`: some attempt has found its
    original fit to be rendered, or a reason to refuse it.
    """

    number: int
    data: bytes
    event: Register | Deregister | None
    deliveries: int = 0
    acked: bool = False
    sound: bool = False
    failing: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """The request that an attempt stands before; `name` is an object, a prefix or a topic."""

    verb: str
    name: str


class Attempt:
    """One delivery being handled, or one sweep (without a message).

    `home` is the process that it dies with, `number` which delivery of its message it is, if that
    is known, `told` what it has published and got confirmed (topic and data).
    """

    def __init__(self, home: str, message: Message | None, number: int | None) -> None:
        self.home = home
        self.message = message
        self.number = number
        self.told: list[tuple[str, bytes]] = []
        self.fate = Fate.GO
        self.stop: Stop | None = None
        self._killed = False
        self._stack: Any = None

    def begin(self, work: Callable[[], None]) -> None:
        """Run to the first request (`stop`)."""

        def run() -> None:
            getcurrent().attempt = self
            work()

        self._stack = greenlet(run)
        self.stop = self._stack.switch()

    def resume(self, fate: Fate) -> None:
        """Let it make its request, and run to the next one, or to its end (`stop` is empty)."""
        self.fate = fate
        self.stop = self._stack.switch()

    def kill(self) -> None:
        """End it where it stands, as a power cut does."""
        self._killed = True
        self._stack.throw()
        assert self._stack.dead
        self.stop = None

    def wait(self, verb: str, name: str) -> Fate:
        """Called from within: stand before a request until its fate is decided."""
        if self._killed:
            # Its `finally` blocks run, but their requests are dropped.
            raise GreenletExit
        self._stack.parent.switch(Stop(verb, name))
        return self.fate


def running() -> Attempt | None:
    """The attempt that runs now; `None` while the test itself does."""
    attempt: Attempt | None = getattr(getcurrent(), "attempt", None)
    return attempt
