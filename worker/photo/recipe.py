"""The recipe: everything that decides the bytes of a ladder, and the digest that names them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from worker.photo.ladder import Ladder
from worker.photo.looks import Looks

PIPELINE = 2
"""Raised whenever the rendering code itself changes what comes out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Which renditions an original gets, how they look, and the libraries that encode them."""

    ladder: Ladder
    looks: Looks
    codec: str

    @property
    def fingerprint(self) -> str:
        """One readable line; equal lines promise equal renditions of equal originals.

        It leaves out options that are not set, so manifests older than an option stay current.
        """
        looks = self.looks
        options: dict[str, object] = {"background": looks.background, "watermark": looks.watermark}
        how = ""
        if looks.format == "webp":
            how = f" q={looks.quality} effort={looks.effort}/{looks.full_effort}"
            options["target_bytes"] = looks.target_bytes
            options["target_quality"] = looks.target_quality
        more = "".join(f" {name}={value}" for name, value in options.items() if value is not None)
        return f"{looks.format}/{PIPELINE}{how} ladder={self.ladder} codec={self.codec}{more}"


class DigestingHash:
    """Hashes an original while it streams past: its sha256, and the digest of it with a recipe."""

    def __init__(self) -> None:
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

        A fence that was ever raised is part of it too: names behind it differ from those before.
        """
        both = self._sha256.copy()
        both.update(recipe.fingerprint.encode())
        if fence:
            both.update(f" fence={fence}".encode())
        return both.hexdigest()[:12]
