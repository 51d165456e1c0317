"""Whether a service that the worker cannot do without still answers.

A stuck network shows nowhere by itself: connections stay open, and a stream on which nothing comes
looks like an empty queue. So each service is looked at every few seconds, in a thread of its own,
and what counts is how long ago it last answered: a look that never ends says as much as one that
fails.

Knows no service: what a look is, and what counts as an answer, is said by who constructs it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from worker.telemetry.logs import Log

LOOK_EVERY_SECONDS = 10.0

LOOK_AGAIN_SECONDS = 2.0
"""After a look without an answer."""

SILENT_SECONDS = 20.0
"""Without an answer for so long, a service counts as unreachable: a single look may fail."""

_NO_RETURN = "a look does not return"


class Reachability:
    """One service's; thread-safe, except that `tell` has one caller."""

    def __init__(
        self,
        service: str,
        look: Callable[[], object],
        log: Log,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look at nothing yet, and take the service for reachable.

        `look` asks the service for anything and raises where nobody answers; it may also never
        return. `clock` gives monotonic seconds.
        """
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
        """Whether it has answered within the last `SILENT_SECONDS`."""
        return self._is_fresh(self._answered_at)

    def start(self) -> None:
        """Look from now on, in a thread that ends with the process or after `stop`."""
        self._answered_at = self._clock()
        threading.Thread(target=self._keep_looking, name=self._service, daemon=True).start()

    def stop(self) -> None:
        """Begin no other look. Waits for none: it may never return."""
        self._stopped.set()

    def look(self) -> float:
        """Look once; the seconds until the next look."""
        try:
            self._look()
        except Exception as error:  # noqa: BLE001 (whatever it is, there was no answer)
            self._detail = str(error)
            return LOOK_AGAIN_SECONDS
        self._answered_at = self._clock()
        self._detail = _NO_RETURN
        return LOOK_EVERY_SECONDS

    def tell(self) -> None:
        """Log if the service has turned unreachable, or has returned, since the last call."""
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
