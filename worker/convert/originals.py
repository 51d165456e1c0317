# A million names: a text costs a tenth of a Path.
# ruff: noqa: PTH116, PTH118
"""This module finds the pictures below a folder.

A file is a picture by the ending of its name, else by its first bytes. Links to files are followed,
wherever they lead. Outputs of `convert` below the folder are left out, because they hold
renditions. A file or folder that cannot be read is a failure.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from typing import TypeAlias

from worker.convert.intake import head_of
from worker.convert.names import HIDDEN, STATE
from worker.convert.outcomes import Failed, Found, Passed, PassedOver, PictureFault
from worker.errors import Fatal, Reason
from worker.photo.endings import named_like_a_picture
from worker.photo.globs import Globs
from worker.render.formats.formats import looks_like_a_picture
from worker.system.walk import Entry, EntryKind, walk

Sighting: TypeAlias = Found | PassedOver | Failed
Identity: TypeAlias = tuple[int, int] | None
"""Device and inode of a folder that exists."""


def find_originals(root: str, globs: Globs, output: Identity) -> Iterator[Sighting]:
    """Yield everything below `root` in the order of names.

    It yields a folder only if the folder fails or is left out. `output` is the folder of the
    renditions, which may lie below `root`.
    """
    for entry in walk(root, enters=lambda folder: _is_entered(folder, output)):
        if entry.error is not None:
            yield unreadable(entry.name, entry.error)
        elif entry.kind is EntryKind.FOLDER:
            if not _is_own(entry, output):
                yield PassedOver(name=entry.name, why=Passed.ANOTHER_OUTPUT)
        elif not globs.chooses(entry.name):
            yield PassedOver(name=entry.name, why=Passed.EXCLUDED)
        elif entry.kind is EntryKind.SPECIAL:
            yield PassedOver(name=entry.name, why=Passed.SPECIAL_FILE)
        else:
            yield sight(entry.name, entry.path)


def sight(name: str, path: str) -> Sighting:
    """Find out what is at a path that is a file or a link; `name` is its name in the output."""
    like_a_picture = named_like_a_picture(name)
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            return PassedOver(name=name, why=Passed.LINKED_FOLDER)
        if not stat.S_ISREG(status.st_mode):
            return PassedOver(name=name, why=Passed.SPECIAL_FILE)
        if not like_a_picture and not looks_like_a_picture(head_of(path)):
            return PassedOver(name=name, why=Passed.NO_PICTURE)
    except OSError as error:
        if not like_a_picture and not isinstance(error, PermissionError):
            return PassedOver(name=name, why=Passed.NO_PICTURE)  # a broken link
        return unreadable(name, error)
    return Found(name=name, path=path, size_bytes=status.st_size, mtime_ns=status.st_mtime_ns)


def unreadable(name: str, error: OSError) -> Failed:
    """Return the failure of a file or folder that cannot be read or does not exist any more."""
    gone = isinstance(error, FileNotFoundError)
    reason = Reason.ORIGINAL_MISSING if gone else PictureFault.UNREADABLE
    return Failed(name=name, reason=reason.value, message=error.strerror or str(error))


def count_pictures(
    root: str, globs: Globs, output: Identity, give_up: Callable[[], bool]
) -> int | None:
    """Count the files that are named like pictures; return `None` if `give_up` returns True."""
    count = 0
    try:
        for entry in walk(root, enters=lambda folder: _is_entered(folder, output)):
            if give_up():
                return None
            is_file = entry.kind is not EntryKind.FOLDER
            count += is_file and named_like_a_picture(entry.name) and globs.chooses(entry.name)
    except Fatal:
        return None  # the walk for originals meets the same error and reports it
    return count


def identity_of(folder: str | os.PathLike[str]) -> Identity:
    """Return the identity of a folder, if it exists."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_entered(folder: Entry, output: Identity) -> bool:
    written_by_convert = os.path.lexists(os.path.join(folder.path, HIDDEN, STATE))
    return not written_by_convert and not _is_own(folder, output)


def _is_own(folder: Entry, output: Identity) -> bool:
    """Return True if a folder is the output of this run, or the hidden folder of any output."""
    return folder.name.rpartition("/")[2] == HIDDEN or (
        output is not None and identity_of(folder.path) == output
    )
