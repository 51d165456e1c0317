"""Measure one worker on a folder of photos: pace, CPU, memory, and the time of a drain.

    .venv/bin/python scripts/measure.py FOLDER [--rounds 3] [--broker auto|google|embedded]

Starts a broker and a GCS server, spawns `photo-worker run`, registers every photo of FOLDER in each
round, and reads the worker's own CPU seconds and peak memory from /proc (Linux). Servers and the
publisher are other processes and are not counted. Last, it sends SIGTERM in mid-render.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from worker.local.resources import ORIGINALS_BUCKET, Names, Resources
from worker.local.servers import open_broker, open_storage
from worker.local.watch import Watch
from worker.publish import EventPublisher, Source, find_sources
from worker.pubsub import PubSubPublisher
from worker.storage import GcsStore

TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--broker", default="auto")
    options = parser.parse_args()
    with ExitStack() as stack:
        report = measure(options, stack)
    print(json.dumps(report, indent=2))


def measure(options: argparse.Namespace, stack: ExitStack) -> dict[str, Any]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    storage = open_storage(os.environ)
    stack.callback(storage.stop)
    broker = open_broker(options.broker, os.environ)
    stack.callback(broker.stop)
    names = Names("photo-worker-measure")
    store = GcsStore(project=names.project, emulator_url=storage.address, connections=8)
    stack.callback(store.close)
    resources = Resources(broker.address, names)
    stack.callback(resources.close)
    resources.create(store)
    watch = Watch(broker.address, names)
    watch.start()
    stack.callback(watch.stop)
    publisher = PubSubPublisher(broker.address)
    stack.callback(publisher.close)
    events = EventPublisher(store, publisher, names.topic("photos"))

    environment = (
        os.environ
        | names.environment()
        | {
            "PUBSUB_EMULATOR_HOST": broker.address,
            "STORAGE_EMULATOR_HOST": storage.address,
            "WORKER_HTTP_PORT": "0",
            "WORKER_LOG_FORMAT": "json",
        }
    )
    log = folder / "log"
    with log.open("wb") as file:
        worker = subprocess.Popen(
            [sys.executable, "-m", "worker", "run"], env=environment, stderr=file
        )
    stack.callback(worker.wait)
    stack.callback(worker.kill)
    started = time.monotonic()
    wait_for_line(log, "running")
    ready_seconds = time.monotonic() - started

    photos = find_sources([options.folder])
    rounds = [one_round(watch, events, photos, worker.pid) for _ in range(options.rounds)]
    memory = peak_memory(worker.pid)
    return {
        "broker": broker.name,
        "photos": len(photos),
        "seconds_to_ready": round(ready_seconds, 2),
        "photos_a_minute": median(rounds, "photos_a_minute"),
        "cpu_seconds_a_photo": median(rounds, "cpu_seconds_a_photo"),
        "cpu_seconds_a_photo_parent": median(rounds, "cpu_seconds_a_photo_parent"),
        "peak_parent_mb": memory[0],
        "peak_child_mb": memory[1],
        "seconds_from_sigterm_to_exit": drain(watch, events, photos, worker),
        "rounds": rounds,
    }


def one_round(
    watch: Watch, events: EventPublisher, photos: list[Source], pid: int
) -> dict[str, float]:
    before = cpu_seconds(pid)
    started = time.monotonic()
    register(watch, events, photos)
    while len(set(watch.counts()[:2])) > 1:
        watch.wait_for_change(0.5)
    seconds = time.monotonic() - started
    parent, children = (b - a for a, b in zip(before, cpu_seconds(pid), strict=True))
    return {
        "photos_a_minute": round(len(photos) / seconds * 60, 1),
        "cpu_seconds_a_photo": round((parent + children) / len(photos), 3),
        "cpu_seconds_a_photo_parent": round(parent / len(photos), 3),
    }


def register(watch: Watch, events: EventPublisher, photos: list[Source]) -> None:
    for source in photos:
        watch.expect(source.photo_id, 0)
    for _ in events.register(photos, bucket=ORIGINALS_BUCKET, labels={}):
        pass


def drain(
    watch: Watch, events: EventPublisher, photos: list[Source], worker: subprocess.Popen[bytes]
) -> float:
    register(watch, events, photos)
    while not watch.counts()[1]:
        watch.wait_for_change(0.05)
    started = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    worker.wait()
    return round(time.monotonic() - started, 2)


def median(rounds: list[dict[str, float]], name: str) -> float:
    return statistics.median(each[name] for each in rounds)


def wait_for_line(log: Path, message: str) -> None:
    while f'"message": "{message}"' not in log.read_text():
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that has ended meanwhile
            found += map(int, (task / "children").read_text().split())
    return found


def cpu_seconds(pid: int) -> tuple[float, float]:
    """Of the parent, and of its children that live."""
    return one_cpu(pid), sum(one_cpu(child) for child in children(pid))


def one_cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_memory(pid: int) -> tuple[int, int]:
    """Peak resident megabytes of the parent, and of the largest child."""
    return one_peak(pid), max(one_peak(child) for child in children(pid))


def one_peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 // 1_000_000
    return 0


if __name__ == "__main__":
    main()
