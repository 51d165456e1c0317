"""The session's worker: `photo-worker run` as a child, configured by its environment alone."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_GRACE_SECONDS = 10.0
"""What a worker may take beyond its drain budget before it is killed."""


class WorkerChild:
    """One `photo-worker run`, in a session of its own so that Ctrl-C reaches only its parent."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        """Start it; what it logs goes to the file `log`."""
        self._log = log
        self._drain_seconds = float(environment.get("WORKER_DRAIN_SECONDS") or 20)
        with log.open("wb") as file:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "worker", "run"],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """What it ended with; `None` while it runs."""
        return self._child.poll()

    def last_lines(self, count: int = 15) -> str:
        """The end of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-count:])

    def stop(self) -> int:
        """Drain it and return its exit code; a second Ctrl-C kills it."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(timeout=self._drain_seconds + _GRACE_SECONDS)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                self._child.kill()
        return self._child.wait()
