"""One child process and the pipes to it. One slot thread owns it; `kill` is thread-safe."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from pathlib import Path

from worker.errors import RenderCrashed, RenderFailed, RenderOutOfMemory, RenderTimeout
from worker.render.protocol import Answer, Request, decode_answer, encode
from worker.system import interpreter
from worker.system.sandbox import tells_of_no_memory

_READ_BYTES = 1 << 16
_LINE_MAX_BYTES = 1 << 16
_STDERR_MAX_BYTES = 4096
_REAP_SECONDS = 5.0

_ENVIRONMENT = (
    *("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH"),
    *("LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"),
)
"""The variables that a child gets; the child does not get credentials or addresses."""

_ABORTS = ("SIGABRT", "SIGTRAP")
"""Signals of an abort; GLib ends a process by SIGTRAP on a fatal message."""


class Child:
    """A spawned `worker.render.child`.

    The child is not forked, because gRPC's threads do not survive a fork. It leads a new session,
    so that Ctrl-C in a terminal reaches only the parent.
    """

    def __init__(self, memory_bytes: int, scratch: Path) -> None:
        """Start the child; its first answer is `Ready`.

        One render may use up to `memory_bytes`. Of the user's files the child sees only those below
        `scratch`.

        Raises:
            OSError: the child could not be started.
        """
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        # By default each thread gets an arena, which can keep a whole picture of freed memory.
        environment |= {"MALLOC_ARENA_MAX": "2", "PYTHONUNBUFFERED": "1"}
        # libvips must keep pixels in memory, where they count, and not write them to a file.
        environment |= {"VIPS_DISC_THRESHOLD": "1000g"}
        self._child = subprocess.Popen(
            interpreter.command("worker.render.child", str(memory_bytes), str(scratch)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Codecs print warnings; those must stay out of the log's JSON lines.
            stderr=subprocess.PIPE,
            env=interpreter.environment_for(environment),
            start_new_session=True,
            bufsize=0,
        )
        assert self._child.stdin is not None  # noqa: S101 (opened as a pipe above)
        # A child that does not read must not hold up the thread that writes.
        os.set_blocking(self._child.stdin.fileno(), False)
        self._buffer = b""
        self._stderr = b""
        self.requests = 0

    @property
    def pid(self) -> int:
        """Return the child's process id."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Return True if the child still runs."""
        return self._child.poll() is None

    def send(self, request: Request) -> None:
        """Send one request to the child.

        Raises:
            RenderFailed: the child is dead, does not read, or has answered before the request.
        """
        assert self._child.stdin is not None  # noqa: S101
        self.requests += 1
        if self._answers_wait():
            raise RenderCrashed("the child answers before it is asked")
        line = encode(request)
        try:
            taken = os.write(self._child.stdin.fileno(), line)
        except BlockingIOError as error:
            raise RenderCrashed("the child does not read what it is asked") from error
        except OSError as error:
            raise self._exit_error() from error
        if taken < len(line):
            raise RenderCrashed("the child does not read what it is asked")

    def _answers_wait(self) -> bool:
        """Return True if the child has sent something that was not received yet."""
        assert self._child.stdout is not None  # noqa: S101
        answers = self._child.stdout.fileno()
        poll = select.poll()
        poll.register(answers, select.POLLIN)
        if poll.poll(0):
            # macOS reports an answer and the end of the pipe alike; only a read tells which it is.
            self._buffer += os.read(answers, _READ_BYTES)
        return bool(self._buffer)

    def receive(self, deadline: float) -> Answer:
        """Wait for the next answer until `deadline` (of `time.monotonic`) and return it.

        Raises:
            RenderTimeout: the deadline has passed (then the caller kills the child), or the child
                used up its CPU seconds.
            RenderOutOfMemory: a library printed that memory ran out, and aborted.
            RenderCrashed: the child died otherwise, or sent something that is not an answer.
        """
        assert self._child.stdout is not None  # noqa: S101
        assert self._child.stderr is not None  # noqa: S101
        answers, warnings = self._child.stdout.fileno(), self._child.stderr.fileno()
        poll = select.poll()
        for descriptor in (answers, warnings):
            poll.register(descriptor, select.POLLIN)
        while b"\n" not in self._buffer and len(self._buffer) <= _LINE_MAX_BYTES:
            left_seconds = deadline - time.monotonic()
            ready = dict(poll.poll(left_seconds * 1000)) if left_seconds > 0 else {}
            if not ready:
                raise RenderTimeout(
                    "no answer within three times WORKER_RENDER_TIMEOUT_SECONDS by the clock"
                )
            if warnings in ready and not self._read_stderr(warnings):
                poll.unregister(warnings)
            if answers in ready:
                chunk = os.read(answers, _READ_BYTES)
                if not chunk:
                    raise self._exit_error()
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        if len(line) > _LINE_MAX_BYTES:
            raise RenderCrashed("the child answers with an endless line")
        return decode_answer(line)

    def stderr_tail(self) -> str:
        """Return the last 4,096 bytes that were read of the child's standard error, as text."""
        return self._stderr.decode(errors="replace").strip()

    def _read_stderr(self, descriptor: int) -> bool:
        chunk = os.read(descriptor, _READ_BYTES)
        self._stderr = (self._stderr + chunk)[-_STDERR_MAX_BYTES:]
        return bool(chunk)

    def kill(self) -> None:
        """Kill the child. Thread-safe."""
        self._child.kill()

    def close(self) -> None:
        """Kill the child, wait for its exit, and close its pipes."""
        self.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            if pipe is not None:
                pipe.close()

    def _exit_error(self) -> RenderFailed:
        try:
            # The pipe closes a moment before the exit code is there. A kill would hide the cause.
            code = self._child.wait(timeout=_REAP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            code = self._child.wait()
        assert self._child.stderr is not None  # noqa: S101
        poll = select.poll()
        poll.register(self._child.stderr.fileno(), select.POLLIN)
        while poll.poll(0) and self._read_stderr(self._child.stderr.fileno()):
            pass
        said = self.stderr_tail().splitlines()
        if code >= 0:
            why = f": {said[-1]}" if said else ""
            return RenderCrashed(f"the child process exited with code {code}{why}")
        name = _name(-code)
        if name == "SIGXCPU":
            return RenderTimeout(
                "the child process used up its CPU seconds (WORKER_RENDER_TIMEOUT_SECONDS)"
            )
        complaint = next(filter(tells_of_no_memory, said), None)
        if name in _ABORTS and complaint:
            return RenderOutOfMemory(f"the child process was ended by {name}: {complaint}")
        return RenderCrashed(f"the child process was ended by {name}")


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time one
