"""The ledger lists the messages that this run has pulled, and the ack ids by which it holds them.

It is on disk, so that a hundred thousand messages take as much memory as a thousand.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from worker.system.spool import Spool

CHUNK = 1000
"""So many ack ids go into one request; at up to 200 bytes each, they fit its limit of 512 KiB."""

_LAYOUT = """
CREATE TABLE messages (
    number INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL UNIQUE,
    ack_id TEXT NOT NULL,
    taken INTEGER NOT NULL DEFAULT 0
)
"""


@dataclass(frozen=True, slots=True)
class Entered:
    """Message ids of one page: pulled for the first time, and pulled again after their ack."""

    fresh: frozenset[str]
    taken: frozenset[str]


class Ledger:
    """The messages that one run has pulled; thread-safe. It ends with its process at the latest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spool = Spool(_LAYOUT)

    def enter(self, page: Sequence[tuple[str, str]]) -> Entered:
        """Note message ids and ack ids; the newest ack id of a message counts."""
        ids = frozenset(message_id for message_id, _ in page)
        with self._lock:
            known = dict(self._on("SELECT message_id, taken FROM messages", ids))
            self._spool.write(
                "INSERT INTO messages (message_id, ack_id) VALUES (?, ?) "
                "ON CONFLICT (message_id) DO UPDATE SET ack_id = excluded.ack_id",
                page,
            )
        return Entered(
            fresh=ids - known.keys(),
            taken=frozenset(message_id for message_id, taken in known.items() if taken),
        )

    def ack_ids(self, message_ids: Collection[str]) -> list[str]:
        """Return the newest ack ids of these messages."""
        with self._lock:
            return [ack_id for (ack_id,) in self._on("SELECT ack_id FROM messages", message_ids)]

    def take(self, message_ids: Collection[str]) -> None:
        """Note that these messages are acked: they are no longer held, but still listed."""
        with self._lock:
            self._on("UPDATE messages SET taken = 1", message_ids)

    def taken(self, message_ids: Collection[str]) -> frozenset[str]:
        """Return those of these messages that this run has acked."""
        with self._lock:
            found = self._on("SELECT message_id, taken FROM messages", message_ids)
        return frozenset(message_id for message_id, taken in found if taken)

    def held(self) -> Iterator[list[str]]:
        """Yield the ack ids of all held messages, `CHUNK` at a time."""
        last = 0
        while True:
            with self._lock:
                rows = self._spool.rows(
                    "SELECT number, ack_id FROM messages WHERE number > ? AND NOT taken "
                    "ORDER BY number LIMIT ?",
                    (last, CHUNK),
                )
            if not rows:
                return
            yield [ack_id for _, ack_id in rows]
            last = rows[-1][0]

    def close(self) -> None:
        """Delete the ledger."""
        self._spool.close()

    def _on(self, statement: str, message_ids: Collection[str]) -> list[tuple[Any, ...]]:
        marks = ",".join("?" * len(message_ids))
        return self._spool.rows(f"{statement} WHERE message_id IN ({marks})", tuple(message_ids))
