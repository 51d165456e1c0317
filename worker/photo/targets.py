"""Targets instead of a fixed quality: choose the next WebP quality to try, and when to stop. Pure.

Bytes and looks both rise with the quality along a curve that all photos share, plus an offset for
each photo. So one trial shows the offset, the second trial is usually near enough, and the offset
of one rung is the first guess for the next rung.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

STEP: Final = 0.5
"""The step between qualities: half a step of `WORKER_QUALITY`, 1 to 2 % of the bytes."""

FLOOR: Final = 10.0
"""The lowest quality for a target."""

CEILING: Final = 98.0
"""The highest quality for a target. Above it libwebp doubles the bytes for differences that
SSIMULACRA2 takes for noise."""

MOST_TRIALS: Final = 5

BYTES_SHORT: Final = 0.05
"""A rung is near enough to its target if the logarithm of its bytes is at most this much less."""

SCORE_OVER: Final = 1.0
"""A rung is near enough to its target if its score is at most this much higher; this is a fiftieth
of its bytes."""

_TOLD: Final = 3.0
"""Over this many points of the score, the curve is exact enough: photos differ by a quarter of a
step."""

HARDER: Final = 14.0
"""A rung may get at most the quality that is usual for a score this much higher, because noise can
make a photo in its own size that much harder. If it needs more, chroma of half the size keeps it
from reaching the score."""

_FLATTEST: Final = 0.01
"""The flattest slope of a rung in relation to the curve; the next trial is then at a bound."""

_BYTES_OVER_PIXELS: Final = 0.76
"""The bytes of one photo grow with this power of its pixels: twice the pixels, 2 ** 0.76 times the
bytes."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The usual value at each quality, ascending; linear between the points."""

    qualities: tuple[float, ...]
    values: tuple[float, ...]

    def at(self, quality: float) -> float:
        """Return the usual value at a quality."""
        return _between(self.qualities, self.values, quality)

    def reaching(self, value: float) -> float:
        """Return the quality that usually has this value; outside the curve, its first or last."""
        value = min(max(value, self.values[0]), self.values[-1])
        return _between(self.values, self.qualities, value)


_QUALITIES: Final = (10.0, 20.0, 40.0, 60.0, 75.0, 80.0, 86.0, 92.0, 97.0, 100.0)

LOG_BYTES: Final = Curve(
    _QUALITIES, (-1.35, -0.99, -0.63, -0.37, -0.19, 0.0, 0.26, 0.62, 1.01, 1.5)
)
"""The logarithm of the bytes, in relation to quality 80."""

SCORES: Final = Curve(_QUALITIES, (28.0, 42.0, 57.0, 66.0, 71.2, 75.5, 80.7, 85.5, 88.6, 90.0))
"""SSIMULACRA2, the mean of photos. Both curves are measured, see docs/performance.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The range of values that are near enough, and the value to aim at."""

    least: float
    most: float
    aim: float


def bytes_window(most_log_bytes: float) -> Window:
    """Return the window for the logarithm of a rung's bytes."""
    return Window(
        least=most_log_bytes - BYTES_SHORT,
        most=most_log_bytes,
        aim=most_log_bytes - BYTES_SHORT / 2,
    )


def near(score: float) -> Window:
    """Return the window for a rung's score; within it, the curve can predict the quality."""
    aim = score + SCORE_OVER / 2
    return Window(least=aim - _TOLD, most=aim + _TOLD, aim=aim)


def settle(tried: Mapping[float, float], score: float) -> float:
    """Return the quality that a rung gets for a score.

    It is the tried quality whose score is nearest, if that is near enough. Otherwise it is the
    curve's prediction from that trial.
    """
    aim = score + SCORE_OVER / 2
    quality = min(tried, key=lambda each: abs(tried[each] - aim))
    if abs(tried[quality] - aim) <= SCORE_OVER / 2:
        return quality
    told = _next({quality: tried[quality]}, SCORES, near(score), 0.0)
    return min(max(_rounded(told), FLOOR), ceiling(score))


def ceiling(score: float) -> float:
    """Return the highest quality that a rung may get for a score."""
    return min(CEILING, float(round(SCORES.reaching(score + HARDER))))


def offset_of_next(offset: float, pixels: int, next_pixels: int) -> float:
    """Return the offset of the logarithm of a photo's bytes at another size."""
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
    """Try qualities within the bounds until the value of one lies within the window.

    Args:
        measure: returns the value at a quality; the value rises with the quality.
        curve: the usual values.
        window: the values that are near enough.
        offset: how far this rung is expected to lie above the curve.
        bounds: the lowest and the highest quality that may be tried.
        known: earlier trials, value by quality.

    Returns:
        The value of each quality that was tried, `known` included; never empty.
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
    """Return the quality that should reach the aim, according to the trials."""
    if not tried:
        return curve.reaching(window.aim - offset)
    below = max((each for each in tried if tried[each] < window.least), default=None)
    above = min((each for each in tried if tried[each] > window.most), default=None)
    if below is not None and above is not None:
        # The aim lies between two trials: follow the curve's shape between them.
        share = (window.aim - tried[below]) / (tried[above] - tried[below])
        return curve.reaching(curve.at(below) + share * (curve.at(above) - curve.at(below)))
    nearest, *others = sorted(tried, key=lambda each: abs(tried[each] - window.aim))
    flatter = _flatter(tried, curve, nearest, others[0]) if others else 1.0
    return curve.reaching(curve.at(nearest) + (window.aim - tried[nearest]) / flatter)


def _flatter(tried: Mapping[float, float], curve: Curve, one: float, other: float) -> float:
    """Return the slope of this rung in relation to the curve, by two trials.

    It is at most 1: alpha and flat parts do not rise with the quality.
    """
    usual = curve.at(one) - curve.at(other)
    return min(1.0, max(_FLATTEST, (tried[one] - tried[other]) / usual)) if usual else 1.0


def _rounded(quality: float) -> float:
    return round(quality / STEP) * STEP


def _between(xs: tuple[float, ...], ys: tuple[float, ...], x: float) -> float:
    at = max(1, min(bisect_left(xs, x), len(xs) - 1))
    share = (x - xs[at - 1]) / (xs[at] - xs[at - 1])
    return ys[at - 1] + (ys[at] - ys[at - 1]) * share
