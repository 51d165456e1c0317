"""This module compares originals with their photos' manifests, in pages of a thousand.

For each page, one listing of the manifests' range shows which photos have no manifest. So a fresh
bucket costs two requests for a thousand originals instead of a thousand (docs/decisions/0017). Only
existing manifests are read, several at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

from worker.errors import StorageUnavailable, Transient
from worker.handlers.manifests import Manifests
from worker.operate.backfill.comparison import Compared, compare, compare_file
from worker.operate.backfill.inventory import Item
from worker.photo.checksum import crc32c_of_file
from worker.photo.layout import Layout
from worker.photo.manifest import Manifest
from worker.photo.ports import ObjectStore, StoredObject

PAGE: Final = 1000
"""One request lists so many names."""

FILES: Final = 100
"""The page of files is smaller, because they are read whole: a stop waits for two pages at most."""

PARALLEL: Final = 32
"""So many originals are compared in parallel; each waits for one or two small requests."""

HOPELESS: Final = 50
"""If a page has at least so many originals and the bucket answers for none, the run ends."""

_NEVER: Final = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """One item with its comparison, or with its failure, or just the item if it is left out.

    `unanswered` means that it failed because a bucket does not answer.
    """

    item: Item
    compared: Compared | None = None
    failure: str | None = None
    unanswered: bool = False


class Comparer:
    """Compares originals with the manifests under a prefix; used by one thread.

    Files are uploaded into the bucket `originals`. `recipe` is the fingerprint in force, `page` the
    number of names that are compared in one go.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        originals: str,
        renditions: str,
        layout: Layout,
        recipe: str,
        page: int = PAGE,
    ) -> None:
        self._page = page
        self._store = store
        self._originals = originals
        self._renditions = renditions
        self._layout = layout
        self._recipe = recipe
        self._manifests = Manifests(store, renditions, layout)

    def pages(self, items: Iterable[Item]) -> Iterator[list[Looked]]:
        """Yield every item in the order given; the next page is compared meanwhile.

        Raises:
            Transient: a bucket cannot be listed, or a whole page of manifests cannot be read.
            BucketUnavailable: a bucket is gone.
        """
        rest = iter(items)
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="compare") as threads:
            try:
                ahead: list[Looked | Future[Looked]] = []
                while page := list(islice(rest, self._page)):
                    begun = self._begin(page, threads)
                    if ahead:
                        yield _finish(ahead)
                    ahead = begun
                if ahead:
                    yield _finish(ahead)
            finally:
                threads.shutdown(cancel_futures=True)

    def _begin(
        self, page: list[Item], threads: ThreadPoolExecutor
    ) -> list[Looked | Future[Looked]]:
        has_none = self._without_manifest([item.name for item in page if item.left is None])
        begun: list[Looked | Future[Looked]] = []
        for item in page:
            if item.left is not None:
                begun.append(Looked(item=item))
            elif item.stored is not None and has_none(item.name):
                begun.append(Looked(item=item, compared=compare(item.stored, None, self._recipe)))
            else:
                begun.append(threads.submit(self._look, item, absent=has_none(item.name)))
        return begun

    def _without_manifest(self, photo_ids: list[str]) -> Callable[[str], bool]:
        """Return a test that is True if one page of a listing proves that a photo has no manifest.

        The range runs from the smallest to the largest name, because manifests sort differently:
        photo `a` comes before `a-b`, but `a/manifest.json` after `a-b/manifest.json`.
        """
        names = [self._layout.manifest(photo_id) for photo_id in photo_ids]
        if not names:
            return lambda _: False
        # The page's last manifest is the end of the range.
        listing = self._store.objects(
            self._renditions, self._layout.prefix, start=min(names), end=f"{max(names)}!"
        )
        listed = [stored.name for stored in islice(listing, PAGE)]
        there = frozenset(listed)
        reached = listed[-1] if len(listed) == PAGE else None

        def has_none(photo_id: str) -> bool:
            name = self._layout.manifest(photo_id)
            return name not in there and (reached is None or name < reached)

        return has_none

    def _look(self, item: Item, *, absent: bool) -> Looked:
        try:
            manifest = None if absent else self._manifests.read(item.name)
            if manifest is not None and manifest.photo_id != item.name:
                return Looked(item=item, failure=f"its manifest is of {manifest.photo_id!r}")
            return Looked(item=item, compared=self._compare(item, manifest))
        except Transient as error:
            unanswered = isinstance(error, StorageUnavailable)
            failure = f"{type(error).__name__}: {error}"
            return Looked(item=item, failure=failure, unanswered=unanswered)
        except OSError as error:
            return Looked(item=item, failure=f"cannot be read: {error.strerror or error}")

    def _compare(self, item: Item, manifest: Manifest | None) -> Compared:
        if item.file is None:
            assert item.stored is not None  # noqa: S101 (an item is an object or a file)
            return compare(item.stored, manifest, self._recipe)
        there = self._store.stat(self._originals, item.name)
        if there is not None and _holds(there, item.file):
            return compare(there, manifest, self._recipe)
        nothing = StoredObject(
            bucket=self._originals,
            name=item.name,
            generation=0,
            size_bytes=0,
            crc32c="",
            created=_NEVER,
        )
        replacing = replace(there or nothing, size_bytes=item.size_bytes)
        return compare_file(item.file, replacing, manifest)


def _holds(stored: StoredObject, file: Path) -> bool:
    """Return True if an object has exactly the bytes of a file."""
    return stored.size_bytes == file.stat().st_size and stored.crc32c == crc32c_of_file(file)


def _finish(begun: list[Looked | Future[Looked]]) -> list[Looked]:
    page = [each.result() if isinstance(each, Future) else each for each in begun]
    failures = [looked.failure for looked in page if looked.unanswered]
    if len(failures) >= HOPELESS and len(failures) == sum(each.item.left is None for each in page):
        raise StorageUnavailable(f"none of {len(failures)} originals in a row: {failures[-1]}")
    return page
