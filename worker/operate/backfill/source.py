"""What `backfill SOURCE` means: which originals, and whether that can be meant."""

from __future__ import annotations

from pathlib import Path

from worker.errors import ConfigurationError, UsageFault
from worker.operate.backfill.inventory import BucketInventory, FolderInventory, Inventory
from worker.operate.sources import check_allowed
from worker.photo.events import Buckets
from worker.photo.ports import ObjectStore
from worker.settings.settings import Settings
from worker.wiring import buckets_of


def inventory_of(source: str, settings: Settings, store: ObjectStore) -> Inventory:
    """The originals of `gs://BUCKET/PREFIX`, or of a folder to be uploaded.

    Raises:
        UsageFault: no such folder, or the worker's own output.
        ConfigurationError: workers with these settings would refuse every event.
    """
    buckets = buckets_of(settings)
    if not source.startswith("gs://"):
        return _folder(source, settings, buckets)
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
    """What the names of all its originals begin with."""
    return source.removeprefix("gs://").partition("/")[2] if source.startswith("gs://") else ""


def _folder(source: str, settings: Settings, buckets: Buckets) -> FolderInventory:
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
    return FolderInventory(
        folder=folder,
        bucket=settings.originals_buckets[0],
        buckets=buckets,
    )
