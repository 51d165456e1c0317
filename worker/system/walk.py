# Strings, because a `Path` costs ten times as much and a folder can have a million names.
# ruff: noqa: PTH118
"""Walk lists everything below a folder, in the order of names, from any name on.

Memory holds the names of one folder at each level. The names of a very large folder are sorted on
disk, and read page by page. Links are reported and not entered, because they may lead in a circle.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from enum import IntEnum
from typing import Final, NamedTuple

from worker.system.spool import Spool

HELD_NAMES: Final = 20_000
"""Memory holds so many names of one folder; if a folder has more, they are sorted on disk."""

_PAGE_NAMES: Final = 2_000


class EntryKind(IntEnum):
    """The kind of an entry, as its folder states it."""

    FOLDER = 0
    FILE = 1
    LINK = 2
    SPECIAL = 3
    """A pipe, a device or a socket."""


class Entry(NamedTuple):
    """One entry: `name` is its path below the folder that is walked, with `/`."""

    name: str
    path: str
    kind: EntryKind
    error: OSError | None = None
    """The error of a folder that could not be read."""


def walk(
    root: str,
    *,
    behind: str | None = None,
    enters: Callable[[Entry], bool] = lambda _: True,
    held: int = HELD_NAMES,
) -> Iterator[Entry]:
    """Yield everything below `root`; each folder is sorted by the bytes of names.

    A folder's content comes at the folder's place in the order, instead of an entry for the folder.
    A folder that cannot be read is an entry with its error (`root` has the name `.`). A folder for
    which `enters` returns False is an entry without error. `enters` may raise `OSError`.

    Args:
        root: the folder.
        behind: begin after this name in the order; the name need not exist any more.
        enters: is called for each folder before it is read.
        held: names of one folder that are sorted in memory.

    Raises:
        Fatal: the disk is too full to sort the names of a large folder.
    """
    rest = os.fsencode(behind).split(b"/") if behind is not None else []
    try:
        # A stack of folders, because recursion would end at the thousandth level.
        levels = [_Level(_names_in_order(root, held), "", os.path.join(root, ""), rest)]
    except OSError as error:
        yield Entry(".", root, EntryKind.FOLDER, error)
        return
    while levels:
        names, above, folder, rest = levels[-1]
        raw, kind = next(names, (None, EntryKind.FILE))
        if raw is None:
            levels.pop()
            continue
        if rest and (raw < rest[0] or (raw == rest[0] and kind is not EntryKind.FOLDER)):
            continue
        base = os.fsdecode(raw)
        entry = Entry(above + base, folder + base, kind)
        if kind is not EntryKind.FOLDER:
            yield entry
            continue
        try:
            if not enters(entry):
                yield entry
                continue
            below = _names_in_order(entry.path, held)
        except OSError as error:
            yield entry._replace(error=error)
            continue
        rest_below = rest[1:] if rest and raw == rest[0] else []
        levels.append(_Level(below, f"{entry.name}/", f"{entry.path}/", rest_below))


class _Level(NamedTuple):
    """A folder that is being walked, and the prefixes of names and paths in it."""

    names: Iterator[tuple[bytes, EntryKind]]
    above: str
    folder: str
    rest: list[bytes]
    """The parts of `behind` below this folder; empty after the walk has passed `behind`."""


def _names_in_order(path: str, held: int) -> Iterator[tuple[bytes, EntryKind]]:
    """Return the names in a folder in the order of their bytes; all are read before the return."""
    with os.scandir(os.fsencode(path)) as entries:
        names = ((entry.name, _kind(entry)) for entry in entries)
        first = list(itertools.islice(names, held))
        if len(first) < held:
            return iter(sorted(first))
        in_order = _sorted_on_disk(itertools.chain(first, names))
        next(in_order)
    return in_order


def _sorted_on_disk(names: Iterator[tuple[bytes, EntryKind]]) -> Iterator[tuple[bytes, EntryKind]]:
    """Yield an empty name when all names have been read, and then the names in order."""
    schema = "CREATE TABLE names (name BLOB PRIMARY KEY, kind INTEGER) WITHOUT ROWID"
    query = "SELECT name, kind FROM names WHERE name > ? ORDER BY name LIMIT ?"
    with closing(Spool(schema)) as spool:
        spool.write("INSERT OR IGNORE INTO names VALUES (?, ?)", names)
        yield b"", EntryKind.FILE
        last = b""
        while page := spool.rows(query, (last, _PAGE_NAMES)):
            yield from ((name, EntryKind(kind)) for name, kind in page)
            last = page[-1][0]


def _kind(entry: os.DirEntry[bytes]) -> EntryKind:
    try:
        if entry.is_file(follow_symlinks=False):
            return EntryKind.FILE
        if entry.is_dir(follow_symlinks=False):
            return EntryKind.FOLDER
        return EntryKind.LINK if entry.is_symlink() else EntryKind.SPECIAL
    except OSError:
        # Some file systems need a `stat` for each name, which can fail. Opening it fails again.
        return EntryKind.FILE
