"""The tables of `bench worker`, and its chart of throughput."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from worker.lab.bench.chart import bars
from worker.lab.bench.report import mib, table, words

_LABELS = {
    "photos_a_minute": "photos a minute",
    "times_fewest_vcpus": "times that of the fewest vCPUs",
    "times_least_latency": "times that of the least latency",
    "children_of_slots": "slots busy (CPU of children)",
    "working_of_slots": "slots working or waiting for a core",
    "render_share": "slots held (whole round)",
    "busy_of_cores": "cores busy",
    "servers_of_cores": "cores taken by broker and GCS server",
    "bench_of_cores": "cores taken by the bench",
    "cpu_seconds_a_photo": "CPU seconds a photo",
    "parent_cpu_seconds_a_photo": "of these in the parent",
    "parent_share": "share of the parent",
    "servers_cpu_seconds_a_photo": "CPU seconds a photo of the servers",
    "nacked": "events nacked and tried again",
    "seconds_to_ready": "seconds to ready",
    "seconds_from_sigterm_to_exit": "seconds from SIGTERM to exit",
}


def way_name(vcpus: int, latency_ms: int) -> str:
    """Return the name of a worker."""
    return f"{vcpus} vCPU, {latency_ms} ms"


def tables(report: Mapping[str, Any]) -> list[Table]:
    """Return tables: a column for each worker, then the limits, single events, the first rung."""
    workers, first, events = report["workers"], report["first_rung"], report["events"]

    def rows(names: Mapping[str, str]) -> list[list[object]]:
        return [[label, *(each[name] for each in workers)] for name, label in names.items()]

    headings = ("", *(way_name(each["vcpus"], each["latency_ms"]) for each in workers))
    memory: list[list[object]] = [
        ["peak of the parent, MiB", *(mib(each["peak_parent_bytes"]) for each in workers)],
        [
            "peak of a child above its base, MiB",
            *(mib(each["peak_child_above_base_bytes"]) for each in workers),
        ],
    ]
    kinds = [(kind, events[kind]) for kind in ("register", "skip", "deregister")]
    figures = ("cpu_ms", "parent_cpu_ms", "children_cpu_ms", "servers_cpu_ms", "wall_ms")
    return [
        table(f"{len(report['photos'])} photos a round", headings, rows(_LABELS) + memory),
        words(
            "What limits",
            {name: each["limited_by"] for name, each in zip(headings[1:], workers, strict=True)},
        ),
        table(
            f"Events of a tiny photo with {events['uploads']} uploads, milliseconds each",
            ("event", "CPU", "of the parent", "of children", "of servers", "wall"),
            [[kind, *(cost[figure] for figure in figures)] for kind, cost in kinds],
        ),
        table(
            "First rung readable, from the publish, idle worker",
            ("photo", "MP", "rung", "seconds"),
            [[first["photo"], first["megapixels"], first["rung"], first["seconds"]]],
        ),
    ]


def charts(report: Mapping[str, Any]) -> dict[str, str]:
    """Return the chart of each worker's throughput."""
    photos_a_minute = {
        way_name(each["vcpus"], each["latency_ms"]): each["photos_a_minute"]
        for each in report["workers"]
    }
    return {"throughput": bars("Throughput", "photos a minute", photos_a_minute)}
