"""What docs/contract.md promises, checked on the bucket itself at each step.

Written from the contract: manifests are read as plain JSON, and `worker` is not asked.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

from tests.fuzz.attempts import Attempt, Message
from tests.support import promises
from tests.support.fakes import MemoryStore
from tests.support.fakes import Message as Letter
from tests.support.workers import DEAD_LETTER, OUTCOME, RENDITIONS
from worker.photo.events import Deregister, Register

ATTEMPTS_OF_A_CRASH = 3

Facts = dict[str, Any]

_UNSEEN_BY_READERS = ("fence", "commit_id", "committed_at")


def manifest_name(photo_id: str) -> str:
    return f"photos/{photo_id}/manifest.json"


def is_own(photo_id: str, name: str) -> bool:
    """Whether a name is that of a rendition of this very photo."""
    return re.fullmatch(rf"photos/{photo_id}/[0-9]+-[0-9a-f]{{12}}/[^/]+\.webp", name) is not None


class Watch:
    """Looks at the manifests after each step: each change of one must be lawful."""

    def __init__(self, store: MemoryStore, photo_ids: Iterable[str]) -> None:
        self.photo_ids = tuple(photo_ids)
        self._store = store
        self._manifests: dict[str, Facts] = {}
        self._generations: dict[str, int] = {}

    def manifest(self, photo_id: str) -> Facts | None:
        return self._manifests.get(photo_id)

    def look(self, writer: Attempt) -> None:
        """See what a request of `writer` has done."""
        for photo_id in self.photo_ids:
            entry = self._store.entry(RENDITIONS, manifest_name(photo_id))
            if entry is None:
                assert photo_id not in self._manifests, f"the manifest of {photo_id} is gone"
                continue
            if entry.generation != self._generations.get(photo_id):
                before, after = self._manifests.get(photo_id), json.loads(entry.data)
                assert (entry.custom_time is not None) == (after["state"] == "deregistered")
                _check_change(photo_id, before, after, writer)
                self._manifests[photo_id] = after
                self._generations[photo_id] = entry.generation
            self._check_whole(self._manifests[photo_id])

    def _check_whole(self, manifest: Facts) -> None:
        assert (fault := promises.untrue(manifest, self._read)) is None, fault
        for rendition in manifest["renditions"]:
            # The fakes put the original and the quality into what they render.
            made_by, _, original = (self._read(rendition["object"]) or b"").partition(b" of ")
            assert hashlib.sha256(original).hexdigest() == manifest["original"]["sha256"]
            quality = re.search(r"q=(\d+)", manifest["recipe"] or "")
            assert quality is None or quality[1].encode() in made_by

    def _read(self, name: str) -> bytes | None:
        entry = self._store.entry(RENDITIONS, name)
        return entry.data if entry else None


def _check_change(photo_id: str, before: Facts | None, after: Facts, writer: Attempt) -> None:
    said = f"{photo_id}: {before} -> {after}"
    assert after["photo_id"] == photo_id
    assert after.get("fence", 0) >= (before or {}).get("fence", 0), said
    assert after["version"] >= (before or {"version": 0})["version"], said
    assert promises.known(after) >= promises.known(before), said
    assert (after["state"] == "ready") == bool(after["renditions"]), said
    for rendition in after["renditions"]:
        assert is_own(photo_id, rendition["object"]), said
        assert rendition["object"].split("/")[-2].startswith(f"{after['version']}-"), said
    if writer.message is None:
        _check_fence(before, after, said)
        return
    assert after.get("fence", 0) == (before or {}).get("fence", 0), said
    event = writer.message.event
    assert event is not None, said
    assert event.photo_id == photo_id, said
    if isinstance(event, Deregister):
        _check_deregistered(event, before, after, said)
    elif after["state"] == "ready" and (before or {}).get("renditions") != after["renditions"]:
        assert after["version"] == event.version, said
        assert after["original"]["generation"] == event.generation or not event.generation, said
        assert not _is_tombstone(before, event.version), said
    else:
        _check_rejected(event, before, after, said)


def _check_fence(before: Facts | None, after: Facts, said: str) -> None:
    """A reader sees the same before and after."""
    assert after["fence"] == (before or {}).get("fence", 0) + 1, said
    if before is None:
        assert (after["state"], after["version"]) == ("deregistered", 0), said
    else:
        assert _as_read(before) == _as_read(after), said


def _check_deregistered(event: Deregister, before: Facts | None, after: Facts, said: str) -> None:
    if after["state"] == "rejected":
        assert promises.known(before) == after["version"] > event.version, said
    else:
        assert (after["state"], after["version"]) == ("deregistered", event.version), said
        assert not _is_tombstone(before, event.version), said
    assert not after["renditions"], said


def _check_rejected(event: Register, before: Facts | None, after: Facts, said: str) -> None:
    assert after["rejection"] is not None, said
    assert after["rejection"]["version"] == event.version, said
    if before is not None and before["state"] == "ready":
        assert _as_read({**before, "rejection": after["rejection"]}) == _as_read(after), said
    else:
        assert (after["state"], after["version"]) == ("rejected", event.version), said
        assert not _is_tombstone(before, event.version), said


def _is_tombstone(manifest: Facts | None, version: int) -> bool:
    return (
        manifest is not None
        and manifest["state"] == "deregistered"
        and manifest["version"] == version
    )


def _as_read(manifest: Facts) -> Facts:
    return {name: value for name, value in manifest.items() if name not in _UNSEEN_BY_READERS}


def check_ack(attempt: Attempt, manifest: Facts | None, letters: list[Letter]) -> None:
    """Promise 3, in the moment of an ack: its effect is durable and told, or overtaken."""
    message = attempt.message
    assert message is not None
    event, said = message.event, f"acked {message} at {manifest}"
    own = [one for one in letters if (one.topic, one.data) == (DEAD_LETTER, message.data)]
    is_lettered = (DEAD_LETTER, message.data) in attempt.told
    if event is None:
        assert is_lettered, said
        return
    outcomes = [json.loads(data) for topic, data in attempt.told if topic == OUTCOME]
    kinds = {outcome["type"] for outcome in outcomes if outcome["version"] == event.version}
    assert promises.known(manifest) >= event.version, said
    if promises.known(manifest) > event.version:
        return
    assert manifest is not None
    if _is_tombstone(manifest, event.version):
        assert isinstance(event, Register) or "photo.deregistered" in kinds, said
        return
    assert isinstance(event, Register), said
    if "photo.rejected" in kinds:
        assert is_lettered, said
        assert message.failing, said
        _check_letter(attempt, own[-1], manifest, said)
    else:
        assert "photo.ready" in kinds, said
        assert manifest["version"] == event.version, said
        assert manifest["state"] == "ready", said


def _check_letter(attempt: Attempt, letter: Letter, manifest: Facts, said: str) -> None:
    """It says why, and a crash is the picture's fault only on the last attempt.

    Once that is on record for this message, a delivery that was begun earlier repeats the verdict.
    """
    facts = letter.attributes
    assert all(facts[f"dead_letter_{name}"] for name in ("reason", "message", "worker")), said
    if facts["dead_letter_reason"] == "render_crashed" and attempt.number:
        message = attempt.message
        assert message is not None
        is_on_record = (manifest["rejection"] or {}).get("message_id") == str(message.number)
        number = message.deliveries if is_on_record else attempt.number
        assert number >= ATTEMPTS_OF_A_CRASH, said


def check_final(photo_id: str, manifest: Facts | None, messages: Iterable[Message]) -> None:
    """Promise 2: what stands once every message is acked."""
    promises.check_final(
        manifest,
        [
            promises.Claim(
                version=one.event.version,
                removes=isinstance(one.event, Deregister),
                sound=one.sound,
                failing=one.failing,
            )
            for one in messages
            if one.event is not None and one.event.photo_id == photo_id
        ],
    )


def check_swept(store: MemoryStore, watch: Watch, foreign: Iterable[str]) -> None:
    """Promise 4: manifests, what they name, and foreign objects remain."""
    expected = set(foreign)
    for photo_id in watch.photo_ids:
        manifest = watch.manifest(photo_id)
        if manifest is not None:
            expected |= {manifest_name(photo_id)}
            expected |= {rendition["object"] for rendition in manifest["renditions"]}
    assert set(store.names(RENDITIONS)) == expected
