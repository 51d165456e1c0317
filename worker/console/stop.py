"""Stop: how a signal ends a long verb, and what the verb exits with."""

from __future__ import annotations

import queue
import signal
from types import FrameType
from typing import Any, Final, Self

_SIGNAL_EXIT: Final = 128


class Stop:
    """Whether a long verb shall end; a context manager, entered in the main thread.

    The first signal sets `asked`, and the verb only finishes what it has begun. The second raises
    `KeyboardInterrupt` in the main thread. `asked` and `wait` work from any thread.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        """`numbers` are the signals to heed: SIGINT and SIGTERM by default."""
        self.number: int | None = None
        """The first signal that came."""

        self._numbers = numbers or (signal.SIGINT, signal.SIGTERM)
        self._before: dict[int, Any] = {}
        # A handler may interrupt its own thread anywhere, so it must not take a lock: an Event
        # would deadlock where the main thread is just waiting for it. `put` here is reentrant.
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        """Take the signals."""
        for number in self._numbers:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back to the handlers of before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def asked(self) -> bool:
        """Whether the verb shall only finish what it has begun."""
        return self.number is not None

    @property
    def exit_code(self) -> int | None:
        """128 + n after signal n."""
        return None if self.number is None else _SIGNAL_EXIT + self.number

    def ask(self, number: int = signal.SIGTERM) -> None:
        """Ask as this signal would; from any thread, or a signal handler."""
        if self.number is None:
            self.number = number
            self._wake.put(None)

    def wait(self, seconds: float) -> bool:
        """Wait until it is asked, so long at most; whether it was."""
        if not self.asked:
            try:
                self._wake.get(timeout=seconds)
            except queue.Empty:
                return self.asked
            self._wake.put(None)  # for the next thread that waits
        return self.asked

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.ask(number)
