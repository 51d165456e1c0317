"""Measure what targets save against a fixed quality: bytes at the same worst-case quality.

    python -m benchmarks.targets FOLDER [--quality 80] [--json]

Renders each photo of FOLDER with a fixed quality, has each rung up to 1,280 px scored by the Python
package `ssimulacra2` (see `pictures`) against the original, resized once, and
takes the worst score. Then the same photos with `WORKER_TARGET_QUALITY` of that worst score, of
what makes their worst the same, and of the mean: all bytes against those of the fixed quality,
scores, encodes a rung and CPU seconds. Rungs below 512 px are left out: the package's weights
belong to other scales there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.pictures import decoded, resized, ssimulacra2, write_png
from worker.lab.bench.subject import LIMITS
from worker.photo.ladder import Ladder
from worker.photo.looks import Looks
from worker.render.image.imaging import Picture

LADDER = Ladder.parse("512,768,1024,1280,1600,2048,2560,full")
MAX_PX = 1280
FIXED = Looks(quality=80, effort=4, full_effort=2)

References = Mapping[str, Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One way to encode all photos: bytes of all rungs, and scores of those that were scored."""

    name: str
    bytes: int
    scored_bytes: int
    worst: float
    tenth: float
    mean: float
    encodes_a_rung: float
    cpu_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quality", type=int, default=80)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    photos = sorted(path for path in options.folder.iterdir() if path.is_file())
    fixed = replace(FIXED, quality=options.quality)
    with tempfile.TemporaryDirectory() as folder:
        references = {photo: make_references(photo, Path(folder)) for photo in photos}
        runs = [measure(f"quality {options.quality}", fixed, references)]
        worst, mean = round(runs[0].worst, 1), round(runs[0].mean, 1)
        runs.append(targeted(worst, fixed, references))
        # As much more as the worst of them missed it by.
        runs.append(targeted(round(2 * worst - runs[1].worst, 1), fixed, references))
        runs.append(targeted(mean, fixed, references))
    if options.json:
        print(json.dumps([asdict(run) for run in runs], indent=2))
        return
    show(runs)


def targeted(score: float, fixed: Looks, references: Mapping[Path, References]) -> Run:
    return measure(f"target quality {score}", replace(fixed, target_quality=score), references)


def show(runs: Sequence[Run]) -> None:
    print("| | bytes | of scored rungs | worst | tenth | mean | encodes a rung | CPU |")
    print("|---|---|---|---|---|---|---|---|")
    first = runs[0]
    for run in runs:
        cells = (
            f"{run.bytes / first.bytes:.2f}",
            f"{run.scored_bytes / first.scored_bytes:.2f}",
            *(f"{score:.1f}" for score in (run.worst, run.tenth, run.mean)),
            f"{run.encodes_a_rung:.2f}",
            f"{run.cpu_seconds / first.cpu_seconds:.2f}",
        )
        print(f"| {run.name} | " + " | ".join(cells) + " |")


def make_references(photo: Path, folder: Path) -> References:
    """By rung: the original, decoded in full and resized once with Lanczos 3, as PNG."""
    original = decoded(photo.read_bytes())
    return {
        size.rung: write_png(
            resized(original, size.width, size.height), folder / f"{photo.stem}-{size.rung}.png"
        )
        for size in LADDER.sizes(original.width, original.height)
        if max(size.width, size.height) <= MAX_PX
    }


def measure(name: str, encoding: Looks, references: Mapping[Path, References]) -> Run:
    sizes: list[int] = []
    scored: list[int] = []
    scores: list[float] = []
    encodes, cpu_seconds = 0, 0.0
    for photo, of_rung in references.items():
        started = time.process_time()
        picture = Picture(photo.read_bytes(), LIMITS)
        picture.decode()
        renditions = [(s.rung, d) for s, d in picture.renditions(LADDER, encoding)]
        cpu_seconds += time.process_time() - started
        encodes += picture.aim.encodes if picture.aim else 0
        sizes += [len(data) for _, data in renditions]
        for rung, data in renditions:
            if rung in of_rung:
                scored.append(len(data))
                scores.append(ssimulacra2(of_rung[rung], data))
        print(f"{name}: {photo.name}", file=sys.stderr)
    return Run(
        name=name,
        bytes=sum(sizes),
        scored_bytes=sum(scored),
        worst=min(scores),
        tenth=statistics.quantiles(scores, n=10)[0],
        mean=statistics.mean(scores),
        encodes_a_rung=encodes / len(sizes),
        cpu_seconds=cpu_seconds,
    )


if __name__ == "__main__":
    main()
