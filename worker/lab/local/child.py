"""The session's worker: `photo-worker run` as a child, configured by its environment alone."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


class RenderLog:
    """What each photo's last render took, read from the worker's log as it grows; thread-safe."""

    def __init__(self, log: Path) -> None:
        """`log` need not exist, nor be readable. Lines that are no JSON are passed over."""
        self._log = log
        self._read_bytes = 0
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    def seconds(self) -> dict[str, float]:
        """Seconds in the render slot by photo id."""
        with self._lock:
            with contextlib.suppress(OSError), self._log.open("rb") as lines:
                lines.seek(self._read_bytes)
                for line in lines:
                    if not line.endswith(b"\n"):
                        break  # the rest of it is still to come
                    self._read_bytes += len(line)
                    self._note(line)
            return dict(self._seconds)

    def _note(self, line: bytes) -> None:
        try:
            told: dict[str, Any] = json.loads(line)
            self._seconds[told["photo_id"]] = told["seconds"]["render"]
        except (ValueError, KeyError, TypeError):
            return  # another line, or a photo without a render
