"""A backfill of a bucket too large for the memory: its lister, comparer and publisher stay flat.

`SOAK_ORIGINALS=1000000` for the whole million, which takes about a minute.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.fakes import MemoryStore
from worker.console.stop import Stop
from worker.operate.backfill.comparison import wanted
from worker.operate.backfill.inventory import BucketInventory
from worker.operate.backfill.pages import Comparer
from worker.operate.backfill.publishing import Backfill, BackfillOptions
from worker.operate.backfill.report import BackfillReport
from worker.operate.publish import PacedPublisher
from worker.photo.events import Buckets
from worker.photo.globs import Globs
from worker.photo.layout import Layout
from worker.photo.manifest import Manifest, OriginalFacts, State
from worker.photo.ports import OutgoingMessage, StoredObject

ORIGINALS = int(os.environ.get("SOAK_ORIGINALS", "100000"))
READY_PAGES = 20
"""Of so many pages, one is of photos that are ready."""

RUNGS = 9
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
RECIPE = "r"
ROOM_BYTES = 12 << 20
LAYOUT = Layout("photos/")


def is_ready(number: int) -> bool:
    return number // 1000 % READY_PAGES == 0


def name_of(number: int) -> str:
    return f"album-{number // 500:06}/IMG_{number:07}.JPG"


class HugeStore(MemoryStore):
    """Originals, renditions and manifests that are made up as they are listed and read."""

    def __init__(self) -> None:
        super().__init__()
        self.lists = 0
        self.reads = 0

    def objects(
        self, bucket: str, prefix: str, *, start: str | None = None, end: str | None = None
    ) -> Iterator[StoredObject]:
        self.lists += 1
        names = self._originals() if bucket == "originals" else self._output(start, end)
        for count, (name, number) in enumerate(names, start=1):
            assert name.startswith(prefix)
            self.lists += count % 1000 == 0
            yield stated(bucket, name, number)

    def _originals(self) -> Iterator[tuple[str, int]]:
        return ((name_of(number), number) for number in range(ORIGINALS))

    def _output(self, start: str | None, end: str | None) -> Iterator[tuple[str, int]]:
        assert start is not None
        assert end is not None
        first = int(start.partition("IMG_")[2][:7])
        for number in range(first, ORIGINALS):
            if not is_ready(number):
                continue
            folder = f"photos/{name_of(number)}/"
            own = [f"{folder}17-3fd0c1a2b4e5/{rung}.webp" for rung in range(RUNGS)]
            for name in (*own, f"{folder}manifest.json"):
                if name >= end:
                    return
                if name >= start:
                    yield name, number

    def read(self, bucket: str, name: str) -> tuple[bytes, int] | None:
        self.reads += 1
        photo_id = name.removeprefix("photos/").removesuffix("/manifest.json")
        number = int(photo_id.partition("IMG_")[2][:7])
        assert bucket == "renditions"
        if not is_ready(number):
            return None
        facts = OriginalFacts(
            bucket="originals",
            object=photo_id,
            generation=str(number + 1),
            bytes=1,
            sha256="0",
            format="jpeg",
            width=1,
            height=1,
        )
        manifest = Manifest(
            photo_id=photo_id,
            state=State.READY,
            version=number + 1,
            commit_id="c",
            committed_at=NOON,
            recipe=RECIPE,
            original=facts,
        )
        return manifest.to_json(), 1


def stated(bucket: str, name: str, number: int) -> StoredObject:
    return StoredObject(
        bucket=bucket,
        name=name,
        generation=number + 1,
        size_bytes=4_000_000,
        crc32c="AAAAAA==",
        created=NOON,
    )


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.timeout(600)
def test_memory_and_requests_stay_flat() -> None:
    store = HugeStore()
    buckets = Buckets(
        originals=frozenset({"originals"}),
        renditions="renditions",
        layout=LAYOUT,
        globs=Globs(include=("*.{jpg,png}",)),
    )
    sent = 0
    sizes: list[int] = []

    def publish(messages: Sequence[OutgoingMessage]) -> None:
        nonlocal sent
        sent += len(messages)

    report = BackfillReport(source="s", bucket="originals", prefix="", recipe=RECIPE)
    backfill = Backfill(
        store=store,
        publish=PacedPublisher(publish, None),
        options=BackfillOptions(
            wanted=wanted(stale=False, only_missing=False, rejected=False),
            limit=None,
            max_events=10 * ORIGINALS,
            rate=None,
            dry_run=False,
        ),
        report=report,
        published=lambda _: None,
        keep=lambda _: None,
        tell=pytest.fail,
        stop=Stop(),
    )
    comparer = Comparer(
        store, originals="originals", renditions="renditions", layout=LAYOUT, recipe=RECIPE
    )
    inventory = BucketInventory(store=store, bucket="originals", prefix="", buckets=buckets)
    backfill(comparer.pages(inventory.items()), lambda _: sizes.append(resident_bytes()))
    ready = sum(is_ready(number) for number in range(ORIGINALS))
    assert (report.complete, report.originals, report.current) == (True, ORIGINALS, ready)
    assert (sent, report.published) == (ORIGINALS - ready, ORIGINALS - ready)
    pages = -(-ORIGINALS // 1000)
    assert len(sizes) >= pages
    # In the first quarter of it, everything has been in memory once.
    assert max(sizes) - sizes[len(sizes) // 4] < ROOM_BYTES
    assert store.reads == ready
    assert store.lists <= 2 * pages + ready // 1000 + 2
