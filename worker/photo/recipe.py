"""The recipe: everything that decides the bytes of a ladder, and the digest that names them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, TypeAlias

from worker.photo.ladder import Ladder
from worker.photo.watermark import Watermark

OutputFormat: TypeAlias = Literal["webp", "png"]

PIPELINE = 2
"""Raised whenever the rendering code itself changes what comes out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How originals become renditions.

    `quality` is WebP's 0-100, `effort` its 0-6 (`full_effort` for the `full` rung, which holds
    more than half of the pixels); `codec` names the libraries that encode.

    A target takes the quality's place: with `target_bytes` it is lowered as far as a rung needs to
    have no more bytes, with `target_quality` (0-100, `targets` says of what) each rung gets the one
    that reaches it. `background` is `#rrggbb`, which transparency is filled with, or `None`.
    `format` is `webp`, or `png` without loss, of which quality and efforts say nothing.
    """

    ladder: Ladder
    quality: int
    effort: int
    full_effort: int
    codec: str
    target_bytes: int | None = None
    target_quality: float | None = None
    watermark: Watermark | None = None
    background: str | None = None
    format: OutputFormat = "webp"

    @property
    def fingerprint(self) -> str:
        """One readable line; equal lines promise equal renditions of equal originals.

        What is not asked for is not in it: manifests of before there were targets stay current.
        """
        looks: dict[str, object] = {"background": self.background, "watermark": self.watermark}
        if self.format == "webp":
            how = f" q={self.quality} effort={self.effort}/{self.full_effort}"
            looks |= {"target_bytes": self.target_bytes, "target_quality": self.target_quality}
        else:
            how = ""
        more = "".join(f" {name}={value}" for name, value in looks.items() if value is not None)
        return f"{self.format}/{PIPELINE}{how} ladder={self.ladder} codec={self.codec}{more}"


class DigestingHash:
    """Hashes an original while it streams past: its sha256, and the digest of it with a recipe."""

    def __init__(self) -> None:
        """Start with nothing read."""
        self._sha256 = hashlib.sha256()

    def update(self, chunk: bytes) -> None:
        """Take the next bytes of the original."""
        self._sha256.update(chunk)

    @property
    def sha256(self) -> str:
        """The hex sha256 of the bytes so far."""
        return self._sha256.hexdigest()

    def digest(self, recipe: Recipe, fence: int = 0) -> str:
        """The first 12 hex digits of sha256(original + recipe fingerprint).

        Behind a fence other names are needed than before it, so a fence that was ever raised is
        part of it too.
        """
        both = self._sha256.copy()
        both.update(recipe.fingerprint.encode())
        if fence:
            both.update(f" fence={fence}".encode())
        return both.hexdigest()[:12]
