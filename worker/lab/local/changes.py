"""This module finds the photos that changed since the gallery page last asked."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable, Mapping
from typing import Any


class Changes:
    """Compares each snapshot with the one before, photo by photo; thread-safe.

    The page then downloads only the photos that changed.
    """

    def __init__(self, snapshot: Callable[[], Mapping[str, Any]]) -> None:
        self._snapshot = snapshot
        # A page that is still open from another session must get everything.
        self._session = secrets.token_hex(4)
        self._count = 0
        self._seen: dict[str, tuple[int, Mapping[str, Any]]] = {}
        self._lock = threading.Lock()

    def since(self, cursor: str) -> dict[str, Any]:
        """Return the snapshot with the photos that changed after `cursor`, and the next cursor.

        `whole` is true if it has all photos, as after an empty or a foreign cursor.
        """
        with self._lock:
            state = self._snapshot()
            photos = {photo["photo_id"]: photo for photo in state["photos"]}
            new = {
                photo_id: photo
                for photo_id, photo in photos.items()
                if photo_id not in self._seen or self._seen[photo_id][1] != photo
            }
            gone = self._seen.keys() - photos.keys()
            if gone:
                # After a whole snapshot, the page removes the photos that are not in it.
                self._session, self._seen, new = secrets.token_hex(4), {}, photos
            self._count += bool(new)
            for photo_id, photo in new.items():
                self._seen[photo_id] = (self._count, photo)
            after = self._after(cursor)
            return {
                **state,
                "photos": [photo for count, photo in self._seen.values() if count > (after or 0)],
                "whole": after is None,
                "cursor": f"{self._session}-{self._count}",
            }

    def _after(self, cursor: str) -> int | None:
        """Return the count of a cursor of this session; `None` for any other text."""
        session, _, number = cursor.partition("-")
        if session != self._session or not re.fullmatch("[0-9]{1,12}", number):
            return None
        return int(number) if int(number) <= self._count else None
