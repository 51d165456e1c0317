"""Object names: the names of a photo's manifest and renditions, and the owner of an object.

Photo ids nest (`a`, `a/b`, even `a/17-3fd0c1a2b4e5`), so a prefix does not decide ownership. An
object belongs to a photo only if the whole name after the photo's folder has the exact shape of a
rendition's, one directory deep.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_OWN = re.compile(
    r"(?P<version>[1-9][0-9]{0,18})-(?P<digest>[0-9a-f]{12})/(?:[1-9][0-9]*|full)\.webp"
)
MANIFEST = "manifest.json"

PREFIX_MAX_BYTES = 170
"""What the longest photo id, version, digest and rung leave of an object name's 1,024 bytes."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The photo that an object belongs to; `version` is `None` for its manifest."""

    photo_id: str
    version: int | None


@dataclass(frozen=True, slots=True)
class Layout:
    """Names under one output prefix, such as `photos/` (it ends with a slash)."""

    prefix: str

    def manifest(self, photo_id: str) -> str:
        """Return `photos/{photo_id}/manifest.json`."""
        return f"{self.prefix}{photo_id}/{MANIFEST}"

    def rendition(self, photo_id: str, version: int, digest: str, rung: str) -> str:
        """Return `photos/{photo_id}/{version}-{digest}/{rung}.webp`."""
        return f"{self.prefix}{photo_id}/{version}-{digest}/{rung}.webp"

    def own_range(self, photo_id: str) -> tuple[str, str, str]:
        """Return the range of a listing with all own renditions: prefix, first name, end name.

        The end name is excluded. Own folders begin with a digit, so a listing of album `a` skips
        nearly all photos `a/...` below it. Check each listed name with `own_version`.
        """
        folder = f"{self.prefix}{photo_id}/"
        return folder, f"{folder}0", f"{folder}:"

    def own_version(self, photo_id: str, name: str) -> int | None:
        """Return the version of a rendition of this photo; `None` for another object."""
        folder = f"{self.prefix}{photo_id}/"
        if not name.startswith(folder):
            return None
        match = _OWN.fullmatch(name, len(folder))
        return int(match["version"]) if match else None

    def owner(self, name: str) -> Owner | None:
        """Return the photo that an object belongs to, by its name; `None` for foreign objects."""
        folder, _, last = name.removeprefix(self.prefix).rpartition("/")
        if not folder or not name.startswith(self.prefix):
            return None
        if last == MANIFEST:
            return Owner(folder, None)
        photo_id, _, own_folder = folder.rpartition("/")
        match = _OWN.fullmatch(f"{own_folder}/{last}")
        return Owner(photo_id, int(match["version"])) if photo_id and match else None

    def is_output(self, name: str) -> bool:
        """Return True if an object lies under the output prefix."""
        return name.startswith(self.prefix)
