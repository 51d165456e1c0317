"""Encoding by targets: the quality of each rung is looked for, from one rung to the next.

`targets` decides what to try; here it is tried. A target of looks decides first, one of bytes has
the last word.
"""

from __future__ import annotations

import math
from dataclasses import replace

from worker.photo.ladder import RungSize
from worker.photo.looks import Looks, Tuning
from worker.photo.targets import (
    FLOOR,
    LOG_BYTES,
    SCORES,
    approach,
    bytes_window,
    ceiling,
    near,
    offset_of_next,
    settle,
)
from worker.render.image.likeness import Likeness
from worker.render.image.webp import Frame

_TYPICAL_LOG_BYTES = -2.0
"""Of a pixel at quality 80: where the first rung of a photo is thought to be."""

_FLAT = 1.5
"""A rung that has at most so many times its bytes at the least quality may be one of those that
have fewer at the highest; a photo has a third of them there."""


class Aim:
    """Encodes the rungs of one picture, in order. Not thread-safe.

    `encodes` counts what was encoded, and `judged` what was looked at.
    """

    def __init__(self, looks: Looks) -> None:
        self.looks = looks
        self._score_offset = 0.0
        self._bytes_offset: tuple[float, int] | None = None
        self.encodes = 0
        self.judged = 0

    def encode(self, frame: Frame, size: RungSize, likeness: Likeness | None) -> bytes:
        """The WebP of a rung that comes nearest to the targets without missing them.

        Where the least quality has too many bytes, or the highest is not good enough, that one.

        Raises:
            RenderOutOfMemory: it does not fit the memory.
        """
        looks = self.looks
        tuning = looks.tuning(size)
        data: bytes | None = None
        if looks.target_quality is not None and likeness is not None:
            tuning, data = self._good(frame, tuning, likeness, looks.target_quality)
        if looks.target_bytes is not None:
            return self._small(frame, tuning, size, looks.target_bytes, data)
        return self._encode(frame, tuning) if data is None else data

    def _encode(self, frame: Frame, tuning: Tuning) -> bytes:
        self.encodes += 1
        return frame.encode(tuning)

    def _good(
        self, frame: Frame, tuning: Tuning, likeness: Likeness, score: float
    ) -> tuple[Tuning, bytes]:
        """The least quality found that has this score."""
        best: tuple[float, float, bytes] | None = None

        def look(quality: float) -> float:
            nonlocal best
            data = self._encode(frame, replace(tuning, quality=quality))
            self.judged += 1
            value = likeness.score(data)
            # Only one is kept of what was encoded: the cheapest that reaches it, else the best.
            if best is None or _better((quality, value), best[:2], score):
                best = (quality, value, data)
            return value

        tried = approach(
            look,
            curve=SCORES,
            window=near(score),
            offset=self._score_offset,
            bounds=(FLOOR, ceiling(score)),
        )
        assert best is not None  # noqa: S101 (at least one is tried)
        quality, value, data = best
        self._score_offset = value - SCORES.at(quality)
        settled = settle(tried, score)
        if settled in tried:
            return replace(tuning, quality=quality), data
        # So near that the curve tells the rest, better than another look at a part of the picture.
        tuning = replace(tuning, quality=settled)
        return tuning, self._encode(frame, tuning)

    def _small(
        self, frame: Frame, tuning: Tuning, size: RungSize, most: int, data: bytes | None
    ) -> bytes:
        """The highest quality found, up to the tuning's, that has no more bytes.

        Else the fewest bytes: at the least quality, but flat pictures have more there than above.
        """
        highest, pixels = float(tuning.quality), size.width * size.height
        lowest = min(FLOOR, highest)
        best: tuple[float, bytes] | None = None
        known: dict[float, float] = {}

        def weigh(quality: float, data: bytes) -> float:
            nonlocal best
            fits, fitted = len(data) <= most, best is not None and len(best[1]) <= most
            better = best is None or (
                quality > best[0] if fits and fitted else len(data) < len(best[1])
            )
            if better:
                best = (quality, data)
            return math.log(len(data))

        def weigh_at(quality: float) -> float:
            return weigh(quality, self._encode(frame, replace(tuning, quality=quality)))

        if data is not None:
            known[highest] = weigh(highest, data)
        if data is None or len(data) > most:
            tried = approach(
                weigh_at,
                curve=LOG_BYTES,
                window=bytes_window(math.log(most)),
                offset=self._bytes_offset_at(pixels),
                bounds=(lowest, highest),
                known=known,
            )
            assert best is not None  # noqa: S101 (at least one is known)
            if len(best[1]) > most and lowest not in tried:
                weigh_at(lowest)
            if most < len(best[1]) <= _FLAT * most and highest not in tried:
                weigh_at(highest)
        assert best is not None  # noqa: S101 (at least one is known)
        quality, data = best
        self._bytes_offset = (math.log(len(data)) - LOG_BYTES.at(quality), pixels)
        return data

    def _bytes_offset_at(self, pixels: int) -> float:
        if self._bytes_offset is None:
            return _TYPICAL_LOG_BYTES + math.log(pixels)
        offset, before = self._bytes_offset
        return offset_of_next(offset, before, pixels)


def _better(one: tuple[float, float], other: tuple[float, float], score: float) -> bool:
    """Whether a trial, a quality and what it came to, is to be preferred."""
    reaches, other_reaches = one[1] >= score, other[1] >= score
    if reaches != other_reaches:
        return reaches
    return one[0] < other[0] if reaches else one[1] > other[1]
