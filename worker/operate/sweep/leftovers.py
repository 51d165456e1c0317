"""This module removes the renditions of one photo that crashes left behind.

A rendition that the manifest does not name is removed by one of two rules (docs/consistency.md):

- *Version*: it is older than the manifest's version, or as old as its tombstone. Events of that
  version have no effect any more.
- *Fence*: any other rendition may still be committed, now or by a message that comes back in a
  week. The sweep first raises the photo's fence; after that, workers cannot commit these names.
  This is safe at any age. Young renditions are spared only because a render must begin again after
  the fence was raised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from worker.errors import PublishFailed
from worker.handlers.manifests import Manifests
from worker.handlers.renditions import Renditions
from worker.operate.sweep.survey import SurveyedPhoto
from worker.operate.sweep.verify import Fault, FaultKind, Verified, Verifier
from worker.photo.events import Register
from worker.photo.layout import Layout
from worker.photo.manifest import Manifest, NoOp, State, fenced_after, reopened_after
from worker.photo.ports import StoredObject

_NO_MANIFEST = (FaultKind.UNREADABLE, FaultKind.ANOTHERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """The result of a sweep of one photo.

    `orphans` were removed, or would be without a dry run. `spared` are too young. `repaired` means
    that the faults were removed from the manifest, and the photo was registered again.
    """

    orphans: tuple[StoredObject, ...] = ()
    spared: tuple[StoredObject, ...] = ()
    faults: tuple[Fault, ...] = ()
    fenced: bool = False
    repaired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """Sweeps one photo at a time; thread-safe, and safe while workers and other sweeps run."""

    verifier: Verifier
    manifests: Manifests
    renditions: Renditions
    layout: Layout
    clock: Callable[[], datetime]
    fresh_id: Callable[[], str]
    older_than: timedelta
    dry_run: bool
    register_again: Callable[[Register], object] | None
    """Publishes an event; if it is `None`, untrue manifests are only reported."""

    def __call__(self, photo: SurveyedPhoto) -> Swept:
        """Verify the photo, and remove its orphans.

        Raises:
            Transient: the bucket does not answer; the next sweep removes the rest.
        """
        verified = self.verifier(photo)
        repaired = bool(verified.faults) and not self.dry_run and self._repair(verified)
        return replace(self._sweep(photo, verified), repaired=repaired)

    def _sweep(self, photo: SurveyedPhoto, verified: Verified) -> Swept:
        if any(fault.kind in _NO_MANIFEST for fault in verified.faults):
            # The names in this manifest cannot be read.
            return Swept(faults=verified.faults)
        named = verified.manifest.object_names if verified.manifest else frozenset()
        unnamed = [each for each in photo.renditions if each.name not in named]
        doomed = [each for each in unnamed if self._is_dead(each, photo, verified.manifest)]
        doubtful = [each for each in unnamed if each not in doomed]
        spared = doubtful if any(map(self._is_young, doubtful)) else []
        fenced = len(doubtful) > len(spared)
        if fenced:
            doomed = unnamed if self.dry_run else self._fence(photo, unnamed)
        if not self.dry_run:
            self.renditions.remove(each.name for each in doomed)
        return Swept(
            orphans=tuple(doomed), spared=tuple(spared), faults=verified.faults, fenced=fenced
        )

    def _is_dead(
        self, stored: StoredObject, photo: SurveyedPhoto, current: Manifest | None
    ) -> bool:
        """Return True if the version rule allows to remove the rendition."""
        version = self.layout.own_version(photo.photo_id, stored.name)
        if current is None or version is None:
            return False
        gone = current.state is State.DEREGISTERED and version == current.version
        return gone or version < current.version

    def _is_young(self, stored: StoredObject) -> bool:
        return self.clock() - stored.created < self.older_than

    def _fence(self, photo: SurveyedPhoto, unnamed: list[StoredObject]) -> list[StoredObject]:
        """Raise the fence; return the renditions, listed before, that no worker can commit now."""
        blank = self._blank(photo.photo_id)
        committed = self.manifests.commit(
            photo.photo_id, lambda current: fenced_after(current, blank)
        )
        if isinstance(committed, NoOp):
            return []
        # Some of them may have been committed since the manifest was read.
        return [each for each in unnamed if each.name not in committed.manifest.object_names]

    def _repair(self, verified: Verified) -> bool:
        """Make the manifest true again, and publish an event to render the photo again.

        If the sweep is killed in between, or the event is not confirmed, the manifest stays
        reopened, and a later sweep publishes. If the photo was refused since, no event is
        published, because it would be refused again.
        """
        untrue, publish = verified.manifest, self.register_again
        if publish is None or untrue is None or untrue.original is None:
            return False
        kinds = {fault.kind for fault in verified.faults}
        if FaultKind.LOST in kinds:
            return False
        if FaultKind.REOPENED in kinds:
            if self.clock() - untrue.committed_at < self.older_than:
                # Its event may still wait in the subscription.
                return False
        elif not self._reopen(untrue, frozenset(fault.object for fault in verified.faults)):
            return False
        try:
            publish(
                # The event has no generation: the original may have been replaced, and only its
                # present bytes can be rendered.
                Register(
                    photo_id=untrue.photo_id,
                    version=untrue.version,
                    original=f"gs://{untrue.original.bucket}/{untrue.original.object}",
                    labels=untrue.labels,
                )
            )
        except PublishFailed:
            return False
        return True

    def _reopen(self, untrue: Manifest, lost: frozenset[str]) -> bool:
        """Remove the lost renditions from it; return False if it was replaced meanwhile."""
        blank = self._blank(untrue.photo_id)
        committed = self.manifests.commit(
            untrue.photo_id, lambda current: reopened_after(current, untrue, lost, blank)
        )
        return not isinstance(committed, NoOp)

    def _blank(self, photo_id: str) -> Manifest:
        """Return a manifest for a photo that has none: a tombstone older than every event."""
        return Manifest(
            photo_id=photo_id,
            state=State.DEREGISTERED,
            version=0,
            commit_id=self.fresh_id(),
            committed_at=self.clock(),
        )
