"""The state keeps which original each output was made from, and by which recipe.

It is an SQLite file in the output's hidden folder, so that memory stays flat over a million
pictures. The state on disk names a file before the file appears in the output. So after a crash or
a power cut, `convert` can tell its own files from other people's. One transaction with one disk
sync serves all pictures that are finished by then (`placing`).
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from worker.convert.names import is_suffix
from worker.convert.outcomes import Content, Known, OutputFails
from worker.convert.output import failing
from worker.errors import UsageFault

_VERSION: Final = 1

_SCHEMA: Final = """
CREATE TABLE originals (
    name BLOB PRIMARY KEY,
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    made TEXT,
    files TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE claims (key BLOB PRIMARY KEY, name BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE notes (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class StateFile:
    """The state of one output; thread-safe."""

    def __init__(self, file: Path | None) -> None:
        """Open or create the file. Without a file, the state starts empty and is lost at the end.

        Raises:
            UsageFault: another process has the file open, another version wrote it, or it is no
                state.
            OutputFails: the file cannot be written.
        """
        self._file = file
        self._lock = threading.Lock()
        if file is not None and file.is_symlink():
            raise UsageFault(self._damaged("it is a link"))
        try:
            self._database = sqlite3.connect(
                str(file) if file else ":memory:",
                isolation_level=None,
                check_same_thread=False,
                timeout=0.0,
            )
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        try:
            self._set_up()
        except sqlite3.Error as error:
            self._database.close()
            raise self._unusable(error) from error
        except BaseException:
            self._database.close()
            raise

    def _set_up(self) -> None:
        run = self._database.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA cache_size = -2000")
        run("BEGIN IMMEDIATE")
        version = run("PRAGMA user_version").fetchone()[0]
        if version not in (0, _VERSION):
            raise UsageFault(
                f"{self._file} was written by another version of photo-worker ({version}, not "
                f"{_VERSION}): convert into another folder"
            )
        if not version:
            for statement in _SCHEMA.split(";"):
                run(statement)
            run(f"PRAGMA user_version = {_VERSION}")
        run("COMMIT")

    def _unusable(self, error: sqlite3.Error) -> UsageFault | OutputFails:
        if "locked" in str(error):
            return UsageFault(
                f"another photo-worker converts into the folder of {self._file} at this moment; "
                "wait for it, or name another folder"
            )
        if self._file is not None and self._file.is_dir():
            return UsageFault(self._damaged("it is a folder"))
        if isinstance(error, sqlite3.OperationalError):
            return self._failing(error)
        return UsageFault(self._damaged(str(error)))

    def _damaged(self, how: str) -> str:
        folder = self._file.parent if self._file else Path()
        return (
            f"{self._file} is no state of photo-worker convert: {how}. Remove {folder}, and the "
            "summary.json and failures.jsonl beside it: renditions that would be the same are "
            "taken over"
        )

    def _failing(self, error: sqlite3.Error) -> OutputFails:
        if "malformed" in str(error) or "not a database" in str(error):
            return OutputFails(self._damaged(str(error)))
        code = errno.ENOSPC if "full" in str(error) else errno.EIO
        root = self._file.parent.parent if self._file else Path()
        return failing(root, OSError(code, str(error)))

    def find(self, name: str) -> Known | None:
        """Return the row of an original.

        Raises:
            OutputFails: the disk fails, or somebody has changed the file.
        """
        row = self._one(
            "SELECT size_bytes, mtime_ns, sha256, made, files FROM originals WHERE name = ?",
            os.fsencode(name),
        )
        if row is None:
            return None
        try:
            files = dict(json.loads(row[4]))
        except (ValueError, TypeError):
            files = {"no JSON": 0}
        # These files may be deleted, so they must be files that `convert` can have written.
        if not all(map(is_suffix, files)):
            raise OutputFails(self._damaged(f"it names files that are none of {name!r}"))
        content = Content(size_bytes=row[0], mtime_ns=row[1], sha256=row[2])
        return Known(content=content, made=row[3], files=files)

    def write(self, rows: Sequence[tuple[str, Known]]) -> None:
        """Write the rows of these originals; they are on disk when this returns.

        Raises:
            OutputFails: the disk is full or fails; all rows are as before.
        """
        values = [
            (
                os.fsencode(name),
                known.content.size_bytes,
                known.content.mtime_ns,
                known.content.sha256,
                known.made,
                json.dumps(known.files, separators=(",", ":")),
            )
            for name, known in rows
        ]
        self._change("INSERT OR REPLACE INTO originals VALUES (?, ?, ?, ?, ?, ?)", values)

    def claim(self, key: str, name: str) -> str:
        """Return the owner of `key`; if it has none, `name` becomes the owner."""
        row = self._one("SELECT name FROM claims WHERE key = ?", os.fsencode(key))
        if row is None:
            self.take(key, name)
            return name
        return os.fsdecode(row[0])

    def take(self, key: str, name: str) -> None:
        """Make the original `name` the owner of `key`."""
        values = [(os.fsencode(key), os.fsencode(name))]
        # A lost claim would not change the output, so it may wait for the next sync.
        self._change("INSERT OR REPLACE INTO claims VALUES (?, ?)", values, "NORMAL")

    def note(self, key: str) -> str | None:
        """Return the short text that was kept under this key, if any."""
        row = self._one("SELECT value FROM notes WHERE key = ?", key)
        return None if row is None else str(row[0])

    def keep_note(self, key: str, value: str) -> None:
        """Keep a short text.

        Raises:
            OutputFails: the disk is full or fails.
        """
        if self.note(key) != value:
            self._change("INSERT OR REPLACE INTO notes VALUES (?, ?)", [(key, value)])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def _one(self, query: str, key: bytes | str) -> Any:  # noqa: ANN401 (a row)
        with self._lock:
            try:
                return self._database.execute(query, (key,)).fetchone()
            except sqlite3.Error as error:
                raise self._failing(error) from error

    def _change(
        self, statement: str, values: Sequence[tuple[Any, ...]], synchronous: str = "FULL"
    ) -> None:
        if not values:
            return
        with self._lock:
            try:
                self._database.execute(f"PRAGMA synchronous = {synchronous}")
                self._database.execute("BEGIN IMMEDIATE")
                self._database.executemany(statement, values)
                self._database.execute("COMMIT")
            except sqlite3.Error as error:
                if self._database.in_transaction:
                    self._database.rollback()
                raise self._failing(error) from error
