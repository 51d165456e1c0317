"""The arithmetic of measured runs: medians, ratios, sums, and the order of the runs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from worker.errors import UsageFault
from worker.photo.ladder import FULL


def median(values: Iterable[float], digits: int = 4) -> float:
    """Return the median, rounded.

    Raises:
        ValueError: there are no values.
    """
    found = list(values)
    if not found:
        raise ValueError("no values, no median")
    return round(statistics.median(found), digits)


def ratio(value: float, base: float, digits: int = 3) -> float | None:
    """Return the value divided by the base; `None` for a base of 0."""
    return round(value / base, digits) if base > 0 else None


def medians(rounds: Sequence[Mapping[str, float]], digits: int = 4) -> dict[str, float]:
    """Return the median of each figure that all rounds have, in the first round's order."""
    common = [name for name in rounds[0] if all(name in each for each in rounds)]
    return {name: median((each[name] for each in rounds), digits) for name in common}


def sums(parts: Iterable[Mapping[str, float]], names: Iterable[str]) -> dict[str, float]:
    """Return the sum of each named figure; a part without the figure counts as 0."""
    found = list(parts)
    return {name: round(sum(part.get(name, 0) for part in found), 4) for name in names}


def in_order(rungs: Iterable[str]) -> list[str]:
    """Sort rungs: the smallest first, `full` last."""
    return sorted(rungs, key=lambda rung: (rung == FULL, int(rung) if rung.isdigit() else 0))


def counts(text: str, flag: str, *, least: int) -> tuple[int, ...]:
    """Parse a comma list of whole numbers such as `1,2`; keep the order, drop repetitions.

    Raises:
        UsageFault: the text is no such list, or a number is smaller than `least`.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) >= least for part in parts):
        raise UsageFault(f"{flag} {text!r} is no comma list of whole numbers from {least}")
    return tuple(dict.fromkeys(int(part) for part in parts))


def in_turns(rounds: int, names: Sequence[str], run: Callable[[str, int], object]) -> None:
    """Call `run(name, round)` for each name in each round.

    Each round begins with another name, because the first run after a pause has colder caches.
    """
    for number in range(rounds):
        start = number % len(names)
        for name in (*names[start:], *names[:start]):
            run(name, number)
