"""Survey: one listing of the output prefix, cut into photos, each judged once.

Names come in order, so only the photos around the current name are in memory, whatever the size of
the bucket. A listing is no snapshot: whoever judges a photo reads its manifest afresh.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from worker.photo.events import check_photo_id
from worker.photo.layout import Layout
from worker.photo.ports import ObjectStore, StoredObject

T = TypeVar("T")

PARALLEL = 16
"""Photos judged at once: each waits for a few small requests, and hardly computes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedPhoto:
    """A photo as the listing shows it.

    `renditions` are its own in name order, whatever the manifest says of them. `resume_at` is where
    a listing must begin to find this photo and everything behind it whole.
    """

    photo_id: str
    renditions: tuple[StoredObject, ...]
    resume_at: str


@dataclass(slots=True, kw_only=True)
class Seen:
    """What has passed by so far."""

    objects: int = 0
    bytes: int = 0
    foreign: int = 0
    """Objects under the prefix that no worker wrote; nobody touches them."""


@dataclass(slots=True)
class _OpenPhoto:
    """A photo of which more renditions may come. Photos nest, so there can be several."""

    photo_id: str
    first: str
    end: str
    renditions: list[StoredObject] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Judged(Generic[T]):
    """What a judge said of a photo, and where to begin again once it is dealt with."""

    photo: SurveyedPhoto
    result: T
    resume_at: str | None
    """`None` behind the last photo."""


class Survey:
    """One pass over the photos under a prefix, from `start` on. Used once, by one thread."""

    def __init__(
        self, store: ObjectStore, bucket: str, layout: Layout, start: str | None = None
    ) -> None:
        """List nothing yet."""
        self._store = store
        self._bucket = bucket
        self._layout = layout
        self._start = start
        self._open: dict[str, _OpenPhoto] = {}
        self._passed: dict[str, str] = {}
        self._stopped = False
        self.seen = Seen()

    def stop(self) -> None:
        """Judge no photo that has not been begun; for signal handlers."""
        self._stopped = True

    def judge(self, judge: Callable[[SurveyedPhoto], T]) -> Iterator[Judged[T]]:
        """What `judge` says of each photo, in the listing's order.

        It is called in several threads, at most `PARALLEL` photos ahead of what has been taken.
        Raises what it raises, and what the listing raises.
        """
        waiting: deque[tuple[SurveyedPhoto, Future[T]]] = deque()
        behind: str | None = None
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="survey") as threads:
            try:
                for photo in self.photos():
                    if self._stopped:
                        behind = photo.resume_at
                        break
                    waiting.append((photo, threads.submit(judge, photo)))
                    if len(waiting) > PARALLEL:
                        oldest, result = waiting.popleft()
                        yield Judged(oldest, result.result(), waiting[0][0].resume_at)
                while waiting:
                    oldest, result = waiting.popleft()
                    following = waiting[0][0].resume_at if waiting else behind
                    yield Judged(oldest, result.result(), following)
            finally:
                threads.shutdown(cancel_futures=True)

    def photos(self) -> Iterator[SurveyedPhoto]:
        """Each photo that has an object here, once, soon after the last of its renditions."""
        listing = self._store.objects(self._bucket, self._layout.prefix, start=self._start)
        for stored in listing:
            self.seen.objects += 1
            self.seen.bytes += stored.size_bytes
            yield from self._close(stored.name)
            yield from self._take(stored)
        yield from self._close(None)

    def _take(self, stored: StoredObject) -> Iterator[SurveyedPhoto]:
        owner = self._layout.owner(stored.name)
        if owner is None or not _is_photo_id(owner.photo_id):
            self.seen.foreign += 1
        elif owner.version is None:
            if owner.photo_id not in self._passed:
                yield self._photo(owner.photo_id, (), stored.name)
        else:
            photo = self._open.get(owner.photo_id)
            if photo is None:
                _, _, end = self._layout.own_range(owner.photo_id)
                photo = self._open[owner.photo_id] = _OpenPhoto(owner.photo_id, stored.name, end)
            photo.renditions.append(stored)

    def _close(self, name: str | None) -> Iterator[SurveyedPhoto]:
        """Let go of the photos whose own names all come before this one."""
        for photo_id in [known for known, last in self._passed.items() if name and last < name]:
            del self._passed[photo_id]
        # Not a stack: the renditions of a photo that is called like an own folder of another, such
        # as `a/17-3fd0c1a2b4e5`, may begin before or behind that one's and lie in their midst.
        for closed in [each for each in self._open.values() if name is None or each.end <= name]:
            del self._open[closed.photo_id]
            # Its manifest's name comes later, perhaps behind a whole album that nests below it.
            self._passed[closed.photo_id] = self._layout.manifest(closed.photo_id)
            yield self._photo(closed.photo_id, tuple(closed.renditions), closed.first)

    def _photo(
        self, photo_id: str, renditions: tuple[StoredObject, ...], first: str
    ) -> SurveyedPhoto:
        resume_at = min([first, *(each.first for each in self._open.values())])
        return SurveyedPhoto(photo_id=photo_id, renditions=renditions, resume_at=resume_at)


def _is_photo_id(text: str) -> bool:
    try:
        check_photo_id(text)
    except ValueError:
        return False
    return True
