"""Deregister: a tombstone first, then the photo's own objects and nobody else's.

swap in the tombstone → delete → outcome
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from worker.handlers.manifests import Manifests
from worker.handlers.renditions import Renditions
from worker.handlers.steps import Steps
from worker.photo.events import Deregister
from worker.photo.manifest import Manifest, State, Superseded, deregister_is_moot, tombstone_after
from worker.photo.outcome import Effect, Outcome, unchanged


@dataclass(frozen=True, slots=True, kw_only=True)
class DeregisterHandler:
    """Handles `photo.deregister`; thread-safe, idempotent.

    The tombstone comes before the deletes, also where nothing was registered: without it a
    registration that is still on its way would bring the photo back.
    """

    manifests: Manifests
    renditions: Renditions
    clock: Callable[[], datetime]
    fresh_id: Callable[[], str]

    def __call__(self, event: Deregister, steps: Steps) -> Outcome:
        """Remove the photo up to this event's version."""
        tombstone = Manifest(
            photo_id=event.photo_id,
            state=State.DEREGISTERED,
            version=event.version,
            commit_id=self.fresh_id(),
            committed_at=self.clock(),
        )
        with steps.time("commit"):
            committed = self.manifests.commit(
                event.photo_id,
                lambda current: (
                    deregister_is_moot(current, event.version)
                    or tombstone_after(current, tombstone)
                ),
            )
        with steps.time("delete"):
            # Also behind a tombstone of this very version, or a newer manifest: the worker that
            # swapped in the tombstone may have died before this.
            steps.facts["deleted"] = self.renditions.remove_own(event.photo_id, event.version)
        if committed is Superseded.SUPERSEDED:
            return Outcome(effect=Effect.SUPERSEDED, manifest=self._untold(event))
        if isinstance(committed, Superseded):
            return unchanged(committed, self.manifests.read(event.photo_id))
        return Outcome(effect=Effect.DEREGISTERED, manifest=committed.manifest)

    def _untold(self, event: Deregister) -> Manifest | None:
        """A rejected manifest that this very event may have committed, and died before telling.

        Only then does a deregistration leave something newer than itself (`tombstone_after`).
        """
        current = self.manifests.read(event.photo_id)
        return current if current is not None and current.state is State.REJECTED else None
