"""The summary of one run: all figures as JSON, and some of them for a terminal."""

from __future__ import annotations

import os
import platform
import resource
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from worker import __version__
from worker.console.text import plain, size
from worker.convert.engine import PACKAGES
from worker.convert.memory import MemoryWatch
from worker.convert.names import FAILURES
from worker.convert.options import ConvertOptions
from worker.convert.outcomes import RunEnd
from worker.convert.tally import SECONDS, Tally, failure_fields
from worker.photo.recipe import Recipe
from worker.system import processes
from worker.system.facts import machine, versions

SCHEMA: Final = "photo-convert/1"

_SHOWN: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """The facts of a run besides its counts."""

    started: datetime
    ended: datetime
    complete: bool
    options: ConvertOptions
    recipe: Recipe
    slots: int
    children: bool

    @property
    def seconds(self) -> float:
        """Return the run's duration."""
        return (self.ended - self.started).total_seconds()


def summarise(run: RunFacts, tally: Tally, watch: MemoryWatch, end: RunEnd) -> dict[str, Any]:
    """Return all figures, ready for JSON.

    Call it after the children have ended, because it includes their CPU seconds.
    """
    counts, seconds = tally.counts, max(run.seconds, 1e-6)
    tried = counts.converted + counts.failed
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    own_seconds, child_seconds = own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime
    return {
        "schema": SCHEMA,
        "source": str(run.options.source),
        "output": str(run.options.output),
        "dry_run": run.options.dry_run,
        "started_at": run.started.isoformat(timespec="milliseconds"),
        "ended_at": run.ended.isoformat(timespec="milliseconds"),
        "seconds": round(run.seconds, 3),
        "complete": run.complete,
        "ended_by": _ended_by(run, end),
        "found": counts.found,
        "converted": counts.converted,
        "current": counts.current,
        "failed": counts.failed,
        "skipped": sum(tally.passed.values()),
        "kept_originals": counts.kept,
        "error_rate": round(counts.failed / tried, 4) if tried else 0.0,
        **(
            {"would_convert": counts.pending, "would_read_bytes": counts.pending_bytes}
            if run.options.dry_run
            else {}
        ),
        "bytes_in": counts.bytes_in,
        "bytes_out": counts.bytes_out,
        "ratio": round(counts.bytes_out / counts.bytes_in, 4) if counts.bytes_in else None,
        "saved_bytes": counts.bytes_in - counts.bytes_out,
        "saved_percent": (
            round(100 * (1 - counts.bytes_out / counts.bytes_in), 2) if counts.bytes_in else None
        ),
        "pixels": counts.pixels,
        "image_seconds": {
            "average": round(counts.seconds / counts.converted, 4) if counts.converted else None,
            "min": counts.shortest_seconds if counts.converted else None,
            "max": counts.longest_seconds if counts.converted else None,
            "histogram": [
                {"up_to": most, "images": images}
                for most, images in zip((*SECONDS, None), tally.times, strict=True)
            ],
        },
        "images_per_second": round(counts.converted / seconds, 3),
        "mb_per_second": round(counts.bytes_in / seconds / 1e6, 3),
        "cpu_seconds": {
            "total": round(own_seconds + child_seconds, 3),
            "parent": round(own_seconds, 3),
            "children": round(child_seconds, 3),
            "renders": round(counts.child_cpu_seconds, 3),
        },
        "memory": {
            "peak_bytes": watch.peak_bytes,
            "what": "this process and its children, shared pages counted once, native memory too",
            "parent_peak_bytes": processes.peak_bytes(own),
            "largest_child_peak_bytes": counts.largest_render_bytes,
            "samples": [{"at_seconds": at, "bytes": in_use} for at, in_use in watch.samples],
        },
        "formats": dict(tally.formats.most_common()),
        "rungs": {
            rung: dict(total)
            for rung, total in sorted(tally.rungs.items(), key=lambda each: _order(each[0]))
        },
        "best_savings": [asdict(saving) for saving in tally.best],
        "worst_savings": [asdict(saving) for saving in tally.worst],
        "failures_by_reason": dict(tally.reasons.most_common()),
        "failures": [failure_fields(failed) for failed in tally.failures],
        "failures_file": FAILURES if counts.failed and not run.options.dry_run else None,
        "skipped_by_reason": dict(tally.passed.most_common()),
        "skipped_files": [
            {"name": each.name, "reason": each.why.value} for each in tally.passed_over
        ],
        "recipe": run.recipe.fingerprint,
        "slots": run.slots,
        "children_started": run.children,
        "machine": machine(),
        "versions": {
            "photo-worker": __version__,
            "python": platform.python_version(),
            **versions(PACKAGES),
            "codecs": run.recipe.codec,
        },
    }


def write_whole(file: Path, data: bytes) -> None:
    """Write a new file beside `file` and rename it, so readers see the old or the whole new one.

    Raises:
        OSError: the file cannot be written.
    """
    half = file.with_name(f".{file.name}.{os.getpid()}.part")
    half.unlink(missing_ok=True)
    try:
        with half.open("xb") as new:  # "x" refuses a link, which could lead to another file
            new.write(data)
        half.replace(file)
    finally:
        half.unlink(missing_ok=True)


def as_text(summary: dict[str, Any]) -> str:
    """Return a few lines for a terminal."""
    head = f"{summary['converted']:,} converted"
    if summary["dry_run"]:
        read = size(summary["would_read_bytes"])
        head = f"{summary['would_convert']:,} would be converted ({read})"
    counted = f"{summary['current']:,} current, {summary['failed']:,} failed"
    lines = [f"{head}, {counted}, {summary['skipped']:,} files passed over"]
    if summary["converted"]:
        peak_bytes = summary["memory"]["peak_bytes"]
        at_most = f", at most {size(peak_bytes)}" if peak_bytes else ""
        lines.append(
            f"{size(summary['bytes_in'])} of originals, {size(summary['bytes_out'])} written, "
            f"in {summary['seconds']:,.1f} s "
            f"({summary['images_per_second']:,.1f} images a second, "
            f"{summary['cpu_seconds']['total']:,.1f} CPU seconds{at_most})"
        )
    if summary["kept_originals"]:
        lines.append(f"{summary['kept_originals']:,} originals kept, which were smaller")
    for failure in summary["failures"][:_SHOWN]:
        message = failure["message"]
        lines.append(plain(f"failed {failure['name']}: {failure['reason']}: {message}"))
    if summary["failed"] > _SHOWN:
        where = f"; all in {FAILURES}" if summary["failures_file"] else ""
        lines.append(f"... and {summary['failed'] - _SHOWN:,} more{where}")
    if not summary["complete"]:
        lines.append(f"not complete ({summary['ended_by']}): the same command goes on from here")
    return "\n".join(lines)


def _ended_by(run: RunFacts, end: RunEnd) -> str:
    if end.fatal is not None:
        return str(end.fatal)
    if end.signals.number is not None:
        return f"signal {end.signals.number:d}"
    if end.limited:
        return f"--limit {run.options.limit}"
    return "all done"


def _order(rung: str) -> tuple[int, str]:
    return (int(rung), "") if rung.isdigit() else (1 << 30, rung)
