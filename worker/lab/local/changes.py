"""Changes: the photos that changed since the gallery page last asked."""

from __future__ import annotations

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
        """The snapshot with only the photos that changed after `cursor`, and the next cursor.

        `whole` says that all photos are there, as after an empty or a foreign cursor.
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
                # The page removes what a whole snapshot leaves out.
                self._session, self._seen, new = secrets.token_hex(4), {}, photos
            self._count += bool(new)
            for photo_id, photo in new.items():
                self._seen[photo_id] = (self._count, photo)
            session, _, number = cursor.partition("-")
            whole = session != self._session or not number.isascii() or not number.isdigit()
            after = -1 if whole else int(number)
            return {
                **state,
                "photos": [photo for count, photo in self._seen.values() if count > after],
                "whole": whole,
                "cursor": f"{self._session}-{self._count}",
            }
