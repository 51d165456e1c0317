"""`bench render`: what one render costs by stage and by rung, and how much of it is not encoding.

The limit ratio is the whole renderer over pure encoding: encoding the same, already resized
pictures again with the same settings. 1.0 would be a renderer that only encodes.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from worker.console.progress import progress
from worker.errors import ExitCode
from worker.lab.bench.chart import bars
from worker.lab.bench.facts import facts, request_of
from worker.lab.bench.figures import in_order, median, medians, ratio, sums
from worker.lab.bench.photos import Photo, open_photos
from worker.lab.bench.report import ReportOutput, mib, table
from worker.settings.settings import Settings
from worker.system import interpreter
from worker.system.processes import run
from worker.telemetry.logs import Log

_CPU = {
    "whole": "cpu_seconds",
    "pure": "pure_encoding_cpu_seconds",
    "libvips": "encoding_by_libvips_cpu_seconds",
}
"""A round's figures, and their names in the report."""

_OF_RUNGS = ("ready", "encoding")


def bench_render(
    settings: Settings, photos: Sequence[str], rounds: int, output: ReportOutput, log: Log
) -> ExitCode:
    """Measure files and folders, and report.

    Raises:
        UsageFault: a file or folder is missing, or none holds a picture.
        Fatal: an original cannot be rendered.
    """
    head = facts("bench render")
    measured = []
    with open_photos(photos, log) as found, progress("bench render", log) as show:
        for number, photo in enumerate(found):
            show({"photos": number, "of": len(found), "now": photo.name})
            measured.append(_measure(photo, settings, rounds))
    recipe = settings.recipe(measured[0]["codec"]).fingerprint
    report = {**head, "recipe": recipe, "rounds": rounds, **_over_all(measured)}
    output.write(report, _tables(report), _charts(report))
    return ExitCode.OK


def _measure(photo: Photo, settings: Settings, rounds: int) -> dict[str, Any]:
    """Run all rounds of one photo in a fresh child process."""
    request = {"photo": str(photo.file), "rounds": rounds, **request_of(settings)}
    command = interpreter.command("worker.lab.bench.render_rounds", json.dumps(request))
    ended = run(command, os.environ | {"VIPS_CONCURRENCY": "1"}, str(photo.file))
    return {**_of_photo(json.loads(ended.output.splitlines()[-1])), "name": photo.name}


def _of_photo(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return one photo's rounds as medians; the ratios are ratios of the medians."""
    rounds = found["rounds"]
    rungs = []
    for turns in zip(*(each["rungs"] for each in rounds), strict=True):
        seconds = medians([{name: turn[name] for name in _OF_RUNGS} for turn in turns])
        rungs.append({**turns[0], **seconds})
    rungs.sort(key=lambda rung: int(rung["width"] * rung["height"]))
    cpu = {shown: median(each[name] for each in rounds) for name, shown in _CPU.items()}
    return {
        **{name: value for name, value in found.items() if name != "rounds"},
        "megapixels": round(found["width"] * found["height"] / 1e6, 2),
        **cpu,
        **_ratios(cpu),
        "stages": medians([each["stages"] for each in rounds]),
        "bytes_out": sum(rung["bytes"] for rung in rungs),
        "rungs": rungs,
    }


def _ratios(cpu: Mapping[str, float]) -> dict[str, float | None]:
    whole, pure, libvips = (cpu[shown] for shown in _CPU.values())
    return {"limit_ratio": ratio(whole, pure), "ratio_to_libvips": ratio(whole, libvips)}


def _over_all(photos: Sequence[dict[str, Any]]) -> dict[str, Any]:
    added = sums(photos, ("megapixels", *_CPU.values(), "bytes_in", "bytes_out"))
    of_rung = defaultdict(list)
    for photo in photos:
        for rung in photo["rungs"]:
            of_rung[rung["rung"]].append(rung)
    return {
        "total": {
            "photos": len(photos),
            **added,
            **_ratios(added),
            "megapixels_a_cpu_second": ratio(added["megapixels"], added["cpu_seconds"], 2),
            "peak_above_base_bytes": max(photo["peak_above_base_bytes"] for photo in photos),
        },
        "stages": sums((photo["stages"] for photo in photos), photos[0]["stages"]),
        "rungs": [
            {
                "rung": name,
                "photos": len(of_rung[name]),
                **sums(of_rung[name], ("bytes", *_OF_RUNGS)),
            }
            for name in in_order(of_rung)
        ],
        "photos": list(photos),
    }


def _tables(report: Mapping[str, Any]) -> list[Table]:
    total = report["total"]
    columns = {
        "MP": "megapixels",
        "whole": "cpu_seconds",
        "pure encoding": "pure_encoding_cpu_seconds",
        "ratio": "limit_ratio",
        "by libvips": "encoding_by_libvips_cpu_seconds",
        "ratio to it": "ratio_to_libvips",
    }
    photos = [
        [
            *(name, *(row[figure] for figure in columns.values())),
            *(row["bytes_out"] // 1000, mib(row["peak_above_base_bytes"])),
        ]
        for name, row in [*((each["name"], each) for each in report["photos"]), ("all", total)]
    ]
    rungs = [
        [*(row["rung"], row["photos"], row["ready"], row["encoding"]), row["bytes"] // 1000]
        for row in report["rungs"]
    ]
    return [
        table(
            f"CPU seconds, medians of {report['rounds']} rounds",
            ("photo", *columns, "KB", "MiB peak above base"),
            photos,
        ),
        table(
            "Stages, all photos",
            ("", *report["stages"]),
            [["CPU seconds", *report["stages"].values()]],
        ),
        table(
            f"Rungs of all photos; {total['megapixels_a_cpu_second']} megapixels a CPU second",
            ("rung", "photos", "ready after", "pure encoding", "KB"),
            rungs,
        ),
    ]


def _charts(report: Mapping[str, Any]) -> dict[str, str]:
    count = report["total"]["photos"]
    seconds = {rung["rung"]: rung["encoding"] for rung in report["rungs"]}
    megabytes = {rung["rung"]: rung["bytes"] / 1e6 for rung in report["rungs"]}
    return {
        "time-per-rung": bars(f"Encoding of each rung, {count} photos", "CPU s", seconds),
        "bytes-per-rung": bars(f"Bytes of each rung, {count} photos", "MB", megabytes),
    }
