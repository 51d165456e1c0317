"""Register: an original becomes a ladder of renditions and a ready manifest.

read manifest → check source → download → render and upload → commit → clean up
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from worker.errors import PERMANENT_BY_REASON, Reason
from worker.handlers.manifests import Committed, Manifests
from worker.handlers.originals import FetchedOriginal, Originals
from worker.handlers.renditions import LadderFolder, Renditions
from worker.handlers.steps import Steps
from worker.photo.events import Register
from worker.photo.header import PictureFacts
from worker.photo.manifest import (
    Manifest,
    NoOp,
    OriginalFacts,
    Placeholder,
    Rendition,
    State,
    fence_of,
    ready_after,
    register_no_op,
)
from worker.photo.outcome import Effect, Outcome, unchanged
from worker.photo.ports import Renderer


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterHandler:
    """Handles `photo.register`; thread-safe.

    Raises the errors of its parts. A `Permanent` error means that the event is bad, a `Transient`
    one that something around it failed. Readers see the change after the commit.
    """

    manifests: Manifests
    originals: Originals
    renditions: Renditions
    renderer: Renderer
    clock: Callable[[], datetime]
    fresh_id: Callable[[], str]
    scratch: Path

    def __call__(self, event: Register, steps: Steps, message_id: str | None = None) -> Outcome:
        """Bring the photo to this event's version.

        With a `message_id`, a message that is on record as rejected is refused again for the same
        reason, without another render. A new message of the same version is tried anew.
        """
        with steps.time("read_manifest"):
            seen = self.manifests.snapshot(event.photo_id)
        if no_op := self._no_op(event, seen.manifest):
            with steps.time("clean_up"):
                self._remove_own_if_superseded(event, no_op)
            return unchanged(no_op, seen.manifest)
        self._check_record(event, seen.manifest, message_id)
        self.originals.check_source(event)
        with tempfile.TemporaryDirectory(
            dir=self.scratch,
            prefix="photo-",
            # If an upload fails, the child may still be writing into this folder.
            ignore_cleanup_errors=True,
        ) as folder:
            ready = self._render_and_upload(event, fence_of(seen.manifest), Path(folder), steps)
        with steps.time("commit"):
            committed = self.manifests.commit(
                event.photo_id,
                lambda current: self._no_op(event, current) or ready_after(current, ready),
                seen,
            )
        with steps.time("clean_up"):
            self._remove_own_if_superseded(event, committed)
            self._remove_replaced(event, committed)
        if isinstance(committed, NoOp):
            return unchanged(committed, self.manifests.read(event.photo_id))
        return Outcome(effect=Effect.REGISTERED, manifest=committed.manifest)

    def _check_record(
        self, event: Register, current: Manifest | None, message_id: str | None
    ) -> None:
        rejection = current.rejection if current else None
        recipe = self.renderer.recipe.fingerprint
        if (
            rejection is not None
            and rejection.is_of(version=event.version, recipe=recipe, message_id=message_id)
            and rejection.reason in frozenset(Reason)
        ):
            error = PERMANENT_BY_REASON[Reason(rejection.reason)](rejection.message)
            error.on_record = True
            raise error

    def _no_op(self, event: Register, current: Manifest | None) -> NoOp | None:
        return register_no_op(current, event.version, self.renderer.recipe.fingerprint)

    def _render_and_upload(
        self, event: Register, fence: int, folder: Path, steps: Steps
    ) -> Manifest:
        """Download, render, and upload each rendition while the child encodes the next one.

        It waits for all uploads before it returns or raises. A later upload could come after the
        clean-up, or read from a deleted folder.
        """
        with steps.time("download"):
            original = self.originals.fetch(event, folder)
        ladder = LadderFolder(
            photo_id=event.photo_id,
            version=event.version,
            digest=original.hash.digest(self.renderer.recipe, fence),
        )
        rendering = self.renderer.render(original.path, folder)
        uploads: list[Future[Rendition]] = []
        with steps.time("render_and_upload"):
            try:
                for each in rendering:
                    span = steps.span("upload", rung=each.size.rung, bytes=each.size_bytes)
                    uploads.append(self.renditions.start_upload(ladder, each, span))
            finally:
                with steps.time("last_uploads"):
                    wait(uploads)
        uploaded = [upload.result() for upload in uploads]
        steps.note_render(
            bytes_in=original.stored.size_bytes,
            bytes_out=sum(rendition.bytes for rendition in uploaded),
            cost=rendering.cost,
        )
        return self._ready(event, fence, original, rendering.facts, uploaded)

    def _ready(
        self,
        event: Register,
        fence: int,
        original: FetchedOriginal,
        facts: PictureFacts,
        uploaded: list[Rendition],
    ) -> Manifest:
        return Manifest(
            photo_id=event.photo_id,
            state=State.READY,
            version=event.version,
            commit_id=self.fresh_id(),
            committed_at=self.clock(),
            recipe=self.renderer.recipe.fingerprint,
            original=OriginalFacts(
                bucket=original.stored.bucket,
                object=original.stored.name,
                generation=str(original.stored.generation),
                bytes=original.stored.size_bytes,
                sha256=original.hash.sha256,
                format=facts.format,
                width=facts.width,
                height=facts.height,
                pages=facts.pages,
                taken_at=facts.taken_at,
                camera=facts.camera,
            ),
            placeholder=Placeholder(thumbhash=facts.thumbhash, color=facts.color),
            renditions=tuple(sorted(uploaded, key=lambda each: (each.width, each.height))),
            labels=event.labels,
            fence=fence,
        )

    # After a newer version or a tombstone is committed, no worker can commit an older version, so
    # its renditions are deleted. Renditions of the *same* version are kept: another worker with
    # another recipe may commit them soon. The sweep deletes them later.

    def _remove_own_if_superseded(self, event: Register, committed: Committed | NoOp) -> None:
        """If the event is superseded, remove what this attempt or an earlier one uploaded."""
        if committed is NoOp.SUPERSEDED:
            self.renditions.remove_own(event.photo_id, event.version)

    def _remove_replaced(self, event: Register, committed: Committed | NoOp) -> None:
        """Remove the renditions of the older version that this event has replaced."""
        replaced = committed.replaced if isinstance(committed, Committed) else None
        if replaced is not None and replaced.version < event.version:
            self.renditions.remove(replaced.object_names)
