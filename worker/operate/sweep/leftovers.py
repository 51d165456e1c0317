"""Sweep: what crashes left behind goes, and nothing that a reader or a running worker may need.

Two rules say which of the renditions that no manifest names can go (docs/consistency.md):

- *Version*: older than what the manifest stands at, or no newer than its tombstone. No event can
  bring these back.
- *Fence*: any other may be about to be committed, today or by a message that comes back in a week.
  The sweep first raises the photo's fence, behind which its names are dead. Age plays no part in
  that being safe; young ones are only left alone because an attempt that meets a new fence has to
  begin again.
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
    """What became of one photo's leftovers.

    `orphans` were removed, or would have been in a dry run. `spared` are too young. `repaired`:
    the faults were struck out of the manifest, and the photo was registered again.
    """

    orphans: tuple[StoredObject, ...] = ()
    spared: tuple[StoredObject, ...] = ()
    faults: tuple[Fault, ...] = ()
    fenced: bool = False
    repaired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """Sweeps one photo at a time; thread-safe, and safe beside workers and other sweeps."""

    verifier: Verifier
    manifests: Manifests
    renditions: Renditions
    layout: Layout
    clock: Callable[[], datetime]
    fresh_id: Callable[[], str]
    older_than: timedelta
    dry_run: bool
    register_again: Callable[[Register], object] | None
    """Publishes an event; `None`: untrue manifests are only reported."""

    def __call__(self, photo: SurveyedPhoto) -> Swept:
        """Verify the photo, and remove its orphans.

        Raises:
            Transient: the bucket does not answer; what is left is for the next sweep.
        """
        verified = self.verifier(photo)
        repaired = bool(verified.faults) and not self.dry_run and self._repair(verified)
        return replace(self._sweep(photo, verified), repaired=repaired)

    def _sweep(self, photo: SurveyedPhoto, verified: Verified) -> Swept:
        if any(fault.kind in _NO_MANIFEST for fault in verified.faults):
            # Whatever this manifest names, it cannot be asked.
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
        """The version rule."""
        version = self.layout.own_version(photo.photo_id, stored.name)
        if current is None or version is None:
            return False
        gone = current.state is State.DEREGISTERED and version == current.version
        return gone or version < current.version

    def _is_young(self, stored: StoredObject) -> bool:
        return self.clock() - stored.created < self.older_than

    def _fence(self, photo: SurveyedPhoto, unnamed: list[StoredObject]) -> list[StoredObject]:
        """Raise the fence; which of the renditions, all listed before, are behind it now."""
        blank = self._blank(photo.photo_id)
        committed = self.manifests.commit(
            photo.photo_id, lambda current: fenced_after(current, blank)
        )
        if isinstance(committed, NoOp):
            return []
        # Between the look and the fence some of them may have been committed.
        return [each for each in unnamed if each.name not in committed.manifest.object_names]

    def _repair(self, verified: Verified) -> bool:
        """Make the manifest true again, and have the photo rendered anew.

        Killed in between, or without a confirmation, the manifest stays reopened, and a later sweep
        publishes. One that was refused since is left: another event would only be refused again.
        """
        untrue, publish = verified.manifest, self.register_again
        if publish is None or untrue is None or untrue.original is None:
            return False
        kinds = {fault.kind for fault in verified.faults}
        if FaultKind.LOST in kinds:
            return False
        if FaultKind.REOPENED in kinds:
            if self.clock() - untrue.committed_at < self.older_than:
                # Its event may still be on its way.
                return False
        elif not self._reopen(untrue, frozenset(fault.object for fault in verified.faults)):
            return False
        try:
            publish(
                # Not pinned to the generation that was rendered: the original may have been
                # written again, and what lies there is all that can be rendered.
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
        """Strike out what is lost; false if the manifest was replaced meanwhile."""
        blank = self._blank(untrue.photo_id)
        committed = self.manifests.commit(
            untrue.photo_id, lambda current: reopened_after(current, untrue, lost, blank)
        )
        return not isinstance(committed, NoOp)

    def _blank(self, photo_id: str) -> Manifest:
        """What a photo without a manifest gets: a tombstone older than every event."""
        return Manifest(
            photo_id=photo_id,
            state=State.DEREGISTERED,
            version=0,
            commit_id=self.fresh_id(),
            committed_at=self.clock(),
        )
