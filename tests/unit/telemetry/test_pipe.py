"""The log's pipe: a reader that sleeps costs lines, which are counted, and little time."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest

from worker.telemetry.pipe import PipeWriter

F_SETPIPE_SZ = 1031

PIPE_BYTES = 8192

LINES = 2000


@pytest.fixture(params=["pipe", "socket"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[int, TextIO]]:
    """A descriptor to read from, which never waits, and the file that leads there."""
    if request.param == "pipe":
        read, write = os.pipe()
        fcntl.fcntl(write, F_SETPIPE_SZ, PIPE_BYTES)
    else:
        reader, writer = socket.socketpair()
        writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIPE_BYTES)
        read, write = reader.detach(), writer.detach()
    os.set_blocking(read, False)
    with os.fdopen(write, "w", buffering=1) as file:
        yield read, file
    with suppress(OSError):
        os.close(read)


def told(lines: int) -> str:
    return f"lost {lines}\n"


def drained(read: int) -> str:
    """Whatever is there."""
    data = b""
    with suppress(BlockingIOError):
        while chunk := os.read(read, 65536):
            data += chunk
    return data.decode()


@pytest.mark.timeout(60)
def test_what_a_sleeping_reader_misses_is_counted(ends: tuple[int, TextIO]) -> None:
    read, file = ends
    log = PipeWriter(file, told)
    lines = [f"{n:04}{'ả' * 700}\n" for n in range(LINES)]
    for line in lines:
        # With a wait for each, this would take a quarter of an hour.
        assert log.write(line) == len(line)
    seen = drained(read)
    log.write("then\n")
    log.write("and then\n")
    seen += drained(read)

    *kept, count, then, and_then = seen.splitlines(keepends=True)
    assert (then, and_then) == ("then\n", "and then\n")
    whole = [line for line in kept if line in lines]
    assert whole == lines[: len(whole)]
    assert 0 < len(whole) < LINES
    assert count == told(LINES - len(whole))
    # At most one was cut off, and what came behind it stands on a line of its own.
    assert len(kept) - len(whole) <= 1


def test_a_stalled_line_leaves_no_half_in_the_next(ends: tuple[int, TextIO]) -> None:
    read, file = ends
    log = PipeWriter(file, told)
    log.write("a" * 10_000_000 + "\n")
    torn = drained(read)
    log.write("next\n")
    assert set(torn) == {"a"}
    assert drained(read) == f"\n{told(1)}next\n"


def test_a_reader_that_is_gone_is_no_trouble(ends: tuple[int, TextIO]) -> None:
    read, file = ends
    log = PipeWriter(file, told)
    os.close(read)
    log.write("x\n")
    log.flush()


def test_a_full_disk_is_no_trouble() -> None:
    with suppress(OSError), Path("/dev/full").open("w", buffering=1) as file:
        log = PipeWriter(file, told)
        assert log.write("x\n") == 2
        log.flush()


def test_a_file_takes_every_line() -> None:
    with tempfile.TemporaryFile("w+") as file:
        log = PipeWriter(file, told)
        for _ in range(LINES):
            log.write("y" * 100 + "\n")
        log.flush()
        file.seek(0)
        assert file.read() == ("y" * 100 + "\n") * LINES


def test_nothing_is_written_where_a_closed_file_was() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as file:
        log = PipeWriter(file, told)
    other_read, other_write = os.pipe()  # takes the numbers that have become free
    log.write("x\n")
    for descriptor in (read, other_read):
        os.set_blocking(descriptor, False)
    assert drained(read) == drained(other_read) == ""
    for descriptor in (read, other_read, other_write):
        os.close(descriptor)
