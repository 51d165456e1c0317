"""The spool: rows on disk that end with the process."""

from __future__ import annotations

import resource

import pytest

from worker.errors import Fatal
from worker.system.spool import Spool


def test_rows_are_written_in_one_transaction_and_found() -> None:
    spool = Spool("CREATE TABLE t (key INTEGER PRIMARY KEY, value TEXT)")
    assert spool.write("INSERT INTO t VALUES (?, ?)", ((n, str(n)) for n in range(3))) == 3
    assert spool.rows("SELECT value FROM t WHERE key > ? ORDER BY key", (0,)) == [("1",), ("2",)]
    spool.close()


def test_a_full_disk_ends_the_run_and_says_where_room_is_needed() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    spool = Spool("CREATE TABLE t (value BLOB)")
    # As on a full disk: SQLite's temporary file cannot grow.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(Fatal, match="Make room for SQLite's temporary files"):
            spool.write("INSERT INTO t VALUES (?)", ((b"x" * 200,) for _ in range(60_000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        spool.close()
