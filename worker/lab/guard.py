"""A guard ends a child process when the parent ends, even by `kill -9`.

Each server of a local session, and its worker, runs below a guard. `python -m
worker.lab.guard COMMAND...` starts the command, passes signals on, and terminates the command when
the guard's standard input ends, which means that the parent is gone. Guard and command are in a new
session, so that Ctrl-C in a terminal reaches only the parent, which stops its children in order.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import IO, Any

from worker.system import interpreter

_ORPHAN_SECONDS = 30.0
"""A command that lost its parent has this time to end, because a worker drains."""

_NOT_STARTED = 127


class Guarded:
    """One command below its guard. Not thread-safe."""

    def __init__(
        self, command: Sequence[str], *, log: IO[Any], environment: Mapping[str, str] | None = None
    ) -> None:
        """Start the command; its output goes to the file `log`.

        If the command cannot be started, the exit code is 127 and the log has the reason.
        """
        self._guard = subprocess.Popen(
            interpreter.command("worker.lab.guard", *command),
            env=interpreter.environment_for(os.environ if environment is None else environment),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Return the guard's process id; the command is the guard's only child."""
        return self._guard.pid

    @property
    def exit_code(self) -> int | None:
        """Return the command's exit code (128 + n for signal n); `None` while it runs."""
        return self._guard.poll()

    def stop(self, patience_seconds: float) -> int:
        """End the command and return its exit code.

        Kill it after `patience_seconds`, or at a second Ctrl-C.
        """
        if self._guard.poll() is None:
            self._guard.terminate()
            try:
                self._guard.wait(patience_seconds)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._guard.pid, signal.SIGKILL)
        code = self._guard.wait()
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        return code


def main(command: Sequence[str]) -> int:
    """Guard one command and return its exit code."""
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        if child is None:
            early.append(number)
        else:
            child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return _NOT_STARTED
    for missed in early:
        child.send_signal(missed)
    threading.Thread(target=_end_with_parent, args=(child,), daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


def _end_with_parent(child: subprocess.Popen[bytes]) -> None:
    # Read the descriptor, because the lock of `sys.stdin` would still be held at the exit.
    while os.read(0, 4096):
        continue
    child.terminate()
    try:
        child.wait(_ORPHAN_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
