"""Rounds of photos through one worker: throughput, and who used the cores meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from worker.lab.bench.figures import ratio
from worker.lab.bench.photos import Photo
from worker.lab.bench.rig import Rig, RunningWorker
from worker.lab.local.resources import ORIGINALS_BUCKET
from worker.operate.publish import now_version
from worker.photo.endings import content_type
from worker.photo.events import Register
from worker.system import processes

_BUSY = 0.95
"""From here on something counts as used up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """An original that lies in the bucket, and for which events can be published at once."""

    name: str
    size_bytes: int
    generation: str

    def event(self, photo_id: str, version: int) -> Register:
        """Its registration as a photo."""
        return Register(
            photo_id=photo_id,
            version=version,
            original=f"gs://{ORIGINALS_BUCKET}/{self.name}",
            generation=self.generation,
        )


def upload(rig: Rig, photo: Photo) -> Uploaded:
    """Put an original into the bucket, before anything is measured."""
    kind = content_type(photo.file.name)
    return upload_bytes(rig, photo.name, photo.file.read_bytes(), kind)


def upload_bytes(rig: Rig, name: str, data: bytes, content_type: str = "image/jpeg") -> Uploaded:
    """The same for bytes; what lies there under that name gives way.

    Raises:
        StorageUnavailable: the GCS server does not answer.
    """
    there = rig.store.stat(ORIGINALS_BUCKET, name)
    stored = rig.store.write(
        ORIGINALS_BUCKET,
        name,
        data,
        content_type=content_type,
        cache_control="private",
        if_generation=there.generation if there else 0,
    )
    return Uploaded(name=name, size_bytes=len(data), generation=str(stored.generation))


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds so far, by who spent them, and the moment; `working` as `shares` has it."""

    at: float
    parent: float
    children: float
    servers: float
    bench: float
    machine: float
    stolen: float
    working: float

    @classmethod
    def now(cls, rig: Rig, worker: RunningWorker) -> Spent:
        """Ask the kernel."""
        machine, stolen = processes.machine_cpu_seconds()
        return cls(
            at=time.monotonic(),
            parent=processes.cpu_seconds(worker.pid),
            children=processes.children_cpu_seconds(worker.pid),
            servers=rig.server_cpu_seconds(),
            bench=processes.cpu_seconds(os.getpid()),
            machine=machine,
            stolen=stolen,
            working=sum(map(processes.working_seconds, processes.children(worker.pid))),
        )


def one_round(
    rig: Rig, worker: RunningWorker, originals: Sequence[Uploaded], numbers: Iterator[int]
) -> dict[str, float]:
    """Register every original as a new photo, and follow them to their ends.

    `photos_a_minute` is of the whole round. The shares are of the time in which there was work for
    every slot: until as many photos are left as there are slots.
    """
    before = len(worker.handled)
    wanted = before + len(originals)
    photo_ids = [f"{original.name}/{next(numbers)}" for original in originals]
    begun = Spent.now(rig, worker)
    for original, photo_id in zip(originals, photo_ids, strict=True):
        worker.events.publish(original.event(photo_id, now_version()))
    worker.wait_until_handled(max(before + 1, wanted - worker.slots))
    full = Spent.now(rig, worker)
    worker.wait_until_handled(wanted)
    ended = Spent.now(rig, worker)
    handled = worker.handled[before:wanted]
    photos = len(originals)
    in_slots = sum(float(each["seconds"].get("render", 0.0)) for each in handled)
    whole = ended.at - begun.at
    # Not measured: it only keeps the GCS server's memory small.
    for _ in worker.events.deregister(photo_ids, None):
        pass
    worker.wait_until_handled(wanted + photos)

    def each(*names: str) -> float:
        spent: float = sum(getattr(ended, name) - getattr(begun, name) for name in names)
        return round(spent / photos, 4)

    return {
        "seconds": round(whole, 3),
        "photos_a_minute": round(photos / whole * 60, 2),
        "cpu_seconds_a_photo": each("parent", "children"),
        "parent_cpu_seconds_a_photo": each("parent"),
        "children_cpu_seconds_a_photo": each("children"),
        "parent_share": ratio(each("parent"), each("parent", "children"), 4) or 0.0,
        "servers_cpu_seconds_a_photo": each("servers"),
        "bench_cpu_seconds_a_photo": each("bench"),
        "render_share": round(in_slots / (whole * worker.slots), 4),
        **shares(begun, full, worker.slots),
    }


def shares(begun: Spent, ended: Spent, slots: int) -> dict[str, float]:
    """Who used the cores between two moments, as shares of the slots and of the machine's cores.

    `busy` is all that ran on the machine, `stolen` what its host gave to others. `working` is that
    of the slots' time in which a render ran or waited for a core: neighbours do not disturb it.
    """
    seconds = max(ended.at - begun.at, 1e-6)
    cores = os.cpu_count() or 1

    def share(name: str, of: int) -> float:
        spent: float = getattr(ended, name) - getattr(begun, name)
        return round(spent / (seconds * of), 4)

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
    """One sentence about what keeps the slots from being always busy."""
    ours = figures["children_of_slots"]
    if ours >= _BUSY:
        return f"the slots: rendering takes {ours:.0%} of their time"
    others = figures["servers_of_cores"] + figures["bench_of_cores"] + figures["parent_of_cores"]
    taken = figures["busy_of_cores"] + figures["stolen_of_cores"]
    if max(taken, figures["working_of_slots"]) >= _BUSY:
        foreign = taken - others - figures["children_of_cores"]
        return (
            f"the cores, of which the slots get {ours:.0%}: broker and GCS server take "
            f"{figures['servers_of_cores']:.0%}, the worker's parent "
            f"{figures['parent_of_cores']:.0%}, the bench {figures['bench_of_cores']:.0%}, "
            f"and other processes and the machine's host {max(0.0, foreign):.0%}"
        )
    idle = 1 - max(ours, figures["working_of_slots"])
    return f"waiting: the slots have nothing to do for {idle:.0%} of the time"
