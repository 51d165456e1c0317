"""`bench render`: what one render costs by stage and by rung, and how much of it is not encoding.

The limit ratio is the whole renderer over pure encoding: encoding the very same, already resized
pictures again with the same settings. 1.0 would be a renderer that does nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from worker.console.progress import progress
from worker.errors import ExitCode
from worker.lab.bench import chart
from worker.lab.bench.facts import facts, request_of
from worker.lab.bench.figures import median, medians, ratio
from worker.lab.bench.photos import Photo, open_photos
from worker.lab.bench.report import Output, mib, table
from worker.settings.settings import Settings
from worker.system import interpreter
from worker.system.processes import run
from worker.telemetry.logs import Log

_RUNG_FIGURES = ("ready", "encoding")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderOptions:
    """What the command line asks for."""

    photos: Sequence[str]
    rounds: int


def bench_render(settings: Settings, options: RenderOptions, output: Output, log: Log) -> ExitCode:
    """Measure, and tell.

    Raises:
        UsageFault: PHOTOS names something that is not there, or no picture at all.
        Fatal: an original cannot be rendered.
    """
    head = facts("bench render")
    measured = []
    with open_photos(options.photos, log) as photos, progress("bench render", log) as show:
        for number, photo in enumerate(photos):
            show({"photos": number, "of": len(photos), "now": photo.name})
            measured.append(_measure(photo, settings, options.rounds))
    report = {**head, **_summary(settings, options.rounds, measured)}
    output.tell(report, _tables(report), _charts(report))
    return ExitCode.OK


def _measure(photo: Photo, settings: Settings, rounds: int) -> dict[str, Any]:
    """All rounds of one photo, in a fresh child process."""
    request = {"photo": str(photo.file), "rounds": rounds, **request_of(settings)}
    command = interpreter.command("worker.lab.bench.render_rounds", json.dumps(request))
    ended = run(command, os.environ | {"VIPS_CONCURRENCY": "1"}, str(photo.file))
    found = json.loads(ended.output.splitlines()[-1])
    return {**summarise(found), "name": photo.name}


def summarise(found: Mapping[str, Any]) -> dict[str, Any]:
    """One photo's rounds as medians; the limit ratio is that of the medians."""
    rounds = found["rounds"]
    rungs = []
    for turn in zip(*(each["rungs"] for each in rounds), strict=True):
        sized = {name: turn[0][name] for name in ("rung", "width", "height", "bytes")}
        seconds = {name: median(each[name] for each in turn) for name in _RUNG_FIGURES}
        rungs.append({**sized, **seconds})
    rungs.sort(key=lambda rung: int(rung["width"] * rung["height"]))
    whole, pure, libvips = (
        median(each[name] for each in rounds) for name in ("whole", "pure", "libvips")
    )
    kept = ("codec", "width", "height", "bytes_in", "base_bytes", "peak_above_base_bytes")
    return {
        **{name: found[name] for name in kept},
        "megapixels": round(found["width"] * found["height"] / 1e6, 2),
        "cpu_seconds": whole,
        "pure_encoding_cpu_seconds": pure,
        "encoding_by_libvips_cpu_seconds": libvips,
        "limit_ratio": ratio(whole, pure),
        "ratio_to_libvips": ratio(whole, libvips),
        "stages": medians([each["stages"] for each in rounds]),
        "bytes_out": sum(rung["bytes"] for rung in rungs),
        "rungs": rungs,
    }


def _summary(settings: Settings, rounds: int, photos: Sequence[dict[str, Any]]) -> dict[str, Any]:
    whole = sum(photo["cpu_seconds"] for photo in photos)
    pure = sum(photo["pure_encoding_cpu_seconds"] for photo in photos)
    libvips = sum(photo["encoding_by_libvips_cpu_seconds"] for photo in photos)
    megapixels = sum(photo["megapixels"] for photo in photos)
    return {
        "recipe": settings.recipe(photos[0]["codec"]).fingerprint,
        "rounds": rounds,
        "total": {
            "photos": len(photos),
            "megapixels": round(megapixels, 2),
            "cpu_seconds": round(whole, 3),
            "pure_encoding_cpu_seconds": round(pure, 3),
            "encoding_by_libvips_cpu_seconds": round(libvips, 3),
            "limit_ratio": ratio(whole, pure),
            "ratio_to_libvips": ratio(whole, libvips),
            "megapixels_a_cpu_second": ratio(megapixels, whole, 2),
            "bytes_in": sum(photo["bytes_in"] for photo in photos),
            "bytes_out": sum(photo["bytes_out"] for photo in photos),
            "peak_above_base_bytes": max(photo["peak_above_base_bytes"] for photo in photos),
        },
        "stages": _added([photo["stages"] for photo in photos]),
        "rungs": _by_rung(photos),
        "photos": list(photos),
    }


def _added(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: round(sum(part.get(name, 0.0) for part in parts), 4) for name in names}


def _by_rung(photos: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each rung of all photos together, smallest first; not every photo has every rung."""
    edges = {rung["rung"]: max(rung["width"], rung["height"]) for rung in photos[0]["rungs"]}
    for photo in photos:
        for rung in photo["rungs"]:
            edge = max(rung["width"], rung["height"])
            edges[rung["rung"]] = max(edge, edges.get(rung["rung"], 0))
    found = []
    for name in sorted(edges, key=lambda name: edges[name]):
        of_all = [rung for photo in photos for rung in photo["rungs"] if rung["rung"] == name]
        figures = _added([{key: rung[key] for key in _RUNG_FIGURES} for rung in of_all])
        size = sum(rung["bytes"] for rung in of_all)
        found.append({"rung": name, "photos": len(of_all), "bytes": size, **figures})
    return found


def _tables(report: Mapping[str, Any]) -> list[Table]:
    total, stages = report["total"], report["stages"]

    def row(name: str, figures: Mapping[str, Any]) -> list[object]:
        return [
            *(name, figures["megapixels"], figures["cpu_seconds"]),
            *(figures["pure_encoding_cpu_seconds"], figures["limit_ratio"]),
            *(figures["encoding_by_libvips_cpu_seconds"], figures["ratio_to_libvips"]),
            *(figures["bytes_out"] // 1000, mib(figures["peak_above_base_bytes"])),
        ]

    return [
        table(
            f"CPU seconds, medians of {report['rounds']} rounds",
            (
                *("photo", "MP", "whole", "pure encoding", "ratio", "by libvips", "ratio"),
                *("KB", "MiB peak above base"),
            ),
            [*(row(photo["name"], photo) for photo in report["photos"]), row("all", total)],
        ),
        table("Stages, all photos", ("", *stages), [["CPU seconds", *stages.values()]]),
        table(
            f"Rungs of all photos; {total['megapixels_a_cpu_second']} megapixels a CPU second",
            ("rung", "photos", "ready after", "pure encoding", "KB"),
            [
                [
                    *(rung["rung"], rung["photos"]),
                    *(rung[figure] for figure in _RUNG_FIGURES),
                    rung["bytes"] // 1000,
                ]
                for rung in report["rungs"]
            ],
        ),
    ]


def _charts(report: Mapping[str, Any]) -> dict[str, str]:
    rungs, count = report["rungs"], report["total"]["photos"]
    names = [rung["rung"] for rung in rungs]
    time = chart.Series(name="time", values=tuple(rung["encoding"] for rung in rungs))
    size = chart.Series(name="size", values=tuple(rung["bytes"] / 1e6 for rung in rungs))
    label = "rung (longest edge in pixels)"
    return {
        "time-per-rung": chart.bars(
            f"Encoding of each rung, {count} photos", "CPU s", names, [time], x_label=label
        ),
        "bytes-per-rung": chart.bars(
            f"Bytes of each rung, {count} photos", "MB", names, [size], x_label=label
        ),
    }
