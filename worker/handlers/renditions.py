"""Renditions in the bucket: stored once under deterministic names, removed by exact name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from worker.errors import ObjectMissing, PreconditionFailed, RenderCrashed, StorageUnavailable
from worker.photo.checksum import crc32c_of_file
from worker.photo.layout import Layout
from worker.photo.manifest import Rendition
from worker.photo.ports import ObjectStore, Rendered, StoredObject

CONTENT_TYPE = "image/webp"
CACHE_CONTROL = "public, max-age=31536000, immutable"

_ROUNDS = 4

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderFolder:
    """The folder of one ladder's renditions: one photo, version and digest."""

    photo_id: str
    version: int
    digest: str


class Renditions:
    """The renditions under one prefix of one bucket; thread-safe.

    Requests about different renditions run side by side in `threads` (one by one without), because
    a distant bucket takes its time for each. They may take effect in any order.
    """

    def __init__(
        self, store: ObjectStore, bucket: str, layout: Layout, threads: Executor | None = None
    ) -> None:
        self._store = store
        self._bucket = bucket
        self._layout = layout
        self._threads = threads

    def start_upload(
        self,
        ladder: LadderFolder,
        rendered: Rendered,
        within: AbstractContextManager[object] = nullcontext(),  # noqa: B008 (it has no state)
    ) -> Future[Rendition]:
        """Begin an `upload`, in a thread where there are threads; `within` surrounds it there."""

        def upload() -> Rendition:
            with within:
                return self.upload(ladder, rendered)

        return self._start(upload)

    def _start(self, request: Callable[[], T]) -> Future[T]:
        if self._threads is not None:
            return self._threads.submit(request)
        future: Future[T] = Future()
        future.set_result(request())
        return future

    def upload(self, ladder: LadderFolder, rendered: Rendered) -> Rendition:
        """Store a rendition unless its name is taken; returns what lies there.

        The same work has the same name, so a taken name is an earlier attempt's upload (perhaps
        one whose response was lost). Readers get its bytes, so the manifest states its checksum,
        even where another machine's codec rounded differently.

        Raises:
            StorageUnavailable: the bucket does not answer, or stored other bytes than were sent.
            ObjectMissing: the name is taken and free in turns.
            RenderCrashed: the file differs from what was rendered.
        """
        if crc32c_of_file(rendered.path) != rendered.crc32c:
            # Checked before anything is stored, because the next attempt trusts a taken name.
            raise RenderCrashed(f"{rendered.path.name} is not what the child says it wrote")
        name = self._layout.rendition(
            ladder.photo_id, ladder.version, ladder.digest, rendered.size.rung
        )
        for _ in range(_ROUNDS):
            try:
                stored = self._store.write(
                    self._bucket,
                    name,
                    rendered.path,
                    content_type=CONTENT_TYPE,
                    cache_control=CACHE_CONTROL,
                    if_generation=0,
                    crc32c=rendered.crc32c,
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
        """Delete objects by name; returns how many were there."""
        deletes = [self._start(partial(self._store.delete, self._bucket, name)) for name in names]
        return sum(delete.result() for delete in deletes)

    def remove_own(self, photo_id: str, up_to_version: int) -> int:
        """Delete this photo's renditions up to this version; returns how many were there.

        Photos that nest below this one keep theirs, and so does a newer version, whose manifest
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
