"""Single events through an idle worker: what they cost, and how soon the first rung is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from worker.errors import Fatal
from worker.lab.bench.figures import median
from worker.lab.bench.pace import Uploaded
from worker.lab.bench.rig import Rig, RunningWorker
from worker.lab.local.resources import RENDITIONS_BUCKET
from worker.operate.publish import now_version
from worker.photo.ladder import Ladder
from worker.photo.layout import Layout
from worker.system import processes

TINY_EDGE_PX = 64

_LOOK_SECONDS = 0.004
_FIRST_SECONDS = 60.0
_BEGUN_CPU_SECONDS = 0.1


def tiny_ladder(ladder: Ladder) -> str:
    """A ladder of as many rungs for a picture of 64 pixels: every upload, and hardly a pixel."""
    sized = len(ladder.rungs) - 1
    edges = sorted({TINY_EDGE_PX * step // (sized + 1) for step in range(1, sized + 1)} - {0})
    return ",".join([*(str(edge) for edge in edges), "full"])


def single_events(
    rig: Rig, worker: RunningWorker, tiny: Uploaded, numbers: Iterator[int], count: int
) -> dict[str, dict[str, float]]:
    """CPU milliseconds an event, of the parent and of its children, `count` events of each kind.

    `register` is of a tiny photo with all its uploads, `skip` the same event once more, and
    `deregister` takes that photo away again.
    """
    made = [tiny.event(f"tiny/{next(numbers)}", now_version()) for _ in range(count)]

    def register() -> None:
        for event in made:
            worker.events.publish(event)

    def deregister() -> None:
        for _ in worker.events.deregister([event.photo_id for event in made], None):
            pass

    return {
        "register": _cost(rig, worker, register, count),
        "skip": _cost(rig, worker, register, count),
        "deregister": _cost(rig, worker, deregister, count),
    }


def _cost(
    rig: Rig, worker: RunningWorker, publish: Callable[[], None], count: int
) -> dict[str, float]:
    wanted = len(worker.handled) + count
    pid = worker.pid
    began = time.monotonic()
    before = processes.cpu_seconds(pid), processes.children_cpu_seconds(pid)
    servers = rig.server_cpu_seconds()
    publish()
    worker.wait_until_handled(wanted)
    seconds = time.monotonic() - began
    parent = processes.cpu_seconds(pid) - before[0]
    below = processes.children_cpu_seconds(pid) - before[1]
    of_servers = rig.server_cpu_seconds() - servers
    each = 1000 / count
    return {
        "cpu_ms": round((parent + below) * each, 2),
        "parent_cpu_ms": round(parent * each, 2),
        "children_cpu_ms": round(below * each, 2),
        "servers_cpu_ms": round(of_servers * each, 2),
        "wall_ms": round(seconds * each, 2),
    }


def first_rung(
    rig: Rig, worker: RunningWorker, original: Uploaded, photo_id: str, prefix: str
) -> tuple[float, str]:
    """Seconds from the publish until a rendition exists in the bucket, and its rung.

    Raises:
        Fatal: none came to exist within a minute.
    """
    wanted = len(worker.handled) + 1
    folder, _, _ = Layout(prefix).own_range(photo_id)
    began = time.monotonic()
    worker.events.publish(original.event(photo_id, now_version()))
    while not (found := _renditions(rig, folder)):
        if time.monotonic() - began > _FIRST_SECONDS:
            raise Fatal(f"{photo_id}: no rendition after a minute:\n{worker.child.last_lines()}")
        time.sleep(_LOOK_SECONDS)
    seconds = time.monotonic() - began
    worker.wait_until_handled(wanted)
    return seconds, found[0].rpartition("/")[2].removesuffix(".webp")


def first_rungs(
    rig: Rig,
    worker: RunningWorker,
    wanted: tuple[Uploaded, str],
    numbers: Iterator[int],
    rounds: int,
) -> dict[str, Any]:
    """The median of some rounds, after one that warms the worker up.

    `wanted` is the original, and the prefix that output lies under.
    """
    original, prefix = wanted
    found = [
        first_rung(rig, worker, original, f"first/{next(numbers)}", prefix)
        for _ in range(rounds + 1)
    ][1:]
    return {
        "photo": original.name,
        "seconds": median((seconds for seconds, _ in found), 3),
        "rung": found[0][1],
    }


def drain(worker: RunningWorker, originals: Sequence[Uploaded], numbers: Iterator[int]) -> float:
    """Seconds from SIGTERM in mid-render to the worker's exit.

    Raises:
        Fatal: it ended with another exit code than 0.
    """
    before = processes.children_cpu_seconds(worker.pid)
    wanted = len(worker.handled) + len(originals)
    for original in originals:
        worker.events.publish(original.event(f"{original.name}/{next(numbers)}", now_version()))

    def rendering() -> bool:
        # Photos may be so small that they are done before anybody looks.
        spent = processes.children_cpu_seconds(worker.pid) - before
        return spent >= _BEGUN_CPU_SECONDS or len(worker.handled) >= wanted

    worker.wait(rendering)
    began = time.monotonic()
    if code := worker.child.stop():
        raise Fatal(f"the drain ended with exit code {code}:\n{worker.child.last_lines()}")
    return round(time.monotonic() - began, 3)


def _renditions(rig: Rig, folder: str) -> list[str]:
    found = rig.store.objects(RENDITIONS_BUCKET, folder)
    return [stored.name for stored in found if stored.name.endswith(".webp")]
