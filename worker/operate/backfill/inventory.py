"""Inventory: the originals that lie in a bucket or a folder, in one order, from any place on.

Owns what is an original at all: never the worker's own output, folder markers, what globs leave, or
what can be no photo. Reads names only, a page or a folder of them at a time.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from worker.photo.endings import named_like_a_picture
from worker.photo.events import Buckets, check_photo_id
from worker.photo.globs import Globs
from worker.photo.ports import ObjectStore, StoredObject
from worker.system.walk import Entry, walk


class Left(StrEnum):
    """Why a name is no original."""

    IGNORED = "ignored"
    """The worker's own output, a folder marker, or a file that is called like no picture."""

    NOT_CHOSEN = "not_chosen"
    """By include and exclude."""

    IMPOSSIBLE = "impossible"
    """It can be no photo's id, or cannot be looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One name, which is the photo's id too. Either `stored` or `file` is there, unless `left`."""

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
        """Where the originals lie, or are uploaded to."""

    def items(self, behind: str | None = None) -> Iterator[Item]:
        """Every name, or those behind one in the order; lazily."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketInventory:
    """The objects of a bucket whose names begin with `prefix`, in name order.

    What lies under the worker's output prefix is not even listed.
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
        # The name that follows all of the folder's: "0" comes behind "/".
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

    `bucket` is where they are uploaded to. Links to files are followed, links to folders are not:
    they may lead in a circle.
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
        return Item(name=name, size_bytes=size_bytes, file=file, left=left, why=why)


def _bytes_of(file: Path) -> int | None:
    """The size of a file; `None` for anything else, such as a link to nowhere."""
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
