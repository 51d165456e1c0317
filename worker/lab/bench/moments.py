"""This module measures single events in an idle worker: cost, and the time to the first rung."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from worker.errors import Fatal
from worker.lab.bench.figures import median
from worker.lab.bench.pace import spent
from worker.lab.bench.rig import MeasuredWorker, Rig
from worker.lab.local.resources import RENDITIONS_BUCKET
from worker.photo.ladder import Ladder
from worker.photo.layout import Layout
from worker.photo.ports import StoredObject
from worker.system import processes

TINY_EDGE_PX = 64

_LOOK_SECONDS = 0.004
_FIRST_SECONDS = 60.0
_BEGUN_CPU_SECONDS = 0.1


def tiny_ladder(ladder: Ladder) -> str:
    """Return a ladder of as many rungs for a picture of 64 pixels: all uploads, hardly a pixel."""
    count = len(ladder.rungs)
    edges = {TINY_EDGE_PX * step // count for step in range(1, count)} - {0}
    return ",".join([*map(str, sorted(edges)), "full"])


def single_events(
    rig: Rig, worker: MeasuredWorker, tiny: StoredObject, count: int
) -> dict[str, dict[str, float]]:
    """Return milliseconds an event: CPU time by who spent it, and wall time.

    It runs `count` events of each kind. `register` is a tiny photo with all its uploads, `skip` is
    the same event again, and `deregister` removes that photo.
    """
    events = [worker.new_photo(tiny) for _ in range(count)]
    return {
        "register": _cost(rig, worker, lambda: worker.publish(events), count),
        "skip": _cost(rig, worker, lambda: worker.publish(events), count),
        "deregister": _cost(rig, worker, lambda: worker.deregister(events), count),
    }


def _cost(
    rig: Rig, worker: MeasuredWorker, publish: Callable[[], None], count: int
) -> dict[str, float]:
    wanted = len(worker.handled) + count
    before = spent(rig, worker)
    publish()
    worker.wait_until_handled(wanted)
    after = spent(rig, worker)
    each = {name: (after[name] - before[name]) * 1000 / count for name in after}
    return {
        "cpu_ms": round(each["parent"] + each["children"], 2),
        "parent_cpu_ms": round(each["parent"], 2),
        "children_cpu_ms": round(each["children"], 2),
        "servers_cpu_ms": round(each["servers"], 2),
        "wall_ms": round(each["at"], 2),
    }


def first_rung(
    rig: Rig, worker: MeasuredWorker, original: StoredObject, prefix: str, rounds: int
) -> dict[str, Any]:
    """Return the seconds from the publish until a rendition exists in the bucket, and its rung.

    It is the median of some rounds, after one that warms the worker up. Output is under `prefix`.

    Raises:
        Fatal: a round took more than a minute.
    """
    seconds = []
    for _ in range(rounds + 1):
        event = worker.new_photo(original)
        folder, _, _ = Layout(prefix).own_range(event.photo_id)
        wanted = len(worker.handled) + 1
        began = time.monotonic()
        worker.publish([event])
        while not (found := _renditions(rig, folder)):
            if time.monotonic() - began > _FIRST_SECONDS:
                end = worker.process.log.last_lines()
                raise Fatal(f"{event.photo_id}: no rendition after a minute:\n{end}")
            time.sleep(_LOOK_SECONDS)
        seconds.append(time.monotonic() - began)
        worker.wait_until_handled(wanted)
    return {
        "photo": original.name,
        "seconds": median(seconds[1:], 3),
        "rung": found[0].rpartition("/")[2].removesuffix(".webp"),
    }


def drain(worker: MeasuredWorker, originals: Sequence[StoredObject]) -> float:
    """Return the seconds from a SIGTERM during a render to the worker's exit.

    Raises:
        Fatal: the worker's exit code was not 0.
    """
    before = processes.children_cpu_seconds(worker.pid)
    wanted = len(worker.handled) + len(originals)
    worker.publish(worker.new_photo(original) for original in originals)

    def rendering() -> bool:
        # Small photos may be done before the first look.
        rendered = processes.children_cpu_seconds(worker.pid) - before
        return rendered >= _BEGUN_CPU_SECONDS or len(worker.handled) >= wanted

    worker.wait(rendering)
    began = time.monotonic()
    if code := worker.process.stop():
        end = worker.process.log.last_lines()
        raise Fatal(f"the drain ended with exit code {code}:\n{end}")
    return round(time.monotonic() - began, 3)


def _renditions(rig: Rig, folder: str) -> list[str]:
    found = rig.store.objects(RENDITIONS_BUCKET, folder)
    return [stored.name for stored in found if stored.name.endswith(".webp")]
