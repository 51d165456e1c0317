"""Originals: downloaded at one generation, from allowed buckets, within the limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_exponential

from worker.errors import ForbiddenSource, OriginalMissing
from worker.photo.events import Buckets, Register
from worker.photo.limits import Limits
from worker.photo.ports import ObjectStore, StoredObject
from worker.photo.recipe import DigestingHash

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedOriginal:
    """An original on this machine, and the hash of its bytes."""

    path: Path
    stored: StoredObject
    hash: DigestingHash


class Originals:
    """The originals in the allowed buckets; thread-safe.

    An event may arrive before its upload ends, so a missing original is looked up again for
    `grace_seconds`.
    """

    def __init__(
        self, store: ObjectStore, *, buckets: Buckets, limits: Limits, grace_seconds: float
    ) -> None:
        self._store = store
        self._buckets = buckets
        self._limits = limits
        self._grace_seconds = grace_seconds

    def check_source(self, event: Register) -> None:
        """Check that an event's original may be read.

        Raises:
            ForbiddenSource: it lies in another bucket, or among the worker's own output.
        """
        if event.bucket not in self._buckets.originals:
            raise ForbiddenSource(
                f"bucket {event.bucket!r} is not among WORKER_ORIGINALS_BUCKETS "
                f"({', '.join(sorted(self._buckets.originals))})"
            )
        if self._buckets.is_output(event.bucket, event.object):
            raise ForbiddenSource(f"{event.original} lies where this worker writes its own output")

    def fetch(self, event: Register, folder: Path) -> FetchedOriginal:
        """Download an event's original into `folder`.

        Raises:
            OriginalMissing: it is missing after the grace.
            OriginalForbidden: Cloud Storage refuses it.
            OriginalTooLarge, CorruptOriginal: by its stored size, before any byte is downloaded;
                or where it is stored gzipped, while it is unpacked.
            BucketUnavailable: its whole bucket is gone.
            StorageUnavailable: the bucket does not answer.
        """
        path = folder / "original"

        def take() -> StoredObject | None:
            return self._store.fetch(
                event.bucket, event.object, event.generation, path, self._limits.check_bytes
            )

        stored = self._once_there(event, take)
        digest = DigestingHash()
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
        return FetchedOriginal(path=path, stored=stored, hash=digest)

    def find(self, event: Register) -> StoredObject:
        """Look up an event's original without downloading it.

        Raises:
            OriginalMissing, OriginalTooLarge, CorruptOriginal, BucketUnavailable,
            StorageUnavailable: see `fetch`.
        """

        def look() -> StoredObject | None:
            return self._store.stat(event.bucket, event.object, event.generation)

        stored = self._once_there(event, look)
        self._limits.check_bytes(stored.size_bytes)
        return stored

    def _once_there(self, event: Register, look: Callable[[], StoredObject | None]) -> StoredObject:
        """Call `look` until it finds the object or the grace period ends.

        Raises:
            OriginalMissing, BucketUnavailable: see `fetch`.
        """
        retrying = Retrying(
            retry=retry_if_result(lambda stored: stored is None),
            wait=wait_exponential(multiplier=0.25, max=1.0),
            stop=stop_after_delay(self._grace_seconds),
            retry_error_callback=lambda _: None,
        )
        stored: StoredObject | None = retrying(look)
        if stored is None:
            # If the whole bucket is gone, the worker must end. Otherwise each event of the backlog
            # would be rejected because of a missing original.
            self._store.check_bucket(event.bucket)
            pinned = f" at generation {event.generation}" if event.generation else ""
            raise OriginalMissing(f"{event.original} does not exist{pinned}")
        return stored
