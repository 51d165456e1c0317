"""A survey cuts one listing of the output prefix into photos, and judges each photo once.

Names come in order, so memory holds only the photos around the current name, whatever the size of
the bucket. The bucket changes during the listing, so a judge reads the photo's manifest again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from worker.console.stop import Stop
from worker.photo.events import check_photo_id
from worker.photo.layout import Layout
from worker.photo.ports import ObjectStore, StoredObject

T = TypeVar("T")

PARALLEL = 16
"""So many photos are judged at once; each waits for a few small requests, and hardly computes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedPhoto:
    """A photo as the listing shows it.

    `renditions` are the photo's own, in name order, whether its manifest names them or not. A
    listing from `resume_at` on has this photo and all later ones.
    """

    photo_id: str
    renditions: tuple[StoredObject, ...]
    resume_at: str


@dataclass(slots=True, kw_only=True)
class Seen:
    """Counts of the objects listed so far."""

    objects: int = 0
    bytes: int = 0
    foreign: int = 0
    """The number of objects under the prefix that no worker made; they stay."""


@dataclass(slots=True)
class _OpenPhoto:
    """A photo whose listing has begun and not ended. Photos nest, so there can be several."""

    photo_id: str
    first: str
    end: str
    renditions: list[StoredObject] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Judged(Generic[T]):
    """The result of one photo, and the place where a later run continues."""

    photo: SurveyedPhoto
    result: T
    resume_at: str | None
    """`None` after the last photo."""


class Survey:
    """One pass over the photos under a prefix, from `start` on. Used once, by one thread.

    After `stop` was asked, it begins no further photo.
    """

    def __init__(
        self,
        store: ObjectStore,
        bucket: str,
        layout: Layout,
        start: str | None = None,
        stop: Stop | None = None,
    ) -> None:
        self._store = store
        self._bucket = bucket
        self._layout = layout
        self._start = start
        self._open: dict[str, _OpenPhoto] = {}
        self._passed: dict[str, str] = {}
        self._stop = stop or Stop()
        self.seen = Seen()

    def judge(self, judge: Callable[[SurveyedPhoto], T]) -> Iterator[Judged[T]]:
        """Yield the result of `judge` for each photo, in the listing's order.

        `judge` runs in several threads, at most `PARALLEL` photos ahead of the results taken.
        Raises what `judge` and the listing raise.
        """
        waiting: deque[tuple[SurveyedPhoto, Future[T]]] = deque()
        behind: str | None = None
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="survey") as threads:
            try:
                for photo in self.photos():
                    if self._stop.asked:
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
        """Yield each photo with an object here, once, soon after its last rendition is listed."""
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
        """Yield the open photos that are complete: all their names come before `name`."""
        for photo_id in [known for known, last in self._passed.items() if name and last < name]:
            del self._passed[photo_id]
        # A stack would not do: photo `a/17-3fd0c1a2b4e5` has the name of a folder of photo `a`, and
        # its renditions may be listed before, between or after those of `a`.
        for closed in [each for each in self._open.values() if name is None or each.end <= name]:
            del self._open[closed.photo_id]
            # The photo's manifest comes later, perhaps after a whole album that nests below it.
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
