"""A spool keeps rows that outgrow memory, in a file that ends with this process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from worker.errors import Fatal


class Spool:
    """An SQLite database in a temporary file without a name; 4 MB of it are cached in memory.

    Any thread may use it, one at a time. `rows` and `write` raise `Fatal` if the disk is full.
    """

    def __init__(self, schema: str) -> None:
        """`schema` is one CREATE TABLE statement."""
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        try:
            # A transaction that fails ends the process, so a rollback is not needed.
            self.rows("PRAGMA journal_mode = OFF")
            self.rows("PRAGMA cache_size = -4000")
            self.rows(schema)
        except Fatal:
            self.close()
            raise

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        """Run a query, an UPDATE or a DELETE, and return all its rows."""
        with _room():
            return self._database.execute(query, values).fetchall()

    def write(self, statement: str, rows: Iterable[Sequence[object]]) -> int:
        """Run a statement for each row, in one transaction; return how many rows changed."""
        with _room():
            self._database.execute("BEGIN")
            changed = self._database.executemany(statement, rows).rowcount
            self._database.execute("COMMIT")
        return changed

    def close(self) -> None:
        """Close the database; its rows are lost."""
        self._database.close()


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise Fatal(
            f"what outgrows memory cannot be kept: {error}. Make room for SQLite's temporary files "
            "(in SQLITE_TMPDIR, else /var/tmp)"
        ) from error
