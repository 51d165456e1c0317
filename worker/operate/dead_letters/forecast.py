"""This module predicts what a replay of a dead letter would do now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from worker.errors import OriginalMissing, Permanent
from worker.handlers.manifests import Manifests
from worker.handlers.originals import Originals
from worker.photo.dead_letter import UNDELIVERABLE, DeadLetter
from worker.photo.events import Buckets, Deregister, Ignored, Register, parse
from worker.photo.manifest import Manifest, deregister_no_op, register_no_op
from worker.photo.ports import StoredObject
from worker.render.probe import Probed, ProbedPicture


class Replayed(StrEnum):
    """The result of a replay."""

    APPLIES = "applies"
    ALREADY_CURRENT = "already_current"
    SUPERSEDED = "superseded"
    IGNORED = "ignored"
    FAILS_AGAIN = "fails_again"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The predicted result of a replay and its reason; the photo's state as far as it was read."""

    replayed: Replayed
    why: str
    manifest: Manifest | None = None
    original: StoredObject | None = None
    header: ProbedPicture | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecaster:
    """Judges a photo as a worker with these settings would; read-only; thread-safe.

    `recipe` is the fingerprint of the worker's recipe; `probe` decodes an original.
    """

    buckets: Buckets
    manifests: Manifests
    originals: Originals
    recipe: str
    probe: Callable[[StoredObject], Probed]

    def __call__(self, letter: DeadLetter) -> Forecast:
        """Predict the result of one letter.

        Raises:
            Transient: a bucket does not answer, or the manifest cannot be parsed.
        """
        try:
            event = parse(letter.data, letter.attributes, self.buckets)
        except Permanent as error:
            return Forecast(replayed=Replayed.FAILS_AGAIN, why=f"{error.reason}: {error}")
        if isinstance(event, Ignored):
            return Forecast(replayed=Replayed.IGNORED, why=event.why)
        manifest = self.manifests.read(event.photo_id)
        if isinstance(event, Deregister):
            moot = deregister_no_op(manifest, event.version)
        else:
            moot = register_no_op(manifest, event.version, self.recipe)
        if moot is not None:
            return Forecast(
                replayed=Replayed(moot.value),
                why=f"the manifest stands at version {manifest.version if manifest else 0}",
                manifest=manifest,
            )
        if isinstance(event, Deregister):
            return Forecast(replayed=Replayed.APPLIES, why="not done yet", manifest=manifest)
        return self._of_registration(letter, event, manifest)

    def _of_registration(
        self, letter: DeadLetter, event: Register, manifest: Manifest | None
    ) -> Forecast:
        try:
            self.originals.check_source(event)
            original = self.originals.find(event)
        except Permanent as error:
            why = f"{error.reason}: {error}"
            if event.generation is not None and isinstance(error, OriginalMissing):
                why += " (another upload is another generation: publish anew, and purge this)"
            return Forecast(replayed=Replayed.FAILS_AGAIN, why=why, manifest=manifest)
        probed = self.probe(original)
        found: Any = {"manifest": manifest, "original": original, "header": probed.picture}
        if probed.refused is not None:
            why = f"{probed.refused.reason}: {probed.refused}"
            if original.created <= letter.published_at:
                why += " (the original has not changed since)"
            return Forecast(replayed=Replayed.FAILS_AGAIN, why=why, **found)
        why = f"{letter.reason} does not show here: the original decodes"
        # An original that decodes here may still crash an encoder, or its machine was full.
        unsure = letter.reason == UNDELIVERABLE or letter.reason.startswith("render_")
        replayed = Replayed.UNCERTAIN if unsure else Replayed.APPLIES
        return Forecast(replayed=replayed, why=why, **found)
