"""The session's worker: `photo-worker run` as a child, configured by its environment alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from worker.lab.local.guard import Guarded
from worker.system import interpreter

_GRACE_SECONDS = 10.0
"""What a worker may take beyond its drain budget before it is killed."""


class WorkerChild:
    """One `photo-worker run`."""

    def __init__(self, environment: Mapping[str, str], *, drain_seconds: float, log: Path) -> None:
        """Start it; what it logs goes to the file `log`."""
        self._log = log
        self._drain_seconds = drain_seconds
        with log.open("wb") as file:
            command = interpreter.command("worker", "run")
            self._child = Guarded(command, log=file, environment=environment)

    @property
    def guard_pid(self) -> int:
        """Of the guard; the worker is its only child."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """What it ended with; `None` while it runs."""
        return self._child.exit_code

    def last_lines(self, count: int = 15) -> str:
        """The end of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-count:])

    def stop(self) -> int:
        """Drain it and return its exit code; a second Ctrl-C kills it."""
        return self._child.stop(self._drain_seconds + _GRACE_SECONDS)
