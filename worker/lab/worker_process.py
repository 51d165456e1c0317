"""This module runs a real worker, `photo-worker run`, and reads its log."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.errors import Fatal
from worker.lab.guard import Guarded
from worker.system import interpreter, processes

_GRACE_SECONDS = 10.0
"""The seconds beyond its drain budget after which a worker is killed."""


class WorkerLog:
    """Reads a worker's JSON log file while it grows; thread-safe."""

    def __init__(self, path: Path) -> None:
        """`path` need not exist yet."""
        self._path = path
        self._lock = threading.Lock()
        self._read_bytes = 0
        self._entries: list[dict[str, Any]] = []

    def entries(self, message: str | None = None, **fields: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        """Return the entries so far with this message and these fields; other lines are skipped."""
        with self._lock:
            self._read()
            return [
                entry
                for entry in self._entries
                if (message is None or entry.get("message") == message)
                and fields.items() <= entry.items()
            ]

    def entries_after(self, count: int) -> list[dict[str, Any]]:
        """Return all entries so far without the first `count`."""
        with self._lock:
            self._read()
            return self._entries[count:]

    def text(self) -> str:
        """Return the whole log; an empty text if the file is gone or cannot be read."""
        try:
            return self._path.read_text(errors="replace")
        except OSError:
            return ""

    def last_lines(self, count: int = 15) -> str:
        """Return the last `count` lines of the log."""
        return "\n".join(self.text().splitlines()[-count:])

    def _read(self) -> None:
        with contextlib.suppress(OSError), self._path.open("rb") as lines:
            lines.seek(self._read_bytes)
            for line in lines:
                if not line.endswith(b"\n"):
                    break  # the worker has not finished this line yet
                self._read_bytes += len(line)
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if isinstance(entry, dict):
                    self._entries.append(entry)


class WorkerProcess:
    """One `photo-worker run`; it ends with this process, even by `kill -9` (see `guard`)."""

    def __init__(self, environment: Mapping[str, str], *, drain_seconds: float, log: Path) -> None:
        """Start the worker; it logs to the file `log`."""
        self.log = WorkerLog(log)
        self._drain_seconds = drain_seconds
        with log.open("wb") as file:
            command = interpreter.command("worker", "run")
            self._guarded = Guarded(command, log=file, environment=environment)

    @property
    def guard_pid(self) -> int:
        """Return the guard's process id; the worker is the guard's only child."""
        return self._guarded.pid

    @property
    def pid(self) -> int:
        """Return the worker's process id.

        Raises:
            Fatal: the worker has ended.
        """
        found = processes.children(self.guard_pid)
        if not found:
            raise Fatal(f"the worker has ended:\n{self.log.last_lines()}")
        return found[0]

    def check(self) -> None:
        """Check that the worker runs.

        Raises:
            Fatal: the worker ended; the message holds the end of its log.
        """
        code = self._guarded.exit_code
        if code is not None:
            raise Fatal(f"the worker ended with exit code {code}:\n{self.log.last_lines()}")

    def stop(self) -> int:
        """Drain the worker and return its exit code; a second Ctrl-C kills it."""
        return self._guarded.stop(self._drain_seconds + _GRACE_SECONDS)
