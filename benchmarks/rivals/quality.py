"""What contenders keep of the pictures, and what our bytes are where we keep as much.

Scores of different bytes say little. So ours are made with a few qualities as well, which gives our
bytes over the score; read off at a rival's score, they can be held against the rival's bytes.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.rivals.contenders import OURS, Contender, ours
from benchmarks.rivals.ladders import Ladders
from benchmarks.rivals.scores import ScoredRendition, score_all
from worker.console.progress import Show
from worker.lab.bench.figures import in_order
from worker.lab.bench.photos import Photo
from worker.photo.ladder import Ladder
from worker.settings.settings import Settings
from worker.system import processes
from worker.system.machine import read_machine

_STEPS = (-12, -6, 6, 12)
"""Qualities around the one that is set, for the curve of our bytes over the score."""

Scores = Mapping[ScoredRendition, float]


def measure_quality(
    settings: Settings,
    found: Sequence[Contender],
    photos: Sequence[Photo],
    ladders: Ladders,
    up_to_px: int,
    show: Show,
) -> dict[str, Any]:
    """Mean scores by rung and contender, and our bytes over theirs at their scores."""
    others = {min(100, max(1, settings.quality + step)) for step in _STEPS} - {settings.quality}
    renditions = []
    for photo in photos:
        rungs = scored_rungs(settings.ladder, photo, up_to_px)
        for each in found:
            renditions += _renditions(ladders, each.name, photo, settings.quality, rungs)
        for quality in sorted(others):
            show({"now": f"ours at quality {quality}: {photo.name}"})
            renditions += _at_quality(settings, quality, photo, ladders, rungs)
    scores: dict[ScoredRendition, float] = {}
    for rendition, score in score_all(renditions, ladders.root, read_machine().vcpus):
        scores[rendition] = score
        show({"scores": len(scores), "of": len(renditions)})
    return summarise(scores, settings.quality)


def scored_rungs(ladder: Ladder, photo: Photo, up_to_px: int) -> list[str]:
    """The rungs of a photo whose longest edge has at most so many pixels, `full` among them."""
    known = photo.width and photo.height
    sizes = ladder.sizes(photo.width, photo.height) if known else ()
    return [size.rung for size in sizes if max(size.width, size.height) <= up_to_px]


def _at_quality(
    settings: Settings, quality: int, photo: Photo, ladders: Ladders, rungs: Sequence[str]
) -> list[ScoredRendition]:
    if not rungs:
        return []
    contender = ours(settings, f"{OURS} {quality}", quality=quality, only=rungs)
    folder = ladders.folder(contender.name, photo)
    for command in contender.commands(photo, folder, rungs):
        what = f"{contender.name}, {photo.file}"
        processes.run(command, os.environ | {"VIPS_CONCURRENCY": "1"}, what)
    made = _renditions(ladders, contender.name, photo, quality, rungs)
    return [replace(each, contender=OURS) for each in made]


def _renditions(
    ladders: Ladders, contender: str, photo: Photo, quality: int, rungs: Sequence[str]
) -> list[ScoredRendition]:
    return [
        ScoredRendition(
            photo=photo.file,
            file=file,
            size_bytes=file.stat().st_size,
            contender=contender,
            quality=quality,
            rung=rung,
        )
        for rung, file in ladders.files(contender, photo).items()
        if rung in rungs
    ]


def summarise(scores: Scores, quality: int) -> dict[str, Any]:
    """By contender and rung: the mean score, the worst against ours, and bytes at equal score."""
    curves: dict[tuple[Path, str], list[tuple[float, float]]] = defaultdict(list)
    mine: dict[tuple[Path, str], float] = {}
    theirs: dict[str, dict[str, list[ScoredRendition]]] = defaultdict(lambda: defaultdict(list))
    for each, score in scores.items():
        if each.contender == OURS:
            curves[each.photo, each.rung].append((score, each.size_bytes))
        if each.quality == quality:
            theirs[each.contender][each.rung].append(each)
            if each.contender == OURS:
                mine[each.photo, each.rung] = score
    shown: dict[str, Any] = {}
    for name, rungs in theirs.items():
        rows, all_ratios = [], []
        for rung in in_order(rungs):
            of_rung = rungs[rung]
            ratios = [
                at_score / each.size_bytes
                for each in of_rung
                if (at_score := bytes_at_score(curves[each.photo, rung], scores[each]))
            ]
            all_ratios += ratios
            ahead = [mine[each.photo, rung] - scores[each] for each in of_rung]
            rows.append(
                {
                    "rung": rung,
                    "photos": len(of_rung),
                    "ssimulacra2": round(fmean(scores[each] for each in of_rung), 2),
                    "ours_ahead": round(fmean(ahead), 2),
                    "ours_ahead_at_worst": round(min(ahead), 2),
                    "our_bytes_at_equal_score": geometric_mean(ratios),
                }
            )
        shown[name] = {"rungs": rows, "our_bytes_at_equal_score": geometric_mean(all_ratios)}
    return shown


def geometric_mean(values: Iterable[float], digits: int = 4) -> float | None:
    """The mean of ratios; `None` without any."""
    logs = [math.log(value) for value in values]
    return round(math.exp(fmean(logs)), digits) if logs else None


def bytes_at_score(curve: Iterable[tuple[float, float]], score: float) -> float | None:
    """The bytes that reach a score, read off a curve of (score, bytes); `None` outside of it.

    Between two points the logarithm of the bytes is taken as a straight line over the score, as
    rate-distortion curves nearly are.
    """
    points = sorted(curve)
    for (low, low_bytes), (high, high_bytes) in pairwise(points):
        if low <= score <= high:
            share = (score - low) / (high - low) if high > low else 0.0
            return math.exp(math.log(low_bytes) * (1 - share) + math.log(high_bytes) * share)
    return None
