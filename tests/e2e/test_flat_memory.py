"""Thousands of events leave a worker as small as hundreds did. Minutes long: `make soak`."""

from __future__ import annotations

import os
from itertools import cycle
from pathlib import Path

import pytest

from tests.e2e.stage import Worker, set_up
from tests.support.pictures import corners_jpeg, noisy_jpeg
from tests.support.waiting import eventually
from worker.lab.emulator.server import EmbeddedBroker

EVENTS = int(os.environ.get("SOAK_FLAT_EVENTS", "5000"))
BATCH = 250

ROOM_BYTES = 24 << 20
"""Allocators and connections fill up slowly; a leak of 10 KB an event would be twice that."""


@pytest.mark.skipif(not os.environ.get("SOAK_SECONDS"), reason="minutes of events: make soak")
@pytest.mark.timeout(1800)
def test_memory_is_flat_over_thousands_of_events(storage_url: str, tmp_path: Path) -> None:
    pictures = cycle(
        [corners_jpeg(120, 80), noisy_jpeg(400, 300), corners_jpeg(64, 48), noisy_jpeg(1300, 900)]
    )
    sizes: list[dict[str, int]] = []
    with EmbeddedBroker() as broker, set_up(broker.address, storage_url, tmp_path) as stage:
        worker = stage.worker(http_port="0").wait_until_running()
        for done in range(0, EVENTS, BATCH):
            for number in range(done, done + BATCH, 5):
                for photo_id in (f"a{number}", f"b{number}"):
                    stage.register(photo_id, 1, next(pictures))
                    stage.publish(_again(photo_id, stage.originals))
                stage.deregister(f"a{number}", 2)
            handled = done + BATCH
            eventually(
                lambda handled=handled: len(worker.lines("handled", answered=True)) >= handled,  # type: ignore[misc]
                f"{handled} events are handled",
                seconds=300,
            )
            sizes.append(_resident(worker))
            print(handled, {name: size >> 20 for name, size in sizes[-1].items()})  # noqa: T201
    _, *settled = sizes
    for process in ("parent", "children"):
        early = max(each[process] for each in settled[: len(settled) // 3])
        late = max(each[process] for each in settled[-len(settled) // 3 :])
        assert late <= early + ROOM_BYTES, (process, sizes)


def _again(photo_id: str, bucket: str) -> dict[str, object]:
    return {
        "type": "photo.register",
        "photo_id": photo_id,
        "version": 1,
        "original": f"gs://{bucket}/{photo_id}.jpg",
    }


def _resident(worker: Worker) -> dict[str, int]:
    children = sum(map(_resident_bytes, worker.children()))
    return {"parent": _resident_bytes(worker.running.pid), "children": children}


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
