"""`bench worker`: real photos through real workers on this machine, beside broker and GCS server.

The servers and the bench itself share the cores with the worker. The report has their CPU seconds,
and says if they are the limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from worker.console.progress import Show, progress
from worker.errors import ExitCode
from worker.lab.bench.facts import facts
from worker.lab.bench.figures import in_turns, medians, ratio
from worker.lab.bench.moments import drain, first_rung, single_events, tiny_ladder
from worker.lab.bench.pace import one_round, what_limits
from worker.lab.bench.photos import FOLDER, Photo, open_photos, write_tiny_jpeg
from worker.lab.bench.report import ReportOutput
from worker.lab.bench.rig import MeasuredWorker, Rig
from worker.lab.bench.worker_shown import charts, tables, way_name
from worker.photo.ports import StoredObject
from worker.settings.settings import Settings
from worker.system.processes import memory_bytes
from worker.system.scratch import Scratch
from worker.telemetry.logs import Log

_MIDDLE_PIXELS = 12_000_000
"""The time to the first rung is measured with the photo nearest to this size."""


class Way(NamedTuple):
    """How a worker runs: its vCPUs, and the distance of the storage."""

    vcpus: int
    latency_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """The options of the command line; `settings` are the flags, by environment variable."""

    photos: Sequence[str]
    rounds: int
    vcpus: Sequence[int]
    latencies_ms: Sequence[int]
    events: int
    broker: str
    environment: Mapping[str, str]
    settings: Mapping[str, str]


def bench_worker(
    settings: Settings, options: WorkerOptions, output: ReportOutput, log: Log
) -> ExitCode:
    """Measure, and report.

    Raises:
        UsageFault: a file or folder is missing, or none holds a picture.
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
        measured = _measure(rig, folder, photos, settings, options, show)
        shown = [{"name": photo.name, "bytes": photo.size_bytes} for photo in photos]
    servers = {"broker": rig.broker.name, "storage": rig.storage.name}
    report = {**head, "recipe": measured.pop("recipe"), **servers, **measured, "photos": shown}
    output.write(report, tables(report), charts(report))
    return ExitCode.OK


def _measure(
    rig: Rig,
    folder: Path,
    photos: Sequence[Photo],
    settings: Settings,
    options: WorkerOptions,
    show: Show,
) -> dict[str, Any]:
    """Measure in this order: rounds, first rung, single events, drains."""

    def start(way: Way, **more: str) -> MeasuredWorker:
        show({"now": f"starting a worker: {way_name(*way)}"})
        given = {**options.settings, **more}
        return rig.start(folder, vcpus=way.vcpus, latency_ms=way.latency_ms, settings=given)

    originals = [rig.upload(photo.name, photo.file) for photo in photos]
    ways = [Way(*way) for way in product(options.vcpus, options.latencies_ms)]
    nearest = Way(max(options.vcpus), min(options.latencies_ms))
    workers = {way: start(way) for way in ways}
    rounds = _rounds(rig, workers, originals, options.rounds, show)

    show({"now": "the first rung"})
    middle = min(photos, key=lambda photo: abs(photo.width * photo.height - _MIDDLE_PIXELS))
    first = first_rung(
        rig,
        workers[nearest],
        originals[photos.index(middle)],
        settings.output_prefix,
        options.rounds,
    )
    first["megapixels"] = round(middle.width * middle.height / 1e6, 2)

    show({"now": "single events"})
    ladder = tiny_ladder(settings.ladder)
    write_tiny_jpeg(folder / "tiny.jpg")
    tiny = rig.upload("tiny.jpg", folder / "tiny.jpg")
    for_events = start(nearest, WORKER_LADDER=ladder)
    costs = [single_events(rig, for_events, tiny, options.events) for _ in range(options.rounds)]

    show({"now": "drains"})
    return {
        "recipe": workers[nearest].recipe,
        "workers": _compared([_figures(way, workers[way], rounds[way], originals) for way in ways]),
        "first_rung": first,
        "events": {
            "uploads": len(ladder.split(",")),
            "of_each": options.events,
            **{kind: medians([each[kind] for each in costs], 2) for kind in costs[0]},
        },
    }


def _rounds(
    rig: Rig,
    workers: Mapping[Way, MeasuredWorker],
    originals: Sequence[StoredObject],
    count: int,
    show: Show,
) -> dict[Way, list[dict[str, float]]]:
    by_name = {way_name(*way): way for way in workers}
    found: dict[Way, list[dict[str, float]]] = {way: [] for way in workers}

    def turn(name: str, number: int) -> None:
        show({"round": number + 1, "of": count, "now": name})
        way = by_name[name]
        found[way].append(one_round(rig, workers[way], originals))

    in_turns(count, list(by_name), turn)
    return found


def _figures(
    way: Way,
    worker: MeasuredWorker,
    rounds: Sequence[dict[str, float]],
    originals: Sequence[StoredObject],
) -> dict[str, Any]:
    """Return all figures of one worker; drain it."""
    figures = medians(rounds)
    peak = max((int(each.get("child_peak_bytes", 0)) for each in worker.handled), default=0)
    return {
        **way._asdict(),
        "slots": worker.slots,
        **figures,
        "seconds_to_ready": worker.ready_seconds,
        "peak_parent_bytes": memory_bytes(worker.pid, "VmHWM"),
        "base_child_bytes": worker.base_child_bytes,
        "peak_child_above_base_bytes": max(0, peak - worker.base_child_bytes),
        "seconds_from_sigterm_to_exit": drain(worker, originals),
        "nacked": worker.nacked,
        "limited_by": what_limits(figures),
        "rounds": rounds,
    }


def _compared(workers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each worker with its throughput relative to the fewest vCPUs and the least latency."""
    pace = {(each["vcpus"], each["latency_ms"]): each["photos_a_minute"] for each in workers}
    fewest, least = min(vcpus for vcpus, _ in pace), min(latency for _, latency in pace)
    return [
        {
            **each,
            "times_fewest_vcpus": ratio(each["photos_a_minute"], pace[fewest, each["latency_ms"]]),
            "times_least_latency": ratio(each["photos_a_minute"], pace[each["vcpus"], least]),
        }
        for each in workers
    ]
