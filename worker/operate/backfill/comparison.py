"""Pure functions that compare an original with its photo's manifest.

They decide if a backfill publishes an event for the original, and which event. As in notifications,
an object's generation is its version, and its name is the photo id.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from worker.photo.events import Register
from worker.photo.manifest import Manifest, State
from worker.photo.ports import StoredObject


class Standing(StrEnum):
    """The state of a photo compared with its original; a backfill may publish the first four."""

    MISSING = "missing"
    """The photo lacks a manifest."""

    STALE_VERSION = "stale_version"
    """The manifest is of an older object, or of an older event."""

    STALE_RECIPE = "stale_recipe"
    """The photo was made from this object, with other settings or codecs than those in force."""

    REJECTED = "rejected"
    """A worker refused the original for good."""

    CURRENT = "current"
    """The photo was made from this object, with the settings and codecs in force."""

    NEWER = "newer"
    """The manifest has a newer version than the object, so an event would have no effect."""

    DEREGISTERED = "deregistered"
    """The photo's tombstone is newer than the object."""


PUBLISHED: Final = (
    Standing.MISSING,
    Standing.STALE_VERSION,
    Standing.STALE_RECIPE,
    Standing.REJECTED,
)


def wanted(*, stale: bool, only_missing: bool, rejected: bool) -> frozenset[Standing]:
    """Return what a backfill publishes: missing and stale photos, or one of both.

    `rejected` adds refused photos; a worker refuses them again unless something has changed.
    """
    chosen = set() if stale else {Standing.MISSING}
    if not only_missing:
        chosen |= {Standing.STALE_VERSION, Standing.STALE_RECIPE}
    return frozenset(chosen | ({Standing.REJECTED} if rejected else set()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """An original, its photo's standing, and the version that an event needs to count.

    `seen` is `seen_in` of the manifest that was compared, `made_by` its recipe. A `file` must be
    uploaded first. Until then `original` is the object that it replaces (generation 0: none), and
    `version` the least that counts.
    """

    original: StoredObject
    standing: Standing
    version: int
    labels: dict[str, str]
    seen: str
    made_by: str | None = None
    file: Path | None = None

    def uploaded(self, stored: StoredObject) -> Compared:
        """Return the comparison after the upload of its file."""
        version = max(self.version, stored.generation)
        return replace(self, original=stored, version=version, file=None)

    @property
    def event(self) -> Register:
        """Return the event for the listed generation; it keeps the photo's labels.

        Raises:
            ValidationError: the object's name cannot be a photo id.
        """
        original = self.original
        return Register(
            photo_id=original.name,
            version=self.version,
            original=f"gs://{original.bucket}/{original.name}",
            generation=str(original.generation),
            labels=self.labels,
        )


def compare(original: StoredObject, manifest: Manifest | None, recipe: str) -> Compared:
    """Compare a photo's manifest with its original in a bucket.

    `recipe` is the fingerprint in force. A photo that was made from this object keeps its version,
    which may be on another scale: after `photo-worker register` it is larger than the generation.
    """
    standing, version = _standing(original, manifest, recipe)
    return Compared(
        original=original,
        standing=standing,
        version=version,
        labels=_labels(manifest),
        seen=seen_in(manifest),
        made_by=manifest.recipe if manifest else None,
    )


def compare_file(file: Path, replacing: StoredObject, manifest: Manifest | None) -> Compared:
    """Compare a photo's manifest with a file whose bytes are not in the bucket.

    `replacing` is the object of its name (generation 0: none). A file never brings a deregistered
    photo back, because its age is unknown.
    """
    standing = Standing.MISSING
    if manifest is not None:
        standing = Standing.STALE_VERSION
        if manifest.state is State.DEREGISTERED:
            gone = manifest.version >= max(1, replacing.generation)
            standing = Standing.DEREGISTERED if gone else Standing.MISSING
    return Compared(
        original=replacing,
        standing=standing,
        version=manifest.version + 1 if manifest else 1,
        labels=_labels(manifest),
        seen=seen_in(manifest),
        file=file,
    )


def seen_in(manifest: Manifest | None) -> str:
    """Return a text that changes with the outcome of each event, but not with a raised fence."""
    if manifest is None:
        return ""
    rejection = manifest.rejection
    refused = (rejection.version, rejection.at) if rejection else None
    facts = (manifest.state.value, manifest.version, manifest.recipe, refused)
    return hashlib.blake2b(repr(facts).encode(), digest_size=8).hexdigest()


def _labels(manifest: Manifest | None) -> dict[str, str]:
    return manifest.labels if manifest and manifest.state is not State.DEREGISTERED else {}


def _standing(
    original: StoredObject, manifest: Manifest | None, recipe: str
) -> tuple[Standing, int]:
    generation = original.generation
    if manifest is None:
        return Standing.MISSING, generation
    if manifest.state is State.DEREGISTERED:
        gone = manifest.version >= generation
        return Standing.DEREGISTERED if gone else Standing.MISSING, generation
    refused = manifest.rejection.version if manifest.rejection else 0
    if manifest.state is State.READY and _is_made_from(manifest, original):
        return _of_this_object(manifest, recipe, refused), manifest.version
    if manifest.version >= generation and manifest.state is State.READY:
        return Standing.NEWER, generation
    if max(refused, manifest.version) >= generation:
        # With a smaller version, the event would have no effect or the rejection would stay.
        return Standing.REJECTED, max(refused, manifest.version)
    return Standing.STALE_VERSION, generation


def _of_this_object(manifest: Manifest, recipe: str, refused: int) -> Standing:
    if manifest.recipe == recipe:
        return Standing.CURRENT
    # The failure of a newer version does not count for this one.
    return Standing.REJECTED if refused == manifest.version else Standing.STALE_RECIPE


def _is_made_from(manifest: Manifest, original: StoredObject) -> bool:
    made_from = manifest.original
    return made_from is not None and (
        made_from.bucket == original.bucket
        and made_from.object == original.name
        and made_from.generation == str(original.generation)
    )
