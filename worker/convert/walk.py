# A million names: a text costs a tenth of a Path.
# ruff: noqa: PTH116, PTH118
"""The walk: every original below a folder, in the order of names, however many there are.

Holds the names of one folder at a time, and of one with very many only a page: those are sorted in
a temporary file of SQLite's. Folders that are links are not entered, so there are no loops; links
to files are followed, wherever they lead. Nor is what `convert` has written elsewhere below, for
renditions are no originals. What cannot be read is told, never passed over silently.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Final, TypeAlias

from worker.convert.kinds import head_of, looks_like_a_picture, named_like_a_picture
from worker.convert.names import HIDDEN
from worker.convert.outcomes import Failed, Fault, Found, Passed, PassedOver
from worker.convert.state import FILE
from worker.errors import Fatal, Reason
from worker.photo.globs import Globs

HELD_NAMES: Final = 20_000
"""Of one folder in memory; more are sorted on disk."""

_PAGE_NAMES: Final = 2_000

_FOLDER, _FILE, _LINK, _SPECIAL = range(4)

_Name: TypeAlias = tuple[bytes, int]
Sighting: TypeAlias = Found | PassedOver | Failed


class Walk:
    """One walk below `root`; iterate once. Not thread-safe."""

    def __init__(self, root: str, globs: Globs, avoid: tuple[int, int] | None) -> None:
        """`avoid` is the device and inode of a folder that is not entered: the output."""
        self._root = root
        self._globs = globs
        self._avoid = avoid

    def __iter__(self) -> Iterator[Sighting]:
        """Everything that lies there, folders themselves left out."""
        pending: list[Iterator[_Name]] = []
        folders: list[str] = []
        try:
            pending.append(names_in_order(self._root))
        except OSError as error:
            yield unreadable("", error)
        while pending:
            if (entry := next(pending[-1], None)) is None:
                pending.pop()
                del folders[-1:]
                continue
            name = "/".join((*folders, os.fsdecode(entry[0])))
            if entry[1] != _FOLDER:
                yield self._sight(name, entry[1])
                continue
            if os.fsdecode(entry[0]) == HIDDEN:
                continue
            try:
                path = self._path(name)
                if self._avoid and _identity(os.stat(path)) == self._avoid:
                    continue
                if _is_output(path):
                    yield PassedOver(name=name, why=Passed.ANOTHER_OUTPUT)
                    continue
                pending.append(names_in_order(path))
                folders.append(os.fsdecode(entry[0]))
            except OSError as error:
                yield unreadable(name, error)

    def _path(self, name: str) -> str:
        return os.path.join(self._root, name)

    def _sight(self, name: str, kind: int) -> Sighting:
        if not self._globs.chooses(name):
            return PassedOver(name=name, why=Passed.EXCLUDED)
        if kind == _SPECIAL:
            return PassedOver(name=name, why=Passed.SPECIAL_FILE)
        return sight(name, self._path(name))


def sight(name: str, path: str) -> Sighting:
    """What lies at a path that is a file or a link; `name` is what it is called in the output."""
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
            return PassedOver(name=name, why=Passed.NO_PICTURE)  # a link to nowhere
        return unreadable(name, error)
    return Found(name=name, path=path, size_bytes=status.st_size, mtime_ns=status.st_mtime_ns)


def unreadable(name: str, error: OSError) -> Failed:
    """A file or folder that cannot be read, or is not there any more."""
    gone = isinstance(error, FileNotFoundError)
    reason = Reason.ORIGINAL_MISSING.value if gone else Fault.UNREADABLE.value
    return Failed(name=name or ".", reason=reason, message=error.strerror or str(error))


def names_in_order(path: str, held: int = HELD_NAMES) -> Iterator[_Name]:
    """The names in a folder in the order of their bytes, each with its kind; read at once.

    Raises:
        OSError: it cannot be read.
        Fatal: there is no room to sort them on disk.
    """
    with os.scandir(os.fsencode(path)) as entries:
        names = ((entry.name, _kind(entry)) for entry in entries)
        first = list(itertools.islice(names, held))
        if len(first) < held:
            return iter(sorted(first))
        return _sorted_on_disk(itertools.chain(first, names))


def _sorted_on_disk(names: Iterator[_Name]) -> Iterator[_Name]:
    in_order = _sorted_by_sqlite(names)
    try:
        next(in_order)
    except sqlite3.Error as error:
        raise Fatal(
            f"the names of a large folder cannot be sorted: {error}. Make room for SQLite's "
            "temporary files (in SQLITE_TMPDIR, else /var/tmp)"
        ) from error
    return in_order


def _sorted_by_sqlite(names: Iterator[_Name]) -> Iterator[_Name]:
    """An empty name once all have been read, and then the names in order."""
    # Without a name: SQLite keeps it in a temporary file, which dies with this process.
    with closing(sqlite3.connect("", isolation_level=None, check_same_thread=False)) as database:
        database.execute("PRAGMA cache_size = -4000")
        database.execute("CREATE TABLE names (name BLOB PRIMARY KEY, kind INTEGER) WITHOUT ROWID")
        database.execute("BEGIN")
        database.executemany("INSERT OR IGNORE INTO names VALUES (?, ?)", names)
        database.execute("COMMIT")
        yield b"", _SPECIAL
        last = b""
        while page := database.execute(
            "SELECT name, kind FROM names WHERE name > ? ORDER BY name LIMIT ?",
            (last, _PAGE_NAMES),
        ).fetchall():
            yield from page
            last = page[-1][0]


def _kind(entry: os.DirEntry[bytes]) -> int:
    if entry.is_symlink():
        return _LINK
    if entry.is_dir(follow_symlinks=False):
        return _FOLDER
    return _FILE if entry.is_file(follow_symlinks=False) else _SPECIAL


def _is_output(path: str) -> bool:
    """Whether `convert` has written into this folder."""
    return os.path.lexists(os.path.join(path, HIDDEN, FILE))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def count_pictures(
    root: str, globs: Globs, avoid: tuple[int, int] | None, give_up: Callable[[], bool]
) -> int | None:
    """How many files are named like pictures, for an estimate; `None` where it would take much."""
    count, pending = 0, [("", root)]
    while pending:
        below, path = pending.pop()
        if give_up() or len(pending) > HELD_NAMES:
            return None
        try:
            if avoid and _identity(os.stat(path)) == avoid:
                continue
            if below and _is_output(path):
                continue
            with os.scandir(path) as entries:
                for entry in entries:
                    name = below + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name != HIDDEN:
                            pending.append((f"{name}/", entry.path))
                    elif named_like_a_picture(entry.name) and globs.chooses(name):
                        count += 1
        except OSError:
            continue  # the walk itself tells
    return count
