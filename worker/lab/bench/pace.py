"""This module measures rounds of photos in one worker: throughput, and who used the cores."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from worker.lab.bench.figures import ratio
from worker.lab.bench.rig import MeasuredWorker, Rig
from worker.photo.ports import StoredObject
from worker.system import processes

_BUSY = 0.95
"""From this share on, a resource counts as used up."""

Spent = Mapping[str, float]
"""CPU seconds so far by who spent them, and the time, `at`."""


def spent(rig: Rig, worker: MeasuredWorker) -> Spent:
    """Read the CPU seconds so far. `shares` describes `machine`, `stolen` and `working`."""
    machine, stolen = processes.machine_cpu_seconds()
    return {
        "at": time.monotonic(),
        "parent": processes.cpu_seconds(worker.pid),
        "children": processes.children_cpu_seconds(worker.pid),
        "servers": rig.server_cpu_seconds(),
        "bench": processes.cpu_seconds(os.getpid()),
        "machine": machine,
        "stolen": stolen,
        "working": sum(map(processes.working_seconds, processes.children(worker.pid))),
    }


def one_round(
    rig: Rig, worker: MeasuredWorker, originals: Sequence[StoredObject]
) -> dict[str, float]:
    """Register every original as a new photo, and follow them to their ends.

    `photos_a_minute` is of the whole round. The shares are of the time in which there was work for
    every slot: until as many photos are left as there are slots.
    """
    before, photos = len(worker.handled), len(originals)
    begun = spent(rig, worker)
    events = [worker.new_photo(original) for original in originals]
    worker.publish(events)
    worker.wait_until_handled(before + max(1, photos - worker.slots))
    full = spent(rig, worker)
    worker.wait_until_handled(before + photos)
    ended = spent(rig, worker)
    handled = worker.handled[before : before + photos]
    # This is not measured; it keeps the GCS server's memory small.
    worker.deregister(events)
    worker.wait_until_handled(before + 2 * photos)

    seconds = ended["at"] - begun["at"]
    in_slots = sum(float(each["seconds"].get("render", 0.0)) for each in handled)
    a_photo = {name: round((ended[name] - begun[name]) / photos, 4) for name in ended}
    own = a_photo["parent"] + a_photo["children"]
    return {
        "seconds": round(seconds, 3),
        "photos_a_minute": round(photos / seconds * 60, 2),
        "cpu_seconds_a_photo": round(own, 4),
        "parent_cpu_seconds_a_photo": a_photo["parent"],
        "children_cpu_seconds_a_photo": a_photo["children"],
        "parent_share": ratio(a_photo["parent"], own, 4) or 0.0,
        "servers_cpu_seconds_a_photo": a_photo["servers"],
        "bench_cpu_seconds_a_photo": a_photo["bench"],
        "render_share": round(in_slots / (seconds * worker.slots), 4),
        **shares(begun, full, worker.slots),
    }


def shares(begun: Spent, ended: Spent, slots: int) -> dict[str, float]:
    """Return who used the cores between two times, as shares of the slots and of the cores.

    `busy` is all that ran on the machine, `stolen` what the host gave to others. `working` is the
    part of the slots' time in which a render ran or waited for a core, so neighbours leave it
    unchanged.
    """
    seconds = max(ended["at"] - begun["at"], 1e-6)
    cores = os.cpu_count() or 1

    def share(name: str, of: int) -> float:
        return round((ended[name] - begun[name]) / (seconds * of), 4)

    return {
        "children_of_slots": share("children", slots),
        "working_of_slots": share("working", slots),
        "children_of_cores": share("children", cores),
        "parent_of_cores": share("parent", cores),
        "servers_of_cores": share("servers", cores),
        "bench_of_cores": share("bench", cores),
        "busy_of_cores": share("machine", cores),
        "stolen_of_cores": share("stolen", cores),
    }


def what_limits(figures: Mapping[str, float]) -> str:
    """Return one sentence about what keeps the slots from being always busy."""
    slots = figures["children_of_slots"]
    if slots >= _BUSY:
        return f"the slots: rendering takes {slots:.0%} of their time"
    parent, servers, bench, children = (
        figures[f"{name}_of_cores"] for name in ("parent", "servers", "bench", "children")
    )
    taken = figures["busy_of_cores"] + figures["stolen_of_cores"]
    if max(taken, figures["working_of_slots"]) >= _BUSY:
        others = max(0.0, taken - parent - servers - bench - children)
        return (
            f"the cores, of which the slots get {slots:.0%}: broker and GCS server take "
            f"{servers:.0%}, the worker's parent {parent:.0%}, the bench {bench:.0%}, "
            f"and other processes and the machine's host {others:.0%}"
        )
    idle = 1 - max(slots, figures["working_of_slots"])
    return f"waiting: the slots have nothing to do for {idle:.0%} of the time"
