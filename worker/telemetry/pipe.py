"""Pipe: write the log to standard error without waiting for a reader that sleeps.

Standard error is most often a pipe or a socket, to a container's runtime or to journald. A full
pipe would block every handler, and the drain, until its reader wakes up. So a line waits a moment,
then lines are dropped and counted until there is room.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import time
from collections.abc import Callable
from typing import Final, TextIO

PATIENCE_SECONDS: Final = 0.5
"""How long one line waits. The dozen lines of a drain must fit into the 30 s of a spot VM."""

_CHUNK_BYTES: Final = select.PIPE_BUF
"""The bytes that a ready pipe takes at once."""


class PipeWriter:
    """A file for loggers that ignores errors; only one thread may use it at a time.

    After a stall, it writes `lost_line` of the number of lines lost.
    """

    def __init__(self, file: TextIO, lost_line: Callable[[int], str]) -> None:
        self._file = file
        self._lost_line = lost_line
        self._may_stall = _is_pipe(file)
        self._lost = 0
        self._torn = False

    def write(self, text: str) -> int:
        """Write a line, or drop it if there is no room."""
        with contextlib.suppress(OSError, ValueError):
            if self._may_stall:
                self._send(text)
            else:
                self._file.write(text)
        return len(text)

    def flush(self) -> None:
        """Write buffered lines now."""
        with contextlib.suppress(OSError, ValueError):
            self._file.flush()

    def _send(self, text: str) -> None:
        # Once a line has waited in vain, the next ones are dropped at once.
        until = time.monotonic() + (0.0 if self._lost else PATIENCE_SECONDS)
        if self._lost and self._put(self._lost_line(self._lost), until):
            self._lost = 0
        if self._lost or not self._put(text, until):
            self._lost += 1

    def _put(self, text: str, until: float) -> bool:
        """Write a text; return True if the reader took all of it in time."""
        # End the half line that a stall has left, or it would spoil the next line.
        whole = ("\n" * self._torn + text).encode(errors="backslashreplace")
        left = memoryview(whole)
        while left and _has_room(self._file.fileno(), until):
            left = left[os.write(self._file.fileno(), left[:_CHUNK_BYTES]) :]
        self._torn = bool(left) and (self._torn or len(left) < len(whole))
        return not left


def _is_pipe(file: TextIO) -> bool:
    """Return True for a pipe or a socket, whose reader can make a writer wait."""
    try:
        mode = os.fstat(file.fileno()).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _has_room(descriptor: int, until: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    # A reader that is gone counts as room: the write then raises.
    return bool(poll.poll(max(0.0, until - time.monotonic()) * 1000))
