"""How the comparison is shown: tables, and charts of time and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from worker.lab.bench.chart import bars
from worker.lab.bench.report import mib, table, words


def tables(report: Mapping[str, Any]) -> list[Table]:
    """Time and bytes, bytes by rung, scores where there are any, and who is absent."""
    rows = report["contenders"]
    shown = [
        table(
            f"{len(report['photos'])} photos, medians of {report['rounds']} rounds; "
            f"rivals at effort {report['equal_effort']}",
            ("", "CPU s", "times ours", "at equal effort", "start-up", "MB", "bytes", "MiB peak"),
            [
                [
                    *(row["name"], row["cpu_seconds"], row["times_ours"]),
                    *(row["times_ours_at_equal_effort"], row["start_up_cpu_seconds_a_process"]),
                    *(row["bytes_out"] / 1e6, row["bytes_over_ours"], mib(row["peak_bytes"])),
                ]
                for row in rows
            ],
        ),
        table(
            "KB of each rung",
            ("", *rows[0]["rungs"]),
            [
                [row["name"], *(row["rungs"].get(rung, 0) // 1000 for rung in rows[0]["rungs"])]
                for row in rows
            ],
        ),
    ]
    if "quality" in report:
        shown += _of_quality(report["quality"])
    if report["absent"]:
        shown.append(words("Absent, and what to install for it", report["absent"]))
    return shown


def _of_quality(quality: Mapping[str, Any]) -> list[Table]:
    rungs = [row["rung"] for row in next(iter(quality.values()))["rungs"]]

    def of(figure: str) -> list[list[object]]:
        return [
            [name, *({row["rung"]: row[figure] for row in found["rungs"]}.get(r) for r in rungs)]
            for name, found in quality.items()
        ]

    at_equal = [
        [*row, quality[str(row[0])]["our_bytes_at_equal_score"]]
        for row in of("our_bytes_at_equal_score")
    ]
    return [
        table("SSIMULACRA2, mean", ("", *rungs), of("ssimulacra2")),
        table("Ours ahead, in the photo where least", ("", *rungs), of("ours_ahead_at_worst")),
        table("Our bytes over theirs at their score", ("", *rungs, "all"), at_equal),
    ]


def charts(report: Mapping[str, Any]) -> dict[str, str]:
    """CPU seconds and megabytes of each contender."""
    photos = f"{len(report['photos'])} photos"
    seconds = {row["name"]: row["cpu_seconds"] for row in report["contenders"]}
    megabytes = {row["name"]: row["bytes_out"] / 1e6 for row in report["contenders"]}
    return {
        "time": bars(f"Rendering, {photos}", "CPU s", seconds),
        "bytes": bars(f"Bytes of all rungs, {photos}", "MB", megabytes),
    }
