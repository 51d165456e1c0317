"""Renditions in the bucket: store them once under deterministic names, delete by exact name."""

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
    """The folder of one ladder's renditions; it belongs to one photo, version and digest."""

    photo_id: str
    version: int
    digest: str


class Renditions:
    """The renditions under one prefix of one bucket; thread-safe.

    Requests about different renditions run in parallel in `threads`, because a distant bucket
    answers slowly; they may take effect in any order. Without an executor, requests run one after
    another.
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
        """Upload in the executor if there is one; `within` surrounds the upload in its thread."""

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
        """Store a rendition unless its name exists; return the facts of the stored object.

        The name is deterministic. If it exists, an earlier attempt uploaded it (perhaps its
        response was lost). That object is kept and the manifest states its checksum, even if its
        bytes differ from ours because another machine's codec rounded differently.

        Raises:
            StorageUnavailable: the bucket does not answer, or stored other bytes than were sent.
            ObjectMissing: another worker deletes the object as often as it is written.
            RenderCrashed: the file differs from what the child says it wrote.
        """
        if crc32c_of_file(rendered.path) != rendered.crc32c:
            # Check before the upload, because the next attempt trusts an object that exists.
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
        """Delete objects by name; return how many existed."""
        deletes = [self._start(partial(self._store.delete, self._bucket, name)) for name in names]
        return sum(delete.result() for delete in deletes)

    def remove_own(self, photo_id: str, up_to_version: int) -> int:
        """Delete this photo's renditions up to this version; return how many existed.

        Renditions of nested photos (`a/b` under `a`) and of a newer version, which may be committed
        soon, are kept.
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
