"""An inventory lists the originals in a bucket or a folder, in one order, from any name on.

It decides which names are originals: it leaves out the worker's own output, folder markers, names
that globs exclude, and names that cannot be a photo id. It reads only names.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from worker.errors import ConfigurationError, UsageFault
from worker.operate.sources import check_allowed
from worker.photo.endings import named_like_a_picture, why_refused
from worker.photo.events import Buckets, check_photo_id
from worker.photo.globs import Globs
from worker.photo.ports import ObjectStore, StoredObject
from worker.settings.settings import Settings
from worker.system.walk import Entry, walk
from worker.wiring import buckets_of


class Left(StrEnum):
    """The reason why a name is left out."""

    IGNORED = "ignored"
    """The worker's own output, a folder marker, or a file without a picture's ending."""

    NOT_CHOSEN = "not_chosen"
    """The globs of include and exclude leave it out."""

    IMPOSSIBLE = "impossible"
    """It cannot be a photo's id, cannot be read, or is a picture that is not rendered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One name, which is the photo's id too: an object `stored`, a `file`, or a name `left` out."""

    name: str
    size_bytes: int = 0
    stored: StoredObject | None = None
    file: Path | None = None
    left: Left | None = None
    why: str = ""


class Inventory(Protocol):
    """Names in an order that does not change from one listing to the next."""

    @property
    def bucket(self) -> str:
        """Return the bucket of the originals; files are uploaded into it."""

    def items(self, behind: str | None = None) -> Iterator[Item]:
        """Yield every name, or every name after `behind` in the order; read them lazily."""


def open_inventory(source: str, settings: Settings, store: ObjectStore) -> Inventory:
    """Return the originals of `gs://BUCKET/PREFIX`, or of a folder to be uploaded.

    Raises:
        UsageFault: the folder does not exist, or the source is the worker's own output.
        ConfigurationError: workers with these settings would refuse every event.
    """
    buckets = buckets_of(settings)
    if not source.startswith("gs://"):
        folder = Path(source)
        if not source or not folder.is_dir():
            raise UsageFault(
                f"{source!r} is no folder; name one, or gs://BUCKET/PREFIX "
                "(a single file: photo-worker register)"
            )
        if not settings.originals_buckets:
            raise ConfigurationError(
                ["WORKER_ORIGINALS_BUCKETS is not set: the files are uploaded to its first"]
            )
        return FolderInventory(folder=folder, bucket=settings.originals_buckets[0], buckets=buckets)
    bucket, _, prefix = source.removeprefix("gs://").partition("/")
    if not bucket:
        raise UsageFault(f"{source!r} names no bucket; say gs://BUCKET or gs://BUCKET/PREFIX")
    check_allowed(bucket, settings.originals_buckets)
    if buckets.is_output(bucket, prefix):
        raise UsageFault(
            f"{source} is the worker's own output (WORKER_OUTPUT_PREFIX={settings.output_prefix!r} "
            "of the same bucket); name what originals lie under"
        )
    return BucketInventory(store=store, bucket=bucket, prefix=prefix, buckets=buckets)


def prefix_of(source: str) -> str:
    """Return the prefix of all names of a source's originals."""
    return source.removeprefix("gs://").partition("/")[2] if source.startswith("gs://") else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketInventory:
    """The objects of a bucket whose names begin with `prefix`, in name order.

    The listing skips the worker's output prefix.
    """

    store: ObjectStore
    bucket: str
    prefix: str
    buckets: Buckets

    def items(self, behind: str | None = None) -> Iterator[Item]:
        """See `Inventory`; raises what the listing raises."""
        for start, end in self._ranges():
            if end is not None and behind is not None and behind >= end:
                continue
            first = max(filter(None, (start, behind)), default=None)
            for stored in self.store.objects(self.bucket, self.prefix, start=first, end=end):
                if stored.name != behind:
                    yield self._item(stored)

    def _ranges(self) -> list[tuple[str | None, str | None]]:
        output = self.buckets.layout.prefix
        if self.bucket != self.buckets.renditions or not output.startswith(self.prefix):
            return [(None, None)]
        # "0" comes after "/", so the second range begins after all names of the folder.
        return [(None, output), (f"{output[:-1]}0", None)]

    def _item(self, stored: StoredObject) -> Item:
        name = stored.name
        if name.endswith("/") or self.buckets.is_output(self.bucket, name):
            return Item(name=name, left=Left.IGNORED)
        left, why = _left(name, self.buckets.globs)
        return Item(name=name, size_bytes=stored.size_bytes, stored=stored, left=left, why=why)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderInventory:
    """The pictures below a folder, by the endings of names; a file's name is its path below it.

    They are uploaded into `bucket`. Links to files are followed; links to folders are left out,
    because they may lead in a circle.
    """

    folder: Path
    bucket: str
    buckets: Buckets

    def items(self, behind: str | None = None) -> Iterator[Item]:
        """See `Inventory`; a folder that cannot be read is an impossible item."""
        for entry in walk(str(self.folder), behind=behind):
            yield self._item(entry)

    def _item(self, entry: Entry) -> Item:
        name = entry.name
        if entry.error is not None:
            return _unreadable(name, entry.error)
        file = Path(entry.path)
        try:
            size_bytes = _bytes_of(file) if named_like_a_picture(name) else None
        except OSError as error:
            return _unreadable(name, error)
        if size_bytes is None:
            return Item(name=name, left=Left.IGNORED)
        if self.buckets.is_output(self.bucket, name):
            why = f"would be uploaded to gs://{self.bucket}/{name}, which is the worker's output"
            return Item(name=name, left=Left.IMPOSSIBLE, why=why)
        left, why = _left(name, self.buckets.globs)
        if left is None and (why := why_refused(name)):
            left = Left.IMPOSSIBLE
        return Item(name=name, size_bytes=size_bytes, file=file, left=left, why=why)


def _bytes_of(file: Path) -> int | None:
    """Return the size of a file; `None` for anything else, such as a broken link."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _unreadable(name: str, error: OSError) -> Item:
    return Item(name=name, left=Left.IMPOSSIBLE, why=f"cannot be read: {error.strerror}")


def _left(name: str, globs: Globs) -> tuple[Left | None, str]:
    if (why := globs.why_not(name)) is not None:
        return Left.NOT_CHOSEN, why
    try:
        check_photo_id(name)
    except ValueError as error:
        return Left.IMPOSSIBLE, f"can be no photo: its id {error}"
    return None, ""
