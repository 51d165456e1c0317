"""Renditions in the bucket: stored once under deterministic names, and removed exactly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from worker.errors import ObjectMissing, PreconditionFailed, StorageUnavailable
from worker.layout import Layout
from worker.manifest import Rendition
from worker.ports import ObjectStore, Rendered, StoredObject

CONTENT_TYPE = "image/webp"
CACHE_CONTROL = "public, max-age=31536000, immutable"

_ROUNDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderFolder:
    """Which folder a ladder's renditions go to: one photo, version and digest."""

    photo_id: str
    version: int
    digest: str


class Renditions:
    """The renditions under one prefix of one bucket; thread-safe."""

    def __init__(self, store: ObjectStore, bucket: str, layout: Layout) -> None:
        """Touch nothing yet."""
        self._store = store
        self._bucket = bucket
        self._layout = layout

    def put(self, ladder: LadderFolder, rendered: Rendered) -> Rendition:
        """Store a rendition unless its name is taken, and say what lies there.

        The same work has the same name, so a taken name is an earlier attempt's upload (perhaps
        one whose response was lost). Its bytes are what a reader gets, so its checksum is what
        the manifest must state, even where another machine's codec rounded differently.

        Raises:
            StorageUnavailable: the bucket does not answer, or stored other bytes than were sent.
            ObjectMissing: the name is taken and free in turns.
        """
        name = self._layout.rendition(
            ladder.photo_id, ladder.version, ladder.digest, rendered.size.rung
        )
        data = rendered.path.read_bytes()
        for _ in range(_ROUNDS):
            try:
                stored = self._store.write(
                    self._bucket,
                    name,
                    data,
                    content_type=CONTENT_TYPE,
                    cache_control=CACHE_CONTROL,
                    if_generation=0,
                )
            except PreconditionFailed:
                earlier = self._store.stat(self._bucket, name)
                if earlier is None:
                    continue
                return _rendition(rendered, earlier)
            if stored.crc32c != rendered.crc32c:
                raise StorageUnavailable(f"{name}: stored {stored.crc32c}, sent {rendered.crc32c}")
            return _rendition(rendered, stored)
        raise ObjectMissing(f"{name} is deleted by another worker as often as it is written")

    def remove(self, names: Iterable[str]) -> int:
        """Delete objects by name; how many were there."""
        return sum(self._store.delete(self._bucket, name) for name in names)

    def remove_own(self, photo_id: str, up_to_version: int) -> int:
        """Delete every rendition of this photo of a version up to this; how many were there.

        Photos that nest below this one keep theirs, and so does a newer version whose manifest
        may be about to be committed.
        """
        prefix, start, end = self._layout.own_range(photo_id)
        listed = self._store.objects(self._bucket, prefix, start=start, end=end)
        return self.remove(
            stored.name
            for stored in listed
            if (version := self._layout.own_version(photo_id, stored.name)) is not None
            and version <= up_to_version
        )


def _rendition(rendered: Rendered, stored: StoredObject) -> Rendition:
    return Rendition(
        rung=rendered.size.rung,
        object=stored.name,
        width=rendered.size.width,
        height=rendered.size.height,
        bytes=stored.size_bytes,
        crc32c=stored.crc32c,
    )
