"""`bench worker`: real photos through real workers on this machine, beside broker and GCS server.

The servers share the cores with the worker, and so does the bench itself: their CPU seconds are in
the report, and where they are what limits, it says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count, product
from pathlib import Path
from typing import Any

from worker.console.progress import Show, progress
from worker.errors import ExitCode
from worker.lab.bench.facts import facts
from worker.lab.bench.figures import in_turns, medians, ratio
from worker.lab.bench.moments import drain, first_rungs, single_events, tiny_ladder
from worker.lab.bench.pace import Uploaded, one_round, upload, upload_bytes, what_limits
from worker.lab.bench.photos import FOLDER, Photo, open_photos, tiny_jpeg
from worker.lab.bench.report import Output
from worker.lab.bench.rig import Rig, RunningWorker
from worker.lab.bench.worker_shown import charts, tables, way_name
from worker.settings.settings import Settings
from worker.system.processes import memory_bytes
from worker.system.scratch import Scratch
from worker.telemetry.logs import Log

_MIDDLE_PIXELS = 12_000_000
"""What the time to the first rung is told for: the photo nearest to 12 megapixels."""


Way = tuple[int, int]
"""How a worker runs: with so many vCPUs, and so many milliseconds away from the storage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """What the command line asks for; `settings` are the flags, by environment variable."""

    photos: Sequence[str]
    rounds: int
    vcpus: Sequence[int]
    latencies_ms: Sequence[int]
    events: int
    broker: str
    environment: Mapping[str, str]
    settings: Mapping[str, str]


def bench_worker(settings: Settings, options: WorkerOptions, output: Output, log: Log) -> ExitCode:
    """Measure, and tell.

    Raises:
        UsageFault: PHOTOS names something that is not there, or no picture at all.
        Fatal: a server or a worker did not come up, or an event failed.
    """
    head = facts("bench worker")
    with (
        ExitStack() as stack,
        open_photos(options.photos, log) as photos,
        progress("bench worker", log) as show,
    ):
        folder = stack.enter_context(Scratch(FOLDER))
        show({"now": "starting a broker and a GCS server"})
        rig = Rig(stack, options.broker, options.environment)
        measured = _Run(rig, stack, folder, settings, options).measure(photos, show)
        shown = [{"name": photo.name, "bytes": photo.size_bytes} for photo in photos]
    servers = {"broker": rig.broker.name, "storage": rig.storage.name}
    report = {**head, "recipe": measured.pop("recipe"), **servers, **measured, "photos": shown}
    output.tell(report, tables(report), charts(report))
    return ExitCode.OK


class _Run:
    """One run: its workers, what they are given, and what is found out."""

    def __init__(
        self, rig: Rig, stack: ExitStack, folder: Path, settings: Settings, options: WorkerOptions
    ) -> None:
        self._rig = rig
        self._stack = stack
        self._folder = folder
        self._settings = settings
        self._options = options
        self._numbers = count(1)
        self._workers: dict[Way, RunningWorker] = {}

    def measure(self, photos: Sequence[Photo], show: Show) -> dict[str, Any]:
        """Everything, in this order: rounds, first rung, single events, drains."""
        originals = [upload(self._rig, photo) for photo in photos]
        for way in product(self._options.vcpus, self._options.latencies_ms):
            show({"now": f"starting a worker: {way_name(*way)}"})
            self._workers[way] = self._start(way)
        rounds = self._rounds(originals, show)
        show({"now": "the first rung"})
        first = self._first_rung(photos, originals)
        show({"now": "single events"})
        events = self._events()
        recipe = self._nearest.recipe
        workers = []
        for way, worker in self._workers.items():
            show({"now": f"a drain: {way_name(*way)}"})
            figures = medians(rounds[way])
            workers.append(
                {
                    "vcpus": way[0],
                    "latency_ms": way[1],
                    "slots": worker.slots,
                    **figures,
                    "seconds_to_ready": worker.ready_seconds,
                    **_peak(worker),
                    "seconds_from_sigterm_to_exit": drain(worker, originals, self._numbers),
                    "nacked": worker.nacked,
                    "limited_by": what_limits(figures),
                    "rounds": rounds[way],
                }
            )
        return {
            "recipe": recipe,
            "workers": _compared(workers),
            "first_rung": first,
            "events": events,
        }

    def _start(self, way: Way, **more: str) -> RunningWorker:
        vcpus, latency_ms = way
        settings = {**self._options.settings, **more}
        return self._stack.enter_context(
            self._rig.worker(self._folder, vcpus=vcpus, latency_ms=latency_ms, settings=settings)
        )

    @property
    def _nearest_way(self) -> Way:
        return max(self._options.vcpus), min(self._options.latencies_ms)

    @property
    def _nearest(self) -> RunningWorker:
        return self._workers[self._nearest_way]

    def _rounds(
        self, originals: Sequence[Uploaded], show: Show
    ) -> dict[Way, list[dict[str, float]]]:
        by_name = {way_name(*way): way for way in self._workers}
        found: dict[Way, list[dict[str, float]]] = {way: [] for way in self._workers}

        def turn(name: str, number: int) -> None:
            show({"round": number + 1, "of": self._options.rounds, "now": name})
            way = by_name[name]
            found[way].append(one_round(self._rig, self._workers[way], originals, self._numbers))

        in_turns(self._options.rounds, list(by_name), turn)
        return found

    def _first_rung(self, photos: Sequence[Photo], originals: Sequence[Uploaded]) -> dict[str, Any]:
        middle = min(range(len(photos)), key=lambda i: abs(photos[i].pixels - _MIDDLE_PIXELS))
        found = first_rungs(
            self._rig,
            self._nearest,
            (originals[middle], self._settings.output_prefix),
            self._numbers,
            self._options.rounds,
        )
        return {**found, "megapixels": round(photos[middle].pixels / 1e6, 2)}

    def _events(self) -> dict[str, Any]:
        """By a worker of its own, with a ladder for tiny photos."""
        ladder = tiny_ladder(self._settings.ladder)
        worker = self._start(self._nearest_way, WORKER_LADDER=ladder)
        tiny = upload_bytes(self._rig, "tiny.jpg", tiny_jpeg())
        each = self._options.events
        rounds = [
            single_events(self._rig, worker, tiny, self._numbers, each)
            for _ in range(self._options.rounds)
        ]
        kinds = {kind: medians([one[kind] for one in rounds], 2) for kind in rounds[0]}
        return {"uploads": len(ladder.split(",")), "of_each": each, **kinds}


def _peak(worker: RunningWorker) -> dict[str, int]:
    child = max((int(each.get("child_peak_bytes", 0)) for each in worker.handled), default=0)
    return {
        "peak_parent_bytes": memory_bytes(worker.pid, "VmHWM"),
        "base_child_bytes": worker.base_bytes,
        "peak_child_above_base_bytes": max(0, child - worker.base_bytes),
    }


def _compared(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each with its throughput over those of the fewest vCPUs and of the least latency."""

    def pace(vcpus: int, latency_ms: int) -> float:
        return next(
            float(each["photos_a_minute"])
            for each in found
            if (each["vcpus"], each["latency_ms"]) == (vcpus, latency_ms)
        )

    fewest = min(each["vcpus"] for each in found)
    least = min(each["latency_ms"] for each in found)
    return [
        {
            **each,
            "times_fewest_vcpus": ratio(each["photos_a_minute"], pace(fewest, each["latency_ms"])),
            "times_least_latency": ratio(each["photos_a_minute"], pace(each["vcpus"], least)),
        }
        for each in found
    ]
