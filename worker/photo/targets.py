"""Targets instead of a fixed quality: which WebP quality to try next, and when to stop. Pure.

Bytes and looks both rise with the quality along a curve that photos share, but for an offset of
their own. So one trial tells the offset, the second is usually near enough, and the offset of one
rung is the first guess for the next.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

STEP: Final = 0.5
"""Of the quality: half a step of what `WORKER_QUALITY` knows is 1 to 2 % of the bytes."""

FLOOR: Final = 10.0
"""The lowest quality that a target leads to."""

CEILING: Final = 98.0
"""Above it libwebp doubles the bytes for differences that SSIMULACRA2 takes for noise."""

MOST_TRIALS: Final = 5

BYTES_SHORT: Final = 0.05
"""A rung with so much less than its bytes is near enough to them."""

SCORE_OVER: Final = 1.0
"""A rung that is so much better than its score is near enough to it: a fiftieth of its bytes."""

_TOLD: Final = 3.0
"""Points of the score that the curve tells: photos differ by a quarter of a step along it."""

HARDER: Final = 14.0
"""A rung may get the quality that is usual for a score so much higher: noise makes a photo in its
own size that much harder. Beyond, chroma of half the size keeps it from any score."""

_FLATTEST: Final = 0.01
"""A rung that rises so much less than its curve: the next trial is at a bound."""

_BYTES_OVER_PIXELS: Final = 0.76
"""Twice the pixels of one photo have that power of two times the bytes."""


@dataclass(frozen=True, slots=True)
class Curve:
    """What qualities usually come to, ascending; straight between."""

    qualities: tuple[float, ...]
    values: tuple[float, ...]

    def at(self, quality: float) -> float:
        """What a quality usually comes to."""
        return _between(self.qualities, self.values, quality)

    def reaching(self, value: float) -> float:
        """Which quality usually comes to so much; the first or last where none does."""
        value = min(max(value, self.values[0]), self.values[-1])
        return _between(self.values, self.qualities, value)


_QUALITIES: Final = (10.0, 20.0, 40.0, 60.0, 75.0, 80.0, 86.0, 92.0, 97.0, 100.0)

LOG_BYTES: Final = Curve(
    _QUALITIES, (-1.35, -0.99, -0.63, -0.37, -0.19, 0.0, 0.26, 0.62, 1.01, 1.5)
)
"""The logarithm of the bytes, quality 80 being 0."""

SCORES: Final = Curve(_QUALITIES, (28.0, 42.0, 57.0, 66.0, 71.2, 75.5, 80.7, 85.5, 88.6, 90.0))
"""SSIMULACRA2, the mean of photos. Both measured, docs/performance.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The values that are near enough, and the one that is aimed at."""

    least: float
    most: float
    aim: float


def bytes_window(most_log_bytes: float) -> Window:
    """Of the logarithm of a rung's bytes."""
    return Window(
        least=most_log_bytes - BYTES_SHORT,
        most=most_log_bytes,
        aim=most_log_bytes - BYTES_SHORT / 2,
    )


def near(score: float) -> Window:
    """Of a rung's score: as near as the curve can tell the rest."""
    aim = score + SCORE_OVER / 2
    return Window(least=aim - _TOLD, most=aim + _TOLD, aim=aim)


def settle(tried: Mapping[float, float], score: float) -> float:
    """The quality that a rung gets for a score, by the trial that came nearest to it.

    One that was tried, if it is near enough or if it is the last.
    """
    aim = score + SCORE_OVER / 2
    quality = min(tried, key=lambda each: abs(tried[each] - aim))
    if abs(tried[quality] - aim) <= SCORE_OVER / 2:
        return quality
    told = _next({quality: tried[quality]}, SCORES, near(score), 0.0)
    return min(max(_rounded(told), FLOOR), ceiling(score))


def ceiling(score: float) -> float:
    """The highest quality that a rung gets for the sake of a score."""
    return min(CEILING, float(round(SCORES.reaching(score + HARDER))))


def offset_of_next(offset: float, pixels: int, next_pixels: int) -> float:
    """The offset of a photo's logarithm of bytes, at another size."""
    return offset + _BYTES_OVER_PIXELS * math.log(next_pixels / pixels)


def approach(
    measure: Callable[[float], float],
    *,
    curve: Curve,
    window: Window,
    offset: float,
    bounds: tuple[float, float],
    known: Mapping[float, float] | None = None,
) -> dict[float, float]:
    """Try qualities within the bounds until one comes to what is near enough.

    Args:
        measure: what one quality comes to; rises with it.
        curve: how it usually rises.
        window: what is near enough.
        offset: how far this rung is thought to lie above the curve.
        bounds: the lowest and the highest quality that may be tried.
        known: what was tried before.

    Returns:
        Each quality that was tried, with what it came to; never empty.
    """
    tried = dict(known or {})
    low, high = bounds
    high = min([high, *(each - STEP for each in tried if tried[each] > window.most)])
    for _ in range(MOST_TRIALS):
        quality = _next(tried, curve, window, offset)
        quality = min(max(_rounded(quality), low), high)
        if quality in tried or low > high:
            break
        value = tried[quality] = measure(quality)
        if window.least <= value <= window.most:
            break
        if value > window.most:
            high = quality - STEP
        else:
            low = quality + STEP
    return tried


def _next(tried: Mapping[float, float], curve: Curve, window: Window, offset: float) -> float:
    """The quality that should come to the aim, by what is known."""
    if not tried:
        return curve.reaching(window.aim - offset)
    below = max((each for each in tried if tried[each] < window.least), default=None)
    above = min((each for each in tried if tried[each] > window.most), default=None)
    if below is not None and above is not None:
        # Between two, along the curve's shape.
        share = (window.aim - tried[below]) / (tried[above] - tried[below])
        return curve.reaching(curve.at(below) + share * (curve.at(above) - curve.at(below)))
    nearest, *others = sorted(tried, key=lambda each: abs(tried[each] - window.aim))
    flatter = _flatter(tried, curve, nearest, others[0]) if others else 1.0
    return curve.reaching(curve.at(nearest) + (window.aim - tried[nearest]) / flatter)


def _flatter(tried: Mapping[float, float], curve: Curve, one: float, other: float) -> float:
    """How much less than the curve this rung rises, by two trials: alpha and flat parts do not."""
    usual = curve.at(one) - curve.at(other)
    return min(1.0, max(_FLATTEST, (tried[one] - tried[other]) / usual)) if usual else 1.0


def _rounded(quality: float) -> float:
    return round(quality / STEP) * STEP


def _between(xs: tuple[float, ...], ys: tuple[float, ...], x: float) -> float:
    at = max(1, min(bisect_left(xs, x), len(xs) - 1))
    share = (x - xs[at - 1]) / (xs[at] - xs[at - 1])
    return ys[at - 1] + (ys[at] - ys[at - 1]) * share
