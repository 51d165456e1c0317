# A million names: a text costs a tenth of a Path.
# ruff: noqa: PTH118
"""Walk: everything below a folder, in the order of names, from any place on.

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
"""Of one folder in memory; more are sorted on disk."""

_PAGE_NAMES: Final = 2_000


class EntryKind(IntEnum):
    """What has a name, as its folder tells."""

    FOLDER = 0
    FILE = 1
    LINK = 2
    SPECIAL = 3
    """A pipe, a device or a socket."""


class Entry(NamedTuple):
    """One name: `name` is its path below the folder that is walked, with `/`."""

    name: str
    path: str
    kind: EntryKind
    error: OSError | None = None
    """Why a folder could not be read."""


def walk(
    root: str,
    *,
    behind: str | None = None,
    enters: Callable[[Entry], bool] = lambda _: True,
    held: int = HELD_NAMES,
) -> Iterator[Entry]:
    """Everything below `root`, in each folder by the bytes of names; folders open at their names.

    Folders that are entered are left out. One that cannot be read is an entry with its error
    (`root` has the name `.`), and one that `enters` turns down is an entry without. `enters` may
    raise `OSError`.

    Args:
        root: the folder.
        behind: begin with what follows this name in the order; it need not be there any more.
        enters: is asked about each folder before it is read.
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
    """A folder that is being walked, and what names and paths in it begin with."""

    names: Iterator[tuple[bytes, EntryKind]]
    above: str
    folder: str
    rest: list[bytes]
    """What is left of `behind` below it; empty once the walk has come past that."""


def _names_in_order(path: str, held: int) -> Iterator[tuple[bytes, EntryKind]]:
    """The names in a folder in the order of their bytes; all of them are read at once."""
    with os.scandir(os.fsencode(path)) as entries:
        names = ((entry.name, _kind(entry)) for entry in entries)
        first = list(itertools.islice(names, held))
        if len(first) < held:
            return iter(sorted(first))
        in_order = _sorted_on_disk(itertools.chain(first, names))
        next(in_order)
    return in_order


def _sorted_on_disk(names: Iterator[tuple[bytes, EntryKind]]) -> Iterator[tuple[bytes, EntryKind]]:
    """An empty name once all have been read, and then the names in order."""
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
        # Some file systems need another look at each name. Who opens it meets the error again.
        return EntryKind.FILE
