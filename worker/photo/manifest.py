"""The manifest (`photo-manifest/1`): its schema, and the allowed changes of state.

The manifest is the only state of a photo. Pure functions in this module decide if an event changes
the manifest, and compute the next one. `handlers/manifests` writes it.
Versions only grow: an event older than the manifest changes nothing, and at equal versions a
deregistration wins. The fence only grows too: once it is raised, renditions get other names, so the
sweep may delete the old ones (docs/consistency.md).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, ValidationError

from worker.errors import Fenced, UnreadableManifest

SCHEMA: Literal["photo-manifest/1"] = "photo-manifest/1"


class State(StrEnum):
    """The state of a photo; readers may show a ready photo."""

    READY = "ready"
    REJECTED = "rejected"
    DEREGISTERED = "deregistered"


class NoOp(StrEnum):
    """Why an event changes nothing."""

    ALREADY_CURRENT = "already_current"
    SUPERSEDED = "superseded"


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


Moment = Annotated[datetime, PlainSerializer(_rfc3339, when_used="json")]


class _ManifestPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class OriginalFacts(_ManifestPart):
    """The original as it was rendered; `width` and `height` are as displayed, in pixels.

    Only the first of `pages` or frames is rendered. `camera` is maker and model.
    """

    bucket: str
    object: str
    generation: str
    bytes: int
    sha256: str
    format: str
    width: int
    height: int
    pages: int = 1
    taken_at: str | None = None
    camera: str | None = None


class Placeholder(_ManifestPart):
    """A placeholder while a page loads: base64 ThumbHash and the average colour, `#rrggbb`."""

    thumbhash: str
    color: str


class Rendition(_ManifestPart):
    """One stored WebP: size in pixels and bytes, base64 crc32c as GCS states it."""

    rung: str
    object: str
    width: int
    height: int
    bytes: int
    crc32c: str
    content_type: str = "image/webp"


class Rejection(_ManifestPart):
    """The newest permanent failure: which version, why, and when.

    `recipe` is the one that failed, `message_id` that of the event's message: by both a worker
    recognises the message when it is delivered again.
    """

    version: int
    reason: str
    message: str
    at: Moment
    recipe: str | None = Field(default=None, exclude_if=lambda recipe: recipe is None)
    message_id: str | None = Field(default=None, exclude_if=lambda number: number is None)

    def is_of(self, *, version: int, recipe: str, message_id: str | None) -> bool:
        """Whether it was this message that failed, with this recipe."""
        return message_id is not None and (self.version, self.recipe, self.message_id) == (
            version,
            recipe,
            message_id,
        )


class Manifest(_ManifestPart):
    """One photo's state. Each commit has a new `commit_id`, so a writer recognises its own write.

    The sweep writes a manifest with `version` 0 when it raises the fence of a photo that has no
    manifest. Every event is newer than version 0.
    """

    schema_: Literal["photo-manifest/1"] = Field(default=SCHEMA, alias="schema")
    photo_id: str
    state: State
    version: int
    commit_id: str
    committed_at: Moment
    recipe: str | None = None
    original: OriginalFacts | None = None
    placeholder: Placeholder | None = None
    renditions: tuple[Rendition, ...] = ()
    rejection: Rejection | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    fence: int = Field(default=0, exclude_if=lambda fence: fence == 0)

    model_config = ConfigDict(
        frozen=True, extra="ignore", validate_by_name=True, validate_by_alias=True
    )

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Read a stored manifest.

        Raises:
            UnreadableManifest: it is not JSON, or not of this schema.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise UnreadableManifest(str(error)) from error

    def to_json(self) -> bytes:
        """Return the stored form: compact UTF-8 JSON in the schema's field order."""
        return self.model_dump_json(by_alias=True).encode()

    @property
    def object_names(self) -> frozenset[str]:
        """The object names of the renditions that readers may request."""
        return frozenset(rendition.object for rendition in self.renditions)


def fence_of(current: Manifest | None) -> int:
    """Return the fence for the rendition names of an attempt that begins now."""
    return current.fence if current else 0


def register_no_op(current: Manifest | None, version: int, recipe: str) -> NoOp | None:
    """Return why a registration of `version` changes nothing; `None` if it changes something.

    At the same version, a ready manifest is current only if the recipe is the same: after a change
    of settings the photo is rendered again. After a rejection of the same version the photo is
    tried again, so an event can be replayed after its original was repaired.
    """
    if current is None or current.version < version:
        return None
    if current.version > version or current.state is State.DEREGISTERED:
        return NoOp.SUPERSEDED
    if current.state is State.READY and current.recipe == recipe:
        return NoOp.ALREADY_CURRENT
    return None


def deregister_no_op(current: Manifest | None, version: int) -> NoOp | None:
    """Return why a deregistration of `version` changes nothing; `None` if it changes something.

    `ALREADY_CURRENT` means that the tombstone exists; the photo's objects may not be deleted yet.
    """
    if current is None or current.version < version:
        return None
    if current.version == version:
        already = current.state is State.DEREGISTERED
        return NoOp.ALREADY_CURRENT if already else None
    return NoOp.SUPERSEDED


def ready_after(current: Manifest | None, ready: Manifest) -> Manifest:
    """Return the ready manifest to write; it keeps the rejection of a newer version.

    Raises:
        Fenced: the names of its renditions have another fence; the sweep may be deleting them.
    """
    if fence_of(current) != ready.fence:
        raise Fenced(f"the fence of {ready.photo_id!r} is {fence_of(current)}, not {ready.fence}")
    rejection = current.rejection if current else None
    keep = rejection is not None and rejection.version > ready.version
    return ready.model_copy(update={"rejection": rejection if keep else None})


def tombstone_after(current: Manifest | None, tombstone: Manifest) -> Manifest:
    """Return the manifest to write for a deregistration.

    If a newer version was rejected, the new state is `rejected` with that version and no
    renditions, not `deregistered`.
    """
    tombstone = tombstone.model_copy(update={"fence": fence_of(current)})
    rejection = current.rejection if current else None
    if rejection is None or rejection.version <= tombstone.version:
        return tombstone
    return tombstone.model_copy(
        update={"state": State.REJECTED, "version": rejection.version, "rejection": rejection}
    )


def rejected_after(current: Manifest | None, rejected: Manifest) -> Manifest | NoOp:
    """Return the manifest to write for a permanent failure, or why it changes nothing.

    A ready photo stays ready, and its manifest gets the rejection in addition. `rejected.recipe` is
    the recipe that failed. The same version may be ready with an older recipe. If the new recipe
    fails, that failure is recorded too.

    Raises:
        ValueError: `rejected` has no rejection.
    """
    rejection = rejected.rejection
    if rejection is None:
        raise ValueError("a rejected manifest needs its rejection")
    if current is None or (
        current.version < rejection.version and current.state is not State.READY
    ):
        return rejected.model_copy(update={"fence": fence_of(current)})
    if current.version > rejection.version or current.state is State.DEREGISTERED:
        return NoOp.SUPERSEDED
    known = current.rejection
    if known is not None and known.version > rejection.version:
        return NoOp.SUPERSEDED
    shown = current.state is State.READY and current.version == rejection.version
    if shown and current.recipe == rejected.recipe:
        # This version is ready with this recipe, so the failure of a duplicate does not matter.
        return NoOp.ALREADY_CURRENT
    return current.model_copy(
        update={
            "rejection": rejection,
            "commit_id": rejected.commit_id,
            "committed_at": rejected.committed_at,
        }
    )


def fenced_after(current: Manifest | None, fence: Manifest) -> Manifest:
    """Return the manifest to write when the sweep raises the fence; readers see no difference.

    `fence` is a tombstone of version 0; a photo without a manifest gets it.
    """
    if current is None:
        return fence.model_copy(update={"fence": 1})
    return current.model_copy(
        update={
            "fence": current.fence + 1,
            "commit_id": fence.commit_id,
            "committed_at": fence.committed_at,
        }
    )


def reopened_after(
    current: Manifest | None, untrue: Manifest, lost: frozenset[str], fence: Manifest
) -> Manifest | NoOp:
    """Return the manifest to write when some renditions of a ready photo are lost.

    It lists only the renditions that still exist. Its recipe is removed, so a registration of the
    same version renders again. If `untrue` is no longer the current manifest, nothing changes.
    """
    if current is None or current.commit_id != untrue.commit_id:
        return NoOp.SUPERSEDED
    kept = tuple(each for each in current.renditions if each.object not in lost)
    return fenced_after(current, fence).model_copy(update={"recipe": None, "renditions": kept})
