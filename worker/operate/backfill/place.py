"""Place: how far a run has come, kept in its checkpoint as it goes on.

What cannot be kept is told, once, and ends no run: its events are published all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from worker.operate.backfill.report import BackfillReport
from worker.operate.checkpoint import Checkpoint
from worker.telemetry.logs import Log

_SAVE_SECONDS: Final = 1.0


class Place:
    """One run's, for one thread; begins where the checkpoint says."""

    def __init__(
        self,
        checkpoint: Checkpoint[BackfillReport],
        fresh: Callable[[], BackfillReport],
        log: Log,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the checkpoint, or begin with a `fresh` report.

        Raises:
            UsageFault: it is none, cannot be written, or is one of another run.
        """
        self._checkpoint, self._log, self._monotonic = checkpoint, log, monotonic
        kept = checkpoint.load()
        self.behind: str | None = kept[0] if kept else None
        self.report = kept[1] if kept else fresh()
        self._reached, self._saved, self._told = self.behind, monotonic(), False

    def keep(self, name: str) -> None:
        """Everything up to this name is dealt with; on disk a second later at most."""
        self._reached = name
        if self._monotonic() - self._saved >= _SAVE_SECONDS:
            self._save(name)

    def keep_for_good(self) -> None:
        """The run ends here: nothing is kept of a complete one."""
        if self.report.complete:
            self._try(self._checkpoint.clear)
        elif self._reached is not None:
            self._save(self._reached)

    def _save(self, name: str) -> None:
        self._saved = self._monotonic()
        self._try(lambda: self._checkpoint.save(name, self.report))

    def _try(self, change: Callable[[], object]) -> None:
        try:
            change()
        except OSError as error:
            if not self._told:
                self._told = True
                file = str(self._checkpoint.file)
                self._log.error("the checkpoint cannot be kept", file=file, error=str(error))
