"""Reject: record a permanent failure in the photo's manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from worker.errors import Permanent
from worker.handlers.manifests import Manifests
from worker.photo.events import Register
from worker.photo.manifest import (
    Manifest,
    NoOp,
    Rejection,
    State,
    register_no_op,
    rejected_after,
)
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

    def __call__(self, event: Register, error: Permanent, message_id: str | None = None) -> Outcome:
        """Record it, unless a newer version is known; a ready photo stays ready.

        What this message has on record already stays as it is, so its outcome keeps its
        `commit_id`. Without a `message_id`, it is recorded again.

        Raises:
            Transient: the manifest cannot be read or written now.
        """
        recipe = self.renderer.recipe.fingerprint
        seen = self.manifests.snapshot(event.photo_id)
        known = seen.manifest.rejection if seen.manifest else None
        if (
            known is not None
            and known.is_of(version=event.version, recipe=recipe, message_id=message_id)
            and register_no_op(seen.manifest, event.version, recipe) is None
        ):
            return Outcome(effect=Effect.REJECTED, manifest=seen.manifest)
        now = self.clock()
        rejected = Manifest(
            photo_id=event.photo_id,
            state=State.REJECTED,
            version=event.version,
            commit_id=self.fresh_id(),
            committed_at=now,
            recipe=recipe,
            rejection=Rejection(
                version=event.version,
                reason=error.reason.value,
                message=str(error)[:_MESSAGE_MAX],
                at=now,
                recipe=recipe,
                message_id=message_id,
            ),
            labels=event.labels,
        )
        committed = self.manifests.commit(
            event.photo_id, lambda current: rejected_after(current, rejected), seen
        )
        if isinstance(committed, NoOp):
            # The attempt that committed the current manifest may have died before it published the
            # outcome.
            already = committed is NoOp.ALREADY_CURRENT
            return unchanged(committed, self.manifests.read(event.photo_id) if already else None)
        return Outcome(effect=Effect.REJECTED, manifest=committed.manifest)
