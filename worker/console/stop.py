"""This module ends a long verb after a signal, and has the verb's exit code."""

from __future__ import annotations

import queue
import signal
from types import FrameType
from typing import Any, Final, Self

_SIGNAL_EXIT: Final = 128


class Stop:
    """The stop request of a long verb; a context manager, entered in the main thread.

    The first signal sets `asked`, and the verb only finishes what it has begun. The second raises
    `KeyboardInterrupt` in the main thread. `asked` and `wait` work from any thread.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        """`numbers` are the signals that it handles: SIGINT and SIGTERM by default."""
        self.number: int | None = None
        """The first signal that came."""

        self._numbers = numbers or (signal.SIGINT, signal.SIGTERM)
        self._before: dict[int, Any] = {}
        # A handler may interrupt its own thread anywhere, so it must not take a lock: an Event
        # would deadlock while the main thread waits for it. `SimpleQueue.put` is reentrant.
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        """Install the signal handlers."""
        for number in self._numbers:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the earlier signal handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def asked(self) -> bool:
        """Return True if the verb should only finish what it has begun."""
        return self.number is not None

    @property
    def exit_code(self) -> int | None:
        """Return 128 + n after signal n; `None` without one."""
        return None if self.number is None else _SIGNAL_EXIT + self.number

    def ask(self, number: int = signal.SIGTERM) -> None:
        """Request the stop as this signal would; from any thread, or a signal handler."""
        if self.number is None:
            self.number = number
            self._wake.put(None)

    def wait(self, seconds: float) -> bool:
        """Wait for the stop request, at most `seconds`; return True if it came."""
        if not self.asked:
            try:
                self._wake.get(timeout=seconds)
            except queue.Empty:
                return self.asked
            self._wake.put(None)  # wake the next thread that waits
        return self.asked

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.ask(number)
