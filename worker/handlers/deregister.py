"""Deregister: write a tombstone, then delete the photo's own renditions.

commit the tombstone → delete
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from worker.handlers.manifests import Manifests
from worker.handlers.renditions import Renditions
from worker.handlers.steps import Steps
from worker.photo.events import Deregister
from worker.photo.manifest import Manifest, NoOp, State, deregister_no_op, tombstone_after
from worker.photo.outcome import Effect, Outcome, unchanged


@dataclass(frozen=True, slots=True, kw_only=True)
class DeregisterHandler:
    """Handles `photo.deregister`; thread-safe, idempotent.

    It writes the tombstone even if the photo was not registered, because a registration may still
    be on its way.
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
                    deregister_no_op(current, event.version) or tombstone_after(current, tombstone)
                ),
            )
        with steps.time("delete"):
            # Delete also when the commit changed nothing. An earlier worker may have written the
            # tombstone and died before it deleted the renditions.
            steps.facts["deleted"] = self.renditions.remove_own(event.photo_id, event.version)
        if not isinstance(committed, NoOp):
            return Outcome(effect=Effect.DEREGISTERED, manifest=committed.manifest)
        current = self.manifests.read(event.photo_id)
        if committed is NoOp.ALREADY_CURRENT:
            return unchanged(committed, current)
        # `tombstone_after` may leave a rejection that is newer than this event. An earlier attempt
        # may have committed that rejection and died before it published the outcome.
        rejected = current is not None and current.state is State.REJECTED
        return Outcome(effect=Effect.SUPERSEDED, manifest=current if rejected else None)
