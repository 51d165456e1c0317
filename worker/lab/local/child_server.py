"""A server of a local session as a child process: its port, its log, its start and its end."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from worker.lab.guard import Guarded

_STOP_SECONDS = 5.0
_LOOK_SECONDS = 0.02


class ChildServer:
    """One run of a server on the loopback interface. Not thread-safe.

    Ctrl-C in a terminal does not reach the server, so that its clients can end first. The server
    ends with this process at the latest (see `guard`).
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the server. Its log is a file, because a full pipe would block it."""
        self._stack = ExitStack()
        self._log = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self._server = Guarded(command, log=self._log, environment=environment)

    def wait_until(self, answers: Callable[[], bool], seconds: float) -> None:
        """Wait until `answers` returns True; stop the server if it does not.

        Raises:
            TimeoutError: no answer came in time; the message has the end of the log.
            ChildProcessError: the server ended; the message has the end of the log.
        """
        give_up = time.monotonic() + seconds
        try:
            while not answers():
                self._check(time.monotonic() > give_up, seconds)
                time.sleep(_LOOK_SECONDS)
        except BaseException:
            self.stop()
            raise

    def _check(self, late: bool, seconds: float) -> None:  # noqa: FBT001
        code = self._server.exit_code
        if code is not None:
            raise ChildProcessError(f"ended with exit code {code}: {self._log_tail()}")
        if late:
            raise TimeoutError(f"did not answer within {seconds:g} s: {self._log_tail()}")

    def stop(self) -> None:
        """End the server and its children; kill them after 5 s. Idempotent."""
        self._server.stop(_STOP_SECONDS)
        self._stack.close()

    def _log_tail(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip()[-500:]


def reserve_port(port: int = 0) -> int:
    """Return the port, or a free port for 0; raise OSError if the port is taken."""
    with socket.socket() as probe:
        # Servers set this option too: a connection that just ended does not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return int(probe.getsockname()[1])
