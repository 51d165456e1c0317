"""Sampling: a few of many originals, and what a child process makes of each."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Generic, TypeVar

from worker.errors import Transient
from worker.operate.backfill.comparison import Compared
from worker.operate.backfill.estimate import Sampled
from worker.render.probe import Probe

T = TypeVar("T")


class Reservoir(Generic[T]):
    """Keeps so many of whatever passes by, each with the same chance; the same ones every time."""

    def __init__(self, size: int) -> None:
        """Keep nothing yet."""
        self._size = size
        self._passed = 0
        self._chance = random.Random(0)  # noqa: S311 (a sample, no secret)
        self.kept: list[T] = []

    def add(self, each: T) -> None:
        """One more passes by."""
        self._passed += 1
        if len(self.kept) < self._size:
            self.kept.append(each)
        elif (place := self._chance.randrange(self._passed)) < self._size:
            self.kept[place] = each


def look_at(originals: Iterable[Compared], probe: Probe) -> list[Sampled]:
    """What each is; those that cannot be had now are left out."""
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
