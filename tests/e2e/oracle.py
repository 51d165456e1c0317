"""What the contract says each photo must be in the end, whatever happens on the way.

Knows nothing of the worker's code: the verdicts are read off the list of events alone, by the rules
of docs/contract.md, so that a mistake in the worker cannot hide in its own test.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One event to publish. `reason`: why it must fail, if it is ever looked at in earnest."""

    photo_id: str
    version: int
    kind: Literal["register", "deregister", "invalid"]
    original: str = ""
    pinned: bool = False
    foreign: bool = False
    reason: str | None = None
    body: bytes = b""
    after: str | None = None
    """Published only after this state of its original was uploaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One state of an original; `key` names it, `name` is the object's."""

    key: str
    name: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One way in which a photo may end: its manifest's state, version, and rejected version."""

    state: str
    version: int
    rejected: int | None = None

    @classmethod
    def of(cls, manifest: Mapping[str, Any] | None) -> Verdict | None:
        if manifest is None:
            return None
        rejection = manifest["rejection"]
        return cls(
            state=manifest["state"],
            version=manifest["version"],
            rejected=rejection["version"] if rejection else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """What happens at one go: originals change, then events are published."""

    uploads: tuple[Upload, ...]
    events: tuple[Said, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Everything that will be said about the photos."""

    bursts: tuple[Burst, ...]
    _by_photo: dict[str, list[Said]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for event in self.events():
            if event.kind != "invalid":
                self._by_photo.setdefault(event.photo_id, []).append(event)

    def events(self) -> Iterator[Said]:
        return itertools.chain.from_iterable(burst.events for burst in self.bursts)

    @property
    def photo_ids(self) -> list[str]:
        return sorted(self._by_photo)

    def verdicts(self, photo_id: str) -> frozenset[Verdict]:
        """Every way in which the contract allows this photo to end."""
        events = self._by_photo[photo_id]
        top = max(event.version for event in events)
        removed = max((e.version for e in events if e.kind == "deregister"), default=0)
        good = max((e.version for e in events if _is_good(e)), default=0)
        if removed == top:
            # At equal versions deregister wins.
            return frozenset({Verdict(state="deregistered", version=top)})
        if good == top:
            return frozenset({Verdict(state="ready", version=top)})
        # The highest version is one that must fail. What was ready before it stays ready.
        failed = {Verdict(state="rejected", version=top, rejected=top)}
        if good > removed:
            failed.add(Verdict(state="ready", version=good, rejected=top))
        return frozenset(failed)

    def is_overdue(self, event: Said) -> bool:
        """Whether this event has no other legal end than a dead letter.

        One that must fail may instead be superseded, if its photo has moved on before.
        """
        if event.kind == "invalid":
            return True
        if event.reason is None:
            return False
        others = self._by_photo[event.photo_id]
        return not any(
            other.version > event.version
            or (other.version == event.version and other.reason is None)
            for other in others
        )

    def assert_is_of_its_events(self, manifest: Mapping[str, Any]) -> None:
        """The manifest speaks of the original, or of the failure, of exactly its own version."""
        photo_id, version = manifest["photo_id"], manifest["version"]
        events = [e for e in self._by_photo[photo_id] if e.kind == "register"]
        if manifest["state"] == "ready":
            event = next(e for e in events if e.version == version and e.reason is None)
            states = [
                upload.data
                for burst in self.bursts
                for upload in burst.uploads
                if upload.name == event.original and event.after in (None, upload.key)
            ]
            stated = manifest["original"]
            assert stated["object"] == event.original, manifest
            assert stated["sha256"] in {hashlib.sha256(data).hexdigest() for data in states}
            assert manifest["labels"] == {"version": str(version)}, manifest
            assert manifest["renditions"], manifest
        else:
            assert manifest["renditions"] == [], manifest
        if rejection := manifest["rejection"]:
            event = next(e for e in events if e.version == rejection["version"])
            assert rejection["reason"] == event.reason, manifest


def _is_good(event: Said) -> bool:
    return event.kind == "register" and event.reason is None
