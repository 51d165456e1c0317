"""This module reads the outcomes of the first replayed letters from their photos' manifests.

An event has ended if the manifest has its version or a newer one, or if the manifest has a
rejection of its version that it did not have before the replay. If an event is older than the
rejection on record, its failure leaves no record; it counts as superseded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.errors import Permanent
from worker.handlers.manifests import Manifests
from worker.photo.dead_letter import DeadLetter
from worker.photo.events import Buckets, Deregister, Ignored, Register, parse
from worker.photo.manifest import Manifest, State

_LOOK_SECONDS = 0.5

Tick = Callable[[int], object]
"""It is called again and again with the number of outcomes to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The outcome of one replayed letter."""

    message_id: str
    photo_id: str
    ok: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryWatch:
    """Watches manifests, read-only. A letter without an outcome after `seconds` has failed."""

    buckets: Buckets
    manifests: Manifests
    seconds: float
    sleep: Callable[[float], object] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def __call__(self, letters: Sequence[DeadLetter]) -> Callable[[Tick], list[Verdict]]:
        """Read the manifests before these letters are replayed; call the result to wait.

        Raises:
            Transient: a manifest cannot be read, now or while waiting.
        """
        watched = [self._watch(letter) for letter in letters]

        def wait(tick: Tick) -> list[Verdict]:
            give_up = self.clock() + self.seconds
            verdicts: list[Verdict] = []
            for each in watched:
                left = len(watched) - len(verdicts)
                verdicts.append(self._wait(each, give_up, lambda left=left: tick(left)))  # type: ignore[misc]
            return verdicts

        return wait

    def _watch(self, letter: DeadLetter) -> _Watched:
        try:
            event = parse(letter.data, letter.attributes, self.buckets)
        except Permanent as error:
            return _Watched(letter, None, None, f"{error.reason}: {error}")
        if isinstance(event, Ignored):
            return _Watched(letter, None, None, None)
        return _Watched(letter, event, self.manifests.read(event.photo_id), None)

    def _wait(self, watched: _Watched, give_up: float, tick: Callable[[], object]) -> Verdict:
        letter, event = watched.letter, watched.event
        if event is None:
            ok = watched.refused is None
            return _verdict(letter, ok=ok, why=watched.refused or "ignored, it is no event")
        while True:
            manifest = self.manifests.read(event.photo_id)
            judged = _judge(event, watched.before, manifest)
            if judged is not None:
                return _verdict(letter, ok=judged[0], why=judged[1])
            if self.clock() >= give_up:
                return _verdict(letter, ok=False, why=f"no outcome within {self.seconds:.0f} s")
            tick()
            self.sleep(_LOOK_SECONDS)


@dataclass(frozen=True, slots=True)
class _Watched:
    letter: DeadLetter
    event: Register | Deregister | None
    before: Manifest | None
    refused: str | None


def _judge(
    event: Register | Deregister, before: Manifest | None, now: Manifest | None
) -> tuple[bool, str] | None:
    """Return whether the event ended well, and the reason; `None` until it ends."""
    if now is None:
        return None
    if now.version < event.version and not _rejected(event, now):
        return _behind_a_rejection(event, now)
    if now.version > event.version:
        return True, f"superseded by version {now.version}"
    if _rejected(event, now) and now.rejection is not None:
        # A rejection from before the replay does not count.
        again = before is None or now.rejection != before.rejection
        return (False, f"{now.rejection.reason}: {now.rejection.message}") if again else None
    if isinstance(event, Deregister) and now.state is not State.DEREGISTERED:
        return None
    return True, now.state.value


def _rejected(event: Register | Deregister, now: Manifest) -> bool:
    rejection = now.rejection
    return (
        isinstance(event, Register) and rejection is not None and rejection.version == event.version
    )


def _behind_a_rejection(event: Register | Deregister, now: Manifest) -> tuple[bool, str] | None:
    # A deregistration older than a rejection still changes the manifest, see `tombstone_after`.
    if isinstance(event, Deregister) or now.rejection is None:
        return None
    if now.rejection.version < event.version:
        return None
    return True, f"superseded by the rejection of version {now.rejection.version}"


def _verdict(letter: DeadLetter, *, ok: bool, why: str) -> Verdict:
    return Verdict(message_id=letter.message_id, photo_id=letter.photo_id, ok=ok, why=why)
