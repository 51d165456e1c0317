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
_SAID_MAX_BYTES = 4096
_REAP_SECONDS = 5.0

_ENVIRONMENT = (
    *("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH"),
    *("LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"),
)
"""The variables that a child gets: credentials and addresses stay with the parent."""

_ABORTS = ("SIGABRT", "SIGTRAP")
"""GLib ends a process by SIGTRAP on a fatal message."""


class Child:
    """A spawned `worker.render.child`.

    Spawned, not forked: gRPC's threads do not survive a fork. It leads a session of its own, so
    that Ctrl-C in a terminal reaches the parent alone.
    """

    def __init__(self, memory_bytes: int, scratch: Path) -> None:
        """Start it; its first answer is `Ready`.

        It may use `memory_bytes` at most for one render, and sees only the files below `scratch`.

        Raises:
            OSError: it could not be started.
        """
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        # Two arenas at most: each thread's arena keeps a picture's worth of freed memory.
        environment |= {"MALLOC_ARENA_MAX": "2", "PYTHONUNBUFFERED": "1"}
        # Pixels stay in memory, where they are counted; libvips would spill them to a file.
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
        self._said = b""
        self.requests = 0

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._child.poll() is None

    def send(self, request: Request) -> None:
        """Hand it one request.

        Raises:
            RenderFailed: it is dead, does not read, or has answered before it was asked.
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
            raise self._obituary() from error
        if taken < len(line):
            raise RenderCrashed("the child does not read what it is asked")

    def _answers_wait(self) -> bool:
        """Whether an answer waits; false once it is dead."""
        assert self._child.stdout is not None  # noqa: S101
        answers = self._child.stdout.fileno()
        poll = select.poll()
        poll.register(answers, select.POLLIN)
        if poll.poll(0):
            # Only a read tells an answer from the end everywhere: macOS announces both alike.
            self._buffer += os.read(answers, _READ_BYTES)
        return bool(self._buffer)

    def receive(self, deadline: float) -> Answer:
        """The next answer, waited for until `deadline` (of `time.monotonic`).

        Raises:
            RenderTimeout: none by then; the caller kills it. Or it used up its CPU seconds.
            RenderOutOfMemory: a library said that memory ran out, and aborted.
            RenderCrashed: it died otherwise, or says something else.
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
                raise RenderTimeout("no answer within WORKER_RENDER_TIMEOUT_SECONDS")
            if warnings in ready and not self._hear(warnings):
                poll.unregister(warnings)
            if answers in ready:
                chunk = os.read(answers, _READ_BYTES)
                if not chunk:
                    raise self._obituary()
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        if len(line) > _LINE_MAX_BYTES:
            raise RenderCrashed("the child answers with an endless line")
        return decode_answer(line)

    def last_words(self) -> str:
        """The end of what it has printed on standard error."""
        return self._said.decode(errors="replace").strip()

    def _hear(self, descriptor: int) -> bool:
        chunk = os.read(descriptor, _READ_BYTES)
        self._said = (self._said + chunk)[-_SAID_MAX_BYTES:]
        return bool(chunk)

    def kill(self) -> None:
        """End it now. Thread-safe."""
        self._child.kill()

    def close(self) -> None:
        """Kill it and reap it."""
        self.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            if pipe is not None:
                pipe.close()

    def _obituary(self) -> RenderFailed:
        try:
            # Its pipe closes a moment before it can be reaped. To kill it would hide the cause.
            code = self._child.wait(timeout=_REAP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            code = self._child.wait()
        assert self._child.stderr is not None  # noqa: S101
        poll = select.poll()
        poll.register(self._child.stderr.fileno(), select.POLLIN)
        while poll.poll(0) and self._hear(self._child.stderr.fileno()):
            pass
        said = self.last_words().splitlines()
        if code >= 0:
            why = f": {said[-1]}" if said else ""
            return RenderCrashed(f"the child process exited with code {code}{why}")
        name = _name(-code)
        if name == "SIGXCPU":
            return RenderTimeout("the child process used up its CPU seconds")
        complaint = next(filter(tells_of_no_memory, said), None)
        if name in _ABORTS and complaint:
            return RenderOutOfMemory(f"the child process was ended by {name}: {complaint}")
        return RenderCrashed(f"the child process was ended by {name}")


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time one
