"""Reject: record a permanent failure in the photo's manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from worker.errors import Permanent
from worker.handlers.manifests import Manifests
from worker.photo.events import Register
from worker.photo.manifest import Manifest, NoOp, Rejection, State, rejected_after
from worker.photo.outcome import Effect, Outcome, unchanged
from worker.photo.ports import Renderer

_MESSAGE_MAX = 500
"""Characters. A decoder's error message can fill pages, and browsers download manifests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejector:
    """Records permanent failures of registrations; thread-safe."""

    manifests: Manifests
    renderer: Renderer
    clock: Callable[[], datetime]
    fresh_id: Callable[[], str]

    def __call__(self, event: Register, error: Permanent) -> Outcome:
        """Record the failure unless the manifest makes it irrelevant; a ready photo stays ready.

        Raises:
            Transient: the manifest cannot be read or written now.
        """
        now = self.clock()
        rejected = Manifest(
            photo_id=event.photo_id,
            state=State.REJECTED,
            version=event.version,
            commit_id=self.fresh_id(),
            committed_at=now,
            recipe=self.renderer.recipe.fingerprint,
            rejection=Rejection(
                version=event.version,
                reason=error.reason.value,
                message=str(error)[:_MESSAGE_MAX],
                at=now,
            ),
            labels=event.labels,
        )
        committed = self.manifests.commit(
            event.photo_id, lambda current: rejected_after(current, rejected)
        )
        if isinstance(committed, NoOp):
            # The attempt that committed the current manifest may have died before it published the
            # outcome.
            already = committed is NoOp.ALREADY_CURRENT
            return unchanged(committed, self.manifests.read(event.photo_id) if already else None)
        return Outcome(effect=Effect.REJECTED, manifest=committed.manifest)
