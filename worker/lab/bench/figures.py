"""The arithmetic of measured runs: medians, ratios, lists of counts, and bytes at equal quality."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from worker.errors import UsageFault


def median(values: Iterable[float], digits: int = 4) -> float:
    """The median, rounded; NaN is never an answer.

    Raises:
        ValueError: there are no values.
    """
    found = list(values)
    if not found:
        raise ValueError("no values, no median")
    return round(statistics.median(found), digits)


def ratio(value: float, base: float, digits: int = 3) -> float | None:
    """How many times the base; `None` where the base is nothing."""
    return round(value / base, digits) if base > 0 else None


def medians(rounds: Sequence[Mapping[str, float]], digits: int = 4) -> dict[str, float]:
    """The median of each figure that all rounds have, in the first one's order."""
    common = [name for name in rounds[0] if all(name in each for each in rounds)]
    return {name: median((each[name] for each in rounds), digits) for name in common}


def geometric_mean(values: Iterable[float], digits: int = 4) -> float | None:
    """The mean of ratios; `None` without any."""
    logs = [math.log(value) for value in values]
    return round(math.exp(statistics.fmean(logs)), digits) if logs else None


def counts(text: str, flag: str, *, least: int) -> tuple[int, ...]:
    """A comma list of whole numbers such as `1,2`, without repetitions and in the order given.

    Raises:
        UsageFault: it is none, or a number is smaller than `least`.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) >= least for part in parts):
        raise UsageFault(f"{flag} {text!r} is no comma list of whole numbers from {least}")
    return tuple(dict.fromkeys(int(part) for part in parts))


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


def in_turns(rounds: int, names: Sequence[str], run: Callable[[str, int], object]) -> None:
    """Call `run(name, round)` for each name in each round, each round beginning with another name.

    What runs first after a pause finds colder caches: so nobody always does.
    """
    for number in range(rounds):
        start = number % len(names)
        for name in (*names[start:], *names[:start]):
            run(name, number)
