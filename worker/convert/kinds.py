"""Which files are pictures: by the end of the name, else by their first bytes."""

from __future__ import annotations

import os
import stat
from typing import Final

from worker.errors import CorruptOriginal, UnsupportedFormat
from worker.render.formats.formats import sniff

_ENDINGS: Final = frozenset(
    (
        *("jpg", "jpeg", "jpe", "jfif", "png", "apng", "tif", "tiff", "webp", "gif"),
        *("avif", "avifs", "heic", "heif", "heics", "hif", "svg", "svgz"),
    )
)

HEAD_BYTES: Final = 1 << 14
"""Enough for every signature, and for the prologue of all but a very talkative SVG."""

_APPLE_DOUBLE: Final = b"\x00\x05\x16\x07"
"""What a Mac writes beside a file on foreign disks (`._IMG_1.jpg`), RFC 1740."""


def named_like_a_picture(name: str) -> bool:
    """Whether its ending is one of a format that is rendered."""
    _, dot, ending = name.rpartition(".")
    return bool(dot) and ending.lower() in _ENDINGS


def looks_like_a_picture(head: bytes) -> bool:
    """Whether these first bytes are of a format that is rendered."""
    try:
        return bool(sniff(head))
    except (UnsupportedFormat, CorruptOriginal):
        return False


def is_companion(head: bytes) -> bool:
    """Whether it is no picture whatever its name: the Mac's notes about another file."""
    return head.startswith(_APPLE_DOUBLE)


def open_regular(path: str) -> int:
    """A descriptor to read a file by; never waits, as the opening of a pipe would.

    Raises:
        OSError: it cannot be read; `IsADirectoryError` too for a device, a pipe or a socket.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IsADirectoryError(f"{path!r} is no ordinary file")
    return descriptor


def head_of(path: str) -> bytes:
    """The first bytes of a file.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = open_regular(path)
    try:
        return os.read(descriptor, HEAD_BYTES)
    finally:
        os.close(descriptor)
