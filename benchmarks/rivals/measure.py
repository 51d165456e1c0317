"""The same photos and rungs by others, in one run: CPU seconds, bytes, quality.

Each contender is a process of its own for each photo, measured whole by what the kernel counts
(`wait4`), in turns. What an empty run of it takes is told apart and taken off.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.pictures import PACKAGE, can_score
from benchmarks.rivals.contenders import EQUAL_EFFORT, OURS, OURS_EQUAL, Contender, find_contenders
from benchmarks.rivals.ladders import Ladders
from benchmarks.rivals.quality import measure_quality
from benchmarks.rivals.shown import charts, tables
from worker.console.progress import Show, progress
from worker.errors import ExitCode, UsageFault
from worker.lab.bench.facts import facts
from worker.lab.bench.figures import in_order, in_turns, median, ratio
from worker.lab.bench.photos import FOLDER, Photo, open_photos
from worker.lab.bench.report import ReportOutput
from worker.settings.settings import Settings
from worker.system import processes
from worker.system.scratch import Scratch
from worker.telemetry.logs import Log


@dataclass(frozen=True, slots=True, kw_only=True)
class RivalsOptions:
    """What the command line asks for; scores are of rungs up to `score_up_to_px`."""

    photos: Sequence[str]
    rounds: int
    sharp: Path | None
    quality_score: bool
    score_up_to_px: int
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one contender took for one photo in one round."""

    cpu_seconds: float
    peak_bytes: int
    processes: int


def bench_rivals(
    settings: Settings, options: RivalsOptions, output: ReportOutput, log: Log
) -> ExitCode:
    """Measure, and tell.

    Raises:
        UsageFault: a file or folder is missing, or none holds a picture; `sharp` is something else;
            scores are asked for without their package.
        Fatal: a contender failed.
    """
    head = facts("bench rivals")
    if options.quality_score and not can_score():
        raise UsageFault(
            f"--quality-score needs the Python package {PACKAGE}: pip install {PACKAGE}, "
            "or put it on PYTHONPATH"
        )
    found, absent = find_contenders(settings, options.environment, options.sharp)
    with (
        Scratch(FOLDER) as folder,
        open_photos(options.photos, log) as photos,
        progress("benchmarks.rivals", log) as show,
    ):
        ladders = Ladders(folder)
        start_up = _start_up(found, options, folder, show)
        turns = _turns(found, photos, options, ladders, show)
        rows = [_row(each, photos, turns, start_up, ladders) for each in found]
        report = {
            **head,
            "recipe": settings.recipe(start_up[OURS]["versions"]["codec"]).fingerprint,
            "equal_effort": EQUAL_EFFORT,
            "rounds": options.rounds,
            "photos": [{"name": photo.name, "bytes": photo.size_bytes} for photo in photos],
            "contenders": _compared(rows),
            "absent": absent,
        }
        if options.quality_score:
            report["quality"] = measure_quality(
                settings, found, photos, ladders, options.score_up_to_px, show
            )
    output.write(report, tables(report), charts(report))
    return ExitCode.OK


def _start_up(
    found: Sequence[Contender], options: RivalsOptions, folder: Path, show: Show
) -> dict[str, dict[str, Any]]:
    """What empty runs take by the median of the rounds, and with what each works."""
    costs: dict[str, list[processes.Cost]] = {each.name: [] for each in found}
    by_name = {each.name: each for each in found}

    def turn(name: str, number: int) -> None:
        show({"now": f"empty run {number + 1}: {name}"})
        [command] = by_name[name].commands(None, folder, ())
        what = f"{name}, an empty run"
        costs[name].append(processes.run(command, _quiet(options.environment), what))

    in_turns(options.rounds, list(costs), turn)
    return {
        name: {
            "cpu_seconds": median(cost.cpu_seconds for cost in of_one),
            "versions": _versions(of_one[0].output),
        }
        for name, of_one in costs.items()
    }


Turns = dict[tuple[str, str], list[Turn]]
"""By contender and photo."""


def _turns(
    found: Sequence[Contender],
    photos: Sequence[Photo],
    options: RivalsOptions,
    ladders: Ladders,
    show: Show,
) -> Turns:
    turns: Turns = {(each.name, photo.name): [] for each in found for photo in photos}
    by_name = {each.name: each for each in found}
    for number, photo in enumerate(photos):

        def turn(name: str, round_: int, photo: Photo = photo, number: int = number) -> None:
            show({"photo": number + 1, "of": len(photos), "round": round_ + 1, "now": name})
            taken = render(by_name[name], photo, ladders, _quiet(options.environment))
            turns[name, photo.name].append(taken)

        in_turns(options.rounds, list(by_name), turn)
    return turns


def render(
    contender: Contender, photo: Photo, ladders: Ladders, environment: Mapping[str, str]
) -> Turn:
    """Have one photo rendered once, into the contender's folder for it."""
    folder = ladders.folder(contender.name, photo)
    # In the first round ours is first, so the rungs of this photo are known.
    rungs = list(ladders.files(OURS, photo))
    costs = [
        processes.run(command, environment, f"{contender.name}, {photo.file}")
        for command in contender.commands(photo, folder, rungs)
    ]
    return Turn(
        cpu_seconds=sum(cost.cpu_seconds for cost in costs),
        peak_bytes=max(cost.peak_bytes for cost in costs),
        processes=len(costs),
    )


def _row(
    contender: Contender,
    photos: Sequence[Photo],
    turns: Turns,
    start_up: Mapping[str, Mapping[str, Any]],
    ladders: Ladders,
) -> dict[str, Any]:
    """One contender over all photos: sums of each photo's medians."""
    empty = start_up[contender.name]["cpu_seconds"]
    of_photos = []
    for photo in photos:
        taken = turns[contender.name, photo.name]
        whole = median(each.cpu_seconds for each in taken)
        sizes = ladders.sizes(contender.name, photo)
        of_photos.append(
            {
                "name": photo.name,
                "cpu_seconds": round(max(0.0, whole - empty * taken[0].processes), 4),
                "with_start_up_cpu_seconds": whole,
                "processes": taken[0].processes,
                "peak_bytes": max(each.peak_bytes for each in taken),
                "bytes_out": sum(sizes.values()),
                "rungs": sizes,
            }
        )
    rungs: dict[str, int] = {}
    for photo_row in of_photos:
        for rung, size in photo_row["rungs"].items():
            rungs[rung] = rungs.get(rung, 0) + size
    return {
        "name": contender.name,
        "versions": start_up[contender.name]["versions"],
        "cpu_seconds": round(sum(each["cpu_seconds"] for each in of_photos), 3),
        "start_up_cpu_seconds_a_process": empty,
        "with_start_up_cpu_seconds": round(
            sum(each["with_start_up_cpu_seconds"] for each in of_photos), 3
        ),
        "bytes_out": sum(each["bytes_out"] for each in of_photos),
        "peak_bytes": max(each["peak_bytes"] for each in of_photos),
        "rungs": {rung: rungs[rung] for rung in in_order(rungs)},
        "photos": of_photos,
    }


def _compared(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each with its CPU seconds and bytes over ours: with our settings, and at equal effort."""
    by_name = {row["name"]: row for row in rows}
    mine, equal = by_name[OURS], by_name[OURS_EQUAL]
    return [
        {
            **row,
            "times_ours": ratio(row["cpu_seconds"], mine["cpu_seconds"]),
            "times_ours_at_equal_effort": ratio(row["cpu_seconds"], equal["cpu_seconds"]),
            "bytes_over_ours": ratio(row["bytes_out"], mine["bytes_out"], 4),
            "bytes_over_ours_at_equal_effort": ratio(row["bytes_out"], equal["bytes_out"], 4),
        }
        for row in rows
    ]


def _versions(output: str) -> dict[str, str]:
    """What an empty run says of itself; `vipsthumbnail --version` is plain text."""
    last = output.strip().splitlines()[-1] if output.strip() else ""
    try:
        found: dict[str, str] = json.loads(last)["versions"]
    except (ValueError, TypeError, KeyError):
        return {"vipsthumbnail": last}
    return found


def _quiet(environment: Mapping[str, str]) -> dict[str, str]:
    """One thread, and for all the same allocator."""
    return {**environment, "VIPS_CONCURRENCY": "1", "OMP_NUM_THREADS": "1"}
