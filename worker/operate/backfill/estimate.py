"""This module estimates the hours and dollars of many renders, from a sample that a child decodes.

The result names every assumption.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from worker.errors import Transient
from worker.operate.backfill.comparison import Compared
from worker.operate.plan import CPU_SECONDS_PER_MEGAPIXEL, OVERHEAD_CPU_SECONDS
from worker.photo.ladder import DEFAULT_LADDER, Ladder
from worker.photo.looks import EFFORTS
from worker.render.probe import Probe
from worker.settings.settings import Settings

T = TypeVar("T")

READS_A_PHOTO: Final = 2
"""The manifest and the original."""

TIMES_BALANCED: Final = {"fast": 0.71, "balanced": 1.0, "compact": 1.6, "small": 3.0}
"""CPU seconds relative to the default encoding; measured, see docs/performance.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Dollars: Google's list prices, and spot machines for a fleet of `vcpus`."""

    vcpus: int = 4
    vcpu_hour: float = 0.0125
    thousand_writes: float = 0.005
    thousand_reads: float = 0.0004


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """One original of the sample: its size as displayed, in pixels, or the reason of a refusal."""

    width: int = 0
    height: int = 0
    refused: str | None = None


class Reservoir(Generic[T]):
    """Keeps `size` of all added items, each with the same chance. The choice is repeatable."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._added = 0
        self._chance = random.Random(0)  # noqa: S311 (a sample, no secret)
        self.kept: list[T] = []

    def add(self, each: T) -> None:
        """Add an item; the reservoir may keep it or drop it."""
        self._added += 1
        if len(self.kept) < self._size:
            self.kept.append(each)
        elif (place := self._chance.randrange(self._added)) < self._size:
            self.kept[place] = each


def look_at(originals: Iterable[Compared], probe: Probe) -> list[Sampled]:
    """Decode each original; those that cannot be read now are left out."""
    found = []
    for each in originals:
        try:
            probed = probe.of_file(each.file) if each.file else probe(each.original)
        except (Transient, OSError):
            continue
        if probed.refused is not None:
            found.append(Sampled(refused=probed.refused.reason.value))
        elif probed.picture is not None:
            found.append(Sampled(width=probed.picture.width, height=probed.picture.height))
    return found


def estimate(
    events: int, sample: Sequence[Sampled], settings: Settings, prices: Prices
) -> dict[str, object]:
    """Return what a fleet would do for so many events; figures need a readable sample.

    The keys are `sampled`, `refused` (counts by reason), `megapixels` and `cpu_seconds` of a photo,
    `vcpu_hours`, `hours` with `vcpus`, `dollars` by kind, `assumptions`.
    """
    refused = Counter(each.refused for each in sample if each.refused is not None)
    sound = [each for each in sample if each.refused is None]
    result: dict[str, object] = {"sampled": len(sample), "refused": dict(refused)}
    if not sound:
        return result
    megapixels = sum(each.width * each.height for each in sound) / len(sound) / 1e6
    factor = TIMES_BALANCED[settings.encoding]
    cpu_seconds = megapixels * CPU_SECONDS_PER_MEGAPIXEL * factor + OVERHEAD_CPU_SECONDS
    photos = events * len(sound) / len(sample)
    vcpu_hours = photos * cpu_seconds / 3600
    rungs = _rungs(settings.ladder, sound)
    dollars = {
        "machines": vcpu_hours * prices.vcpu_hour,
        "writes": photos * (rungs + 1) / 1000 * prices.thousand_writes,
        "reads": photos * READS_A_PHOTO / 1000 * prices.thousand_reads,
    }
    dollars["total"] = sum(dollars.values())
    return result | {
        "photos": round(photos),
        "megapixels": round(megapixels, 2),
        "renditions_a_photo": round(rungs, 1),
        "cpu_seconds": round(cpu_seconds, 3),
        "vcpu_hours": round(vcpu_hours, 3),
        "vcpus": prices.vcpus,
        "hours": round(vcpu_hours / prices.vcpus, 3),
        "dollars": {kind: round(each, 4) for kind, each in dollars.items()},
        "assumptions": _assumptions(settings, prices, len(sample)),
    }


def summary(found: dict[str, object]) -> str:
    """Return the estimate for a terminal."""
    lines = []
    refused = found["refused"]
    if isinstance(refused, dict) and refused:
        reasons = ", ".join(f"{reason} {count}" for reason, count in refused.items())
        lines.append(f"of {found['sampled']} sampled would be refused: {reasons}")
    if "hours" not in found:
        return "\n".join([*lines, "no estimate: no original of the sample could be read"])
    dollars = found["dollars"]
    assert isinstance(dollars, dict)  # noqa: S101 (made above)
    lines += [
        (
            f"estimate for {found['photos']:,} photos of {found['megapixels']} megapixels: "
            f"{found['vcpu_hours']:,} vCPU-hours, {found['hours']:,} hours "
            f"on {found['vcpus']} vCPUs"
        ),
        (
            f"about ${dollars['total']:,.2f}: machines {dollars['machines']:,.2f}, "
            f"writes {dollars['writes']:,.2f}, reads {dollars['reads']:,.2f}"
        ),
    ]
    assumptions = found["assumptions"]
    assert isinstance(assumptions, list)  # noqa: S101 (made above)
    return "\n".join([*lines, *(f"  assumed: {each}" for each in assumptions)])


def _rungs(ladder: Ladder, sound: Sequence[Sampled]) -> float:
    return sum(len(ladder.sizes(each.width, each.height)) for each in sound) / len(sound)


def _assumptions(settings: Settings, prices: Prices, sampled: int) -> list[str]:
    seconds = CPU_SECONDS_PER_MEGAPIXEL * TIMES_BALANCED[settings.encoding]
    assumptions = [
        f"{sampled} originals stand for all",
        (
            f"{seconds:.3f} CPU seconds a megapixel and {OVERHEAD_CPU_SECONDS} a photo, as "
            "measured with the default ladder (docs/performance.md)"
        ),
        (
            f"${prices.vcpu_hour} a vCPU-hour, ${prices.thousand_writes} for 1,000 writes, "
            f"${prices.thousand_reads} for 1,000 reads; storage, and traffic between "
            "regions, are extra"
        ),
    ]
    own_efforts = (settings.effort, settings.full_effort) != (None, None)
    if settings.ladder != DEFAULT_LADDER or own_efforts:
        efforts = "/".join(str(each) for each in EFFORTS[settings.encoding])
        assumptions.append(
            f"your ladder and efforts cost as much as the default ladder with efforts {efforts}"
        )
    if settings.target_quality is not None or settings.target_bytes is not None:
        assumptions.append("targets, which take several encodes a rung, are not counted")
    return assumptions
