"""This module checks if a ready manifest is true about its renditions (promise 1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from worker.errors import UnreadableManifest
from worker.handlers.manifests import Manifests
from worker.operate.sweep.survey import SurveyedPhoto
from worker.photo.manifest import Manifest, Rendition, State
from worker.photo.ports import ObjectStore, StoredObject


class FaultKind(StrEnum):
    """The kinds of untrue statements in a manifest."""

    MISSING = "missing"
    OTHER_SIZE = "other_size"
    OTHER_CHECKSUM = "other_checksum"
    UNREADABLE = "unreadable"
    ANOTHERS = "anothers"
    """The manifest is of another photo; the renditions that it names are not checked."""

    REOPENED = "reopened"
    """Lost renditions were removed from the manifest; the new registration is not handled yet."""

    LOST = "lost"
    """The new registration was refused: the original cannot be rendered again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One untrue statement of a manifest; `object` is the rendition, or the manifest itself."""

    photo_id: str
    kind: FaultKind
    object: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A manifest as it was read, and its untrue statements."""

    manifest: Manifest | None
    faults: tuple[Fault, ...]


class Verifier:
    """Compares manifests with the stored objects; read-only; thread-safe."""

    def __init__(self, store: ObjectStore, bucket: str, manifests: Manifests) -> None:
        self._store = store
        self._bucket = bucket
        self.manifests = manifests

    def __call__(self, photo: SurveyedPhoto) -> Verified:
        """Verify a photo; it takes one request if the listing agrees with the manifest.

        Meanwhile a worker may replace the manifest and delete the old renditions. So a fault counts
        only if a second read finds the same manifest.

        Raises:
            StorageUnavailable: the bucket does not answer.
        """
        verified = self._look(photo)
        while verified.faults:
            again = self._look(photo)
            if _commit_id(again) == _commit_id(verified):
                return again
            verified = again
        return verified

    def _look(self, photo: SurveyedPhoto) -> Verified:
        try:
            manifest = self.manifests.read(photo.photo_id)
        except UnreadableManifest as error:
            fault = Fault(
                photo_id=photo.photo_id,
                kind=FaultKind.UNREADABLE,
                object=self.manifests.name(photo.photo_id),
                message=f"no manifest of a schema known here: {_first_complaint(error)}",
            )
            return Verified(manifest=None, faults=(fault,))
        if manifest is not None and manifest.photo_id != photo.photo_id:
            fault = Fault(
                photo_id=photo.photo_id,
                kind=FaultKind.ANOTHERS,
                object=self.manifests.name(photo.photo_id),
                message=f"it says that it is the manifest of {manifest.photo_id!r}",
            )
            return Verified(manifest=None, faults=(fault,))
        if manifest is None or manifest.state is not State.READY:
            return Verified(manifest=manifest, faults=())
        if manifest.recipe is None:
            return Verified(manifest=manifest, faults=(self._reopened(manifest),))
        listed = {stored.name: stored for stored in photo.renditions}
        faults = [
            self._fault(photo.photo_id, rendition, listed.get(rendition.object))
            for rendition in manifest.renditions
        ]
        return Verified(manifest=manifest, faults=tuple(filter(None, faults)))

    def _reopened(self, manifest: Manifest) -> Fault:
        kind, message = FaultKind.REOPENED, "it waits for its registration to be handled"
        rejection = manifest.rejection
        if rejection is not None and rejection.version == manifest.version:
            kind = FaultKind.LOST
            message = f"it could not be rendered again, {rejection.reason}: {rejection.message}"
        return Fault(
            photo_id=manifest.photo_id,
            kind=kind,
            object=self.manifests.name(manifest.photo_id),
            message=f"some of its renditions were lost; {message}",
        )

    def _fault(
        self, photo_id: str, rendition: Rendition, listed: StoredObject | None
    ) -> Fault | None:
        if listed is not None and _difference(rendition, listed) is None:
            return None
        # The listing may be older than the rendition.
        difference = _difference(rendition, self._store.stat(self._bucket, rendition.object))
        if difference is None:
            return None
        kind, message = difference
        return Fault(photo_id=photo_id, kind=kind, object=rendition.object, message=message)


def _difference(stated: Rendition, stored: StoredObject | None) -> tuple[FaultKind, str] | None:
    if stored is None:
        return FaultKind.MISSING, "named by the manifest, but not there"
    if stored.size_bytes != stated.bytes:
        return FaultKind.OTHER_SIZE, f"{stored.size_bytes} bytes, the manifest says {stated.bytes}"
    if stored.crc32c != stated.crc32c:
        return (
            FaultKind.OTHER_CHECKSUM,
            f"crc32c {stored.crc32c}, the manifest says {stated.crc32c}",
        )
    return None


def _first_complaint(error: UnreadableManifest) -> str:
    """Return the first complaint, which follows the line that counts them."""
    return " ".join(" ".join(str(error).splitlines()[1:3]).split()) or str(error)


def _commit_id(verified: Verified) -> str | None:
    return verified.manifest.commit_id if verified.manifest else None
