"""Manifests in the bucket: reading one, and swapping the next one in.

The only room that writes a manifest. A write is conditioned on the generation that was read
(compare-and-swap), so that of two workers one wins and the other looks again. A lost response is
told from a lost race by the `commit_id`, which is fresh for each call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from worker.errors import ManifestContended, PreconditionFailed
from worker.photo.layout import Layout
from worker.photo.manifest import Manifest, State, Superseded
from worker.photo.ports import ObjectStore

CACHE_CONTROL = "public, max-age=60"
"""Manifests change; a minute spares the bucket the crowd of an event."""

_ROUNDS = 16
"""A photo with more writers than this at one instant waits for redelivery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A swap that took place: what stands now, and what stood before."""

    manifest: Manifest
    replaced: Manifest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What stood at a moment: a manifest, or none, and the generation that a swap is to replace."""

    manifest: Manifest | None
    generation: int


class Manifests:
    """The manifests under one prefix of one bucket; thread-safe."""

    def __init__(self, store: ObjectStore, bucket: str, layout: Layout) -> None:
        """Touch nothing yet."""
        self._store = store
        self._bucket = bucket
        self._layout = layout

    def name(self, photo_id: str) -> str:
        """The name of a photo's manifest."""
        return self._layout.manifest(photo_id)

    def read(self, photo_id: str) -> Manifest | None:
        """The current manifest of a photo.

        Raises:
            UnreadableManifest: something else lies at its name.
            StorageUnavailable: the bucket does not answer.
        """
        return self.look(photo_id).manifest

    def look(self, photo_id: str) -> Standing:
        """The same, and what a swap of it needs.

        Raises:
            UnreadableManifest, StorageUnavailable: see `read`.
        """
        found = self._store.read(self._bucket, self.name(photo_id))
        if found is None:
            return Standing(manifest=None, generation=0)
        data, generation = found
        return Standing(manifest=Manifest.from_json(data), generation=generation)

    def commit(
        self,
        photo_id: str,
        transition: Callable[[Manifest | None], Manifest | Superseded],
        standing: Standing | None = None,
    ) -> Committed | Superseded:
        """Swap in what `transition` makes of the current manifest, or learn why it is moot.

        `transition` is asked again after each lost race, and must give its manifest the same
        `commit_id` each time. `standing` is what the caller has seen, however long ago: the swap is
        conditioned on its generation, so that it succeeds only if that is the current one still.

        Raises:
            ManifestContended: too many races lost.
            UnreadableManifest, StorageUnavailable: see `read`.
        """
        standing = standing or self.look(photo_id)
        for _ in range(_ROUNDS):
            following = transition(standing.manifest)
            if isinstance(following, Superseded):
                return following
            try:
                self._store.write(
                    self._bucket,
                    self.name(photo_id),
                    following.to_json(),
                    content_type="application/json",
                    cache_control=CACHE_CONTROL,
                    if_generation=standing.generation,
                    custom_time=_expires_from(following),
                )
            except PreconditionFailed:
                replaced, standing = standing.manifest, self.look(photo_id)
                current = standing.manifest
                if current is not None and current.commit_id == following.commit_id:
                    # The write took place and only its response was lost.
                    return Committed(manifest=following, replaced=replaced)
            else:
                return Committed(manifest=following, replaced=standing.manifest)
        raise ManifestContended(f"{photo_id!r}: lost {_ROUNDS} races for its manifest")


def _expires_from(manifest: Manifest) -> datetime | None:
    """`customTime` of a tombstone: what a lifecycle rule counts its days from."""
    return manifest.committed_at if manifest.state is State.DEREGISTERED else None
