"""The recipe: everything that decides the bytes of a ladder, and the digest that names them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from worker.photo.ladder import Ladder
from worker.photo.looks import Looks

PIPELINE = 2
"""Raise this number whenever the rendering code itself changes the bytes of renditions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The ladder of renditions, their looks, and the libraries that encode them (`codec`)."""

    ladder: Ladder
    looks: Looks
    codec: str

    @property
    def fingerprint(self) -> str:
        """One readable line; equal lines promise equal renditions of equal originals.

        Options that are not set are left out, so manifests older than an option stay current.
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
    """A hash of an original, fed in pieces: its sha256, and its digest with a recipe."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def update(self, chunk: bytes) -> None:
        """Add the next bytes of the original."""
        self._sha256.update(chunk)

    @property
    def sha256(self) -> str:
        """The hex sha256 of the bytes so far."""
        return self._sha256.hexdigest()

    def digest(self, recipe: Recipe, fence: int = 0) -> str:
        """Return the first 12 hex digits of sha256(original + recipe fingerprint).

        A fence above 0 is also part of the hash, so names after a raised fence differ from earlier
        names.
        """
        both = self._sha256.copy()
        both.update(recipe.fingerprint.encode())
        if fence:
            both.update(f" fence={fence}".encode())
        return both.hexdigest()[:12]
