"""Intake: an original's bytes to where a child process may read them, and what they are.

A copy, not a link: a child that a hostile picture has taken over may write below the scratch
folder, and must not reach the original through it. What is hashed is what is rendered, even where
the original changes meanwhile.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from worker.convert.kinds import HEAD_BYTES, is_companion, open_regular
from worker.convert.outcomes import Found, Source
from worker.errors import WorkerError
from worker.photo.limits import Limits

ORIGINAL: Final = "original"
"""What the copy is called in its scratch folder."""

_CHUNK_BYTES: Final = 1 << 18


class NoPicture(WorkerError):
    """A file of which only the name is a picture's."""


class OriginalUnreadable(WorkerError):
    """The original cannot be read, or is not there any more."""

    def __init__(self, cause: OSError) -> None:
        """Keep what the system said."""
        super().__init__(str(cause))
        self.cause = cause


def take_in(found: Found, into: Path, limits: Limits) -> Source:
    """Copy an original.

    Raises:
        NoPicture: it is something else's companion.
        OriginalUnreadable: it cannot be read (any more).
        OriginalTooLarge, CorruptOriginal: it has too many bytes, or none.
        OSError: the copy cannot be written.
    """
    try:
        descriptor = open_regular(found.path)
    except OSError as error:
        raise OriginalUnreadable(error) from error
    try:
        status = os.fstat(descriptor)
        limits.check_bytes(status.st_size)
        return Source(
            size_bytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
            sha256=_copy(descriptor, into, limits),
        )
    finally:
        os.close(descriptor)


def _copy(descriptor: int, into: Path, limits: Limits) -> bytes:
    digest = hashlib.sha256()
    copied = 0
    # One for the whole copy: to make another for each piece costs as much as to read it.
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    chunk = _read(descriptor, buffer)
    if is_companion(bytes(chunk[:HEAD_BYTES])):
        raise NoPicture
    with into.open("wb", buffering=0) as copy:
        while chunk:
            digest.update(chunk)
            copied += len(chunk)
            # It may grow while it is read.
            limits.check_bytes(copied)
            _write(copy.fileno(), chunk)
            chunk = _read(descriptor, buffer)
    return digest.digest()


def _read(descriptor: int, buffer: memoryview) -> memoryview:
    try:
        return buffer[: os.readv(descriptor, [buffer])]
    except OSError as error:
        raise OriginalUnreadable(error) from error


def _write(descriptor: int, chunk: memoryview) -> None:
    while chunk:
        chunk = chunk[os.write(descriptor, chunk) :]
