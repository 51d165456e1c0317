"""Intake copies an original to where a child process may read it, and hashes its bytes.

It makes a copy instead of a link, because a child that a hostile picture has taken over may write
below the scratch folder; through a link it would reach the original. The rendered bytes are the
hashed bytes, even if the original changes meanwhile.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Final

from worker.convert.outcomes import Content, Found
from worker.errors import WorkerError
from worker.photo.limits import Limits

ORIGINAL: Final = "original"
"""The name of the copy in its scratch folder."""

_HEAD_BYTES: Final = 1 << 14
"""Enough for every signature, and for the prologue of an SVG unless it is unusually long."""

_CHUNK_BYTES: Final = 1 << 18

_APPLE_DOUBLE: Final = b"\x00\x05\x16\x07"
"""The signature of the file that a Mac writes beside a file on foreign disks (`._IMG_1.jpg`), RFC
1740."""


class NoPicture(WorkerError):
    """The file has a picture's name, but holds a Mac's notes about another file."""


class OriginalUnreadable(WorkerError):
    """The original cannot be read or does not exist any more; `cause` is the system's error."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def take_in(found: Found, into: Path, limits: Limits) -> Content:
    """Copy an original.

    Raises:
        NoPicture: the file holds a Mac's notes about another file.
        OriginalUnreadable: the original cannot be read (any more).
        OriginalTooLarge, CorruptOriginal: the original has too many bytes, or is empty.
        OSError: the copy cannot be written.
    """
    try:
        descriptor = _open_regular(found.path)
    except OSError as error:
        raise OriginalUnreadable(error) from error
    try:
        status = os.fstat(descriptor)
        limits.check_bytes(status.st_size)
        return Content(
            size_bytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
            sha256=_copy(descriptor, into, limits),
        )
    finally:
        os.close(descriptor)


def head_of(path: str) -> bytes:
    """Return the first bytes of a file.

    Raises:
        OSError: the file cannot be read.
    """
    descriptor = _open_regular(path)
    try:
        return os.read(descriptor, _HEAD_BYTES)
    finally:
        os.close(descriptor)


def _open_regular(path: str) -> int:
    # Without O_NONBLOCK, opening a pipe would wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IsADirectoryError(f"{path!r} is no ordinary file")
    return descriptor


def _copy(descriptor: int, into: Path, limits: Limits) -> bytes:
    digest = hashlib.sha256()
    copied = 0
    # One buffer for the whole copy: making a new one for each piece costs as much as reading it.
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    chunk = _read(descriptor, buffer)
    if bytes(chunk[: len(_APPLE_DOUBLE)]) == _APPLE_DOUBLE:
        raise NoPicture
    with into.open("wb", buffering=0) as copy:
        while chunk:
            digest.update(chunk)
            copied += len(chunk)
            limits.check_bytes(copied)  # the file may grow while it is read
            while chunk:
                chunk = chunk[os.write(copy.fileno(), chunk) :]
            chunk = _read(descriptor, buffer)
    return digest.digest()


def _read(descriptor: int, buffer: memoryview) -> memoryview:
    try:
        return buffer[: os.readv(descriptor, [buffer])]
    except OSError as error:
        raise OriginalUnreadable(error) from error
