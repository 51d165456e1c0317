"""Manifests in the bucket: read the current manifest, and write the next one.

Only this module writes manifests. A write is conditioned on the generation that was read
(compare-and-swap), so of two workers one wins and the other reads again. Each call of a handler
uses a new `commit_id`. If the stored manifest has it, our write succeeded and only the response was
lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from worker.errors import ManifestContended, PreconditionFailed, UnreadableManifest
from worker.photo.layout import Layout
from worker.photo.manifest import Manifest, NoOp, State
from worker.photo.ports import ObjectStore

CACHE_CONTROL = "public, max-age=60"
"""Caches keep a manifest for one minute, so that many viewers at once do not all send requests to
the bucket."""

_ROUNDS = 16
"""After this many lost races, the message waits for redelivery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A write that succeeded: the new manifest, and the manifest that it replaced."""

    manifest: Manifest
    replaced: Manifest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A manifest as it was read, and its generation; `None` and 0 if there is no manifest."""

    manifest: Manifest | None
    generation: int


class Manifests:
    """The manifests under one prefix of one bucket; thread-safe."""

    def __init__(self, store: ObjectStore, bucket: str, layout: Layout) -> None:
        self._store = store
        self._bucket = bucket
        self._layout = layout

    def name(self, photo_id: str) -> str:
        """Return the object name of a photo's manifest."""
        return self._layout.manifest(photo_id)

    def read(self, photo_id: str) -> Manifest | None:
        """The current manifest of a photo, or whichever lies at its name.

        Raises:
            UnreadableManifest: something else lies there.
            StorageUnavailable: the bucket does not answer.
        """
        return self._look(photo_id).manifest

    def snapshot(self, photo_id: str) -> Snapshot:
        """A photo's own manifest with its generation, as `commit` takes it.

        Raises:
            UnreadableManifest: something else lies at its name, another photo's manifest included.
            StorageUnavailable: see `read`.
        """
        seen = self._look(photo_id)
        if seen.manifest is not None and seen.manifest.photo_id != photo_id:
            raise UnreadableManifest(
                f"{self.name(photo_id)} is the manifest of {seen.manifest.photo_id!r}, written "
                "with another WORKER_OUTPUT_PREFIX; give each worker a prefix that does not lie "
                "within another's"
            )
        return seen

    def _look(self, photo_id: str) -> Snapshot:
        found = self._store.read(self._bucket, self.name(photo_id))
        if found is None:
            return Snapshot(manifest=None, generation=0)
        data, generation = found
        return Snapshot(manifest=Manifest.from_json(data), generation=generation)

    def commit(
        self,
        photo_id: str,
        transition: Callable[[Manifest | None], Manifest | NoOp],
        seen: Snapshot | None = None,
    ) -> Committed | NoOp:
        """Write the manifest that `transition` makes of the current one, or return its `NoOp`.

        `transition` is called again after each lost race, and must use the same `commit_id` each
        time. `seen` is the manifest that the caller has read, perhaps minutes ago: the first write
        succeeds only if its generation is still the current one.

        Raises:
            ManifestContended: too many races lost.
            UnreadableManifest, StorageUnavailable: see `snapshot`.
        """
        seen = seen or self.snapshot(photo_id)
        for _ in range(_ROUNDS):
            following = transition(seen.manifest)
            if isinstance(following, NoOp):
                return following
            if self._swap_in(photo_id, following, seen.generation):
                return Committed(manifest=following, replaced=seen.manifest)
            replaced, seen = seen.manifest, self.snapshot(photo_id)
            if seen.manifest is not None and seen.manifest.commit_id == following.commit_id:
                # The write took place and only its response was lost.
                return Committed(manifest=following, replaced=replaced)
        raise ManifestContended(f"{photo_id!r}: lost {_ROUNDS} races for its manifest")

    def _swap_in(self, photo_id: str, manifest: Manifest, generation: int) -> bool:
        try:
            self._store.write(
                self._bucket,
                self.name(photo_id),
                manifest.to_json(),
                content_type="application/json",
                cache_control=CACHE_CONTROL,
                if_generation=generation,
                # The bucket's lifecycle rule counts a tombstone's days from this time.
                custom_time=(
                    manifest.committed_at if manifest.state is State.DEREGISTERED else None
                ),
            )
        except PreconditionFailed:
            return False
        return True
