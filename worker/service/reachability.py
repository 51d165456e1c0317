"""Reachability: watch whether a service that the worker needs still answers.

A stuck network is invisible: connections stay open, and a stream that brings nothing looks like an
empty queue. So a thread for each service sends a request every few seconds. The time since the last
answer decides, because a request that hangs says as much as a request that fails.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from worker.telemetry.logs import Log

LOOK_EVERY_SECONDS = 10.0

LOOK_AGAIN_SECONDS = 2.0
"""The pause after a look without an answer."""

SILENT_SECONDS = 20.0
"""After this time without an answer, a service counts as unreachable. A single look may fail."""

_NO_RETURN = "a look does not return"


class Reachability:
    """The reachability of one service; thread-safe, but only one thread may call `log_changes`.

    The service counts as reachable at first.

    `look` asks the service for anything and raises if the answer does not come; it may also hang.
    `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        service: str,
        look: Callable[[], object],
        log: Log,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._look = look
        self._log = log
        self._clock = clock
        self._answered_at = clock()
        self._detail = _NO_RETURN
        self._silent_since: float | None = None
        self._stopped = threading.Event()

    @property
    def reachable(self) -> bool:
        """True if the service has answered within the last `SILENT_SECONDS`."""
        return self._is_fresh(self._answered_at)

    def start(self) -> None:
        """Look from now on, in a thread that ends with the process or after `stop`."""
        self._answered_at = self._clock()
        threading.Thread(target=self._keep_looking, name=self._service, daemon=True).start()

    def stop(self) -> None:
        """End the looks, without waiting for a look that hangs."""
        self._stopped.set()

    def look(self) -> float:
        """Look once; return the seconds until the next look."""
        try:
            self._look()
        except Exception as error:  # noqa: BLE001 (any error counts as silence)
            self._detail = str(error)
            return LOOK_AGAIN_SECONDS
        self._answered_at = self._clock()
        self._detail = _NO_RETURN
        return LOOK_EVERY_SECONDS

    def log_changes(self) -> None:
        """Log if the service has turned unreachable, or answers again, since the last call."""
        answered_at = self._answered_at
        reachable = self._is_fresh(answered_at)
        if self._silent_since is None and not reachable:
            self._silent_since = answered_at
            self._log.warning(
                "unreachable",
                service=self._service,
                silent_seconds=round(self._clock() - answered_at, 1),
                detail=self._detail,
            )
        elif self._silent_since is not None and reachable:
            self._log.info(
                "reachable again",
                service=self._service,
                silent_seconds=round(answered_at - self._silent_since, 1),
            )
            self._silent_since = None

    def _is_fresh(self, answered_at: float) -> bool:
        return self._clock() - answered_at <= SILENT_SECONDS

    def _keep_looking(self) -> None:
        while not self._stopped.wait(self.look()):
            pass
