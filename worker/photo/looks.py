"""Looks: the picture options besides sizes, and the libwebp options that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from worker.photo.ladder import FULL, RungSize
from worker.photo.watermark import Watermark

OutputFormat: TypeAlias = Literal["webp", "png"]

EFFORTS: Final = {
    "fast": (2, 2),
    "balanced": (4, 2),
    "compact": (5, 5),
    "small": (6, 6),
}
"""For each preset, the effort of the resized rungs and the effort of `full`, which has two thirds
of the pixels. Measured on photos at equal SSIMULACRA2, docs/performance.md."""

BLIND_METHODS: Final = 2
"""Up to this method, libwebp chooses a block's prediction without weighing bits against errors."""

_SMALL_PX: Final = 640


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The options for libwebp, with its own names and ranges.

    `quality` is 0-100, `method` 0 (fast) - 6 (small). `sns_strength`, 0-100, moves bits from busy
    parts to smooth parts; `filter_strength`, 0-100, is the deblocking.
    """

    quality: float
    method: int
    sns_strength: int = 50
    filter_strength: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """All picture options of one recipe; a child process gets them as they are.

    A new option also needs a place in `Recipe.fingerprint`.

    `quality` is WebP's 0-100, `effort` its 0-6 (`full_effort` for the `full` rung). A target takes
    the quality's place: with `target_bytes` it is lowered as far as a rung needs to have no more
    bytes, with `target_quality` (0-100, `targets` says of what) each rung gets the one that reaches
    it. `background` is `#rrggbb`, which transparency is filled with, or `None`. `format` is `webp`,
    or `png` without loss, which ignores quality, efforts and targets.
    """

    quality: int
    effort: int
    full_effort: int
    target_bytes: int | None = None
    target_quality: float | None = None
    watermark: Watermark | None = None
    background: str | None = None
    format: OutputFormat = "webp"

    def tuning(self, size: RungSize) -> Tuning:
        """Return the libwebp options for one rung.

        The fast methods waste bits on busy blocks and leave visible block edges. More moved bits
        and a stronger filter give half of this loss back: 3 % fewer bytes of a photo's `full` at
        equal SSIMULACRA2, in the same time. Small pictures gain nothing.
        """
        method = self.full_effort if size.rung == FULL else self.effort
        if method > BLIND_METHODS or max(size.width, size.height) < _SMALL_PX:
            return Tuning(quality=self.quality, method=method)
        return Tuning(quality=self.quality, method=method, sns_strength=70, filter_strength=90)
