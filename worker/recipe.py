"""The recipe: everything that decides the bytes of a ladder, and the digest that names them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from worker.ladder import Ladder

PIPELINE = 2
"""Raised whenever the rendering code itself changes what comes out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How originals become renditions.

    `quality` is WebP's 0-100, `effort` its 0-6 (`full_effort` for the `full` rung, which holds
    more than half of the pixels); `codec` names the libraries that encode.
    """

    ladder: Ladder
    quality: int
    effort: int
    full_effort: int
    codec: str

    @property
    def fingerprint(self) -> str:
        """One readable line; equal lines promise equal renditions of equal originals."""
        return (
            f"webp/{PIPELINE} q={self.quality} effort={self.effort}/{self.full_effort} "
            f"ladder={self.ladder} codec={self.codec}"
        )


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
