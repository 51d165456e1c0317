"""The account: what was published and what became of it, and a reader who looks all the while."""

from __future__ import annotations

import itertools
import json
import random
import threading
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Self

from google.pubsub_v1.types import PubsubMessage

from tests.e2e.script import Burst, Said, Script
from tests.e2e.stage import Stage
from tests.support.promises import check_final


class Reader:
    """Reads photos all the while, as a gallery does, and notes each broken promise."""

    def __init__(self, stage: Stage, script: Script, seed: int) -> None:
        self._stage = stage
        self._photo_ids = script.photo_ids
        self._rng = random.Random(seed)  # noqa: S311 (not for security)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read_on, daemon=True)
        self.broken: list[str] = []
        self.photos = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def assert_all_true(self) -> None:
        assert not self.broken, "\n".join(self.broken)

    def _read_on(self) -> None:
        try:
            # Paced, so that it does not take the processor from those whom it watches.
            while not self._stop.wait(0.01):
                self._look(self._rng.choice(self._photo_ids))
        except Exception as error:  # noqa: BLE001 (told by whoever asks for the result)
            self.broken.append(f"the reader failed: {error!r}")

    def _look(self, photo_id: str) -> None:
        manifest = self._stage.manifest(photo_id)
        if manifest is None or manifest["state"] != "ready":
            return
        self.photos += 1
        if fault := self._stage.untrue(manifest):
            again = self._stage.manifest(photo_id)
            # A newer manifest may have removed what an older one named.
            if again is None or again["commit_id"] == manifest["commit_id"]:
                self.broken.append(f"{fault}: {json.dumps(manifest)}")


class Account:
    """Every message that was published, and what became of it."""

    def __init__(self, stage: Stage, script: Script) -> None:
        self._stage = stage
        self._script = script
        self._generations: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self.messages: dict[str, Said] = {}
        self._by_data: dict[bytes, Said] = {}

    def publish(self, burst: Burst) -> None:
        """Change the originals, then publish all events at once."""
        for upload in burst.uploads:
            self._stage.upload(upload.name, upload.data)
            stored = self._stage.store.stat(self._stage.originals, upload.name)
            assert stored is not None
            self._generations[upload.name] = stored.generation
        datas = [self._data(event) for event in burst.events]
        answer = self._stage.publisher.publish(
            topic=self._stage.topic, messages=[PubsubMessage(data=data) for data in datas]
        )
        for message_id, data, event in zip(answer.message_ids, datas, burst.events, strict=True):
            self.messages[str(message_id)] = event
            self._by_data[data] = event

    def _data(self, event: Said) -> bytes:
        if event.kind == "invalid":
            return event.body
        fields: dict[str, Any] = {
            "type": f"photo.{event.kind}",
            "photo_id": event.photo_id,
            "version": event.version,
            # Ignored by the worker; tells the repetitions of an event from each other.
            "number": next(self._numbers),
        }
        if event.kind == "register":
            bucket = "somebody-elses" if event.foreign else self._stage.originals
            fields["original"] = f"gs://{bucket}/{event.original}"
            fields["labels"] = {"version": str(event.version)}
            if event.pinned:
                fields["generation"] = str(self._generations[event.original])
        return json.dumps(fields).encode()

    def unfinished(self) -> dict[str, str]:
        """Photos that are not yet what they must become, and why not."""
        found: dict[str, str] = {}
        for photo_id in self._script.photo_ids:
            try:
                check_final(self._stage.manifest(photo_id), self._script.claims(photo_id))
            except AssertionError as error:
                found[photo_id] = str(error)
        return found

    def unlogged(self, handled: list[dict[str, Any]]) -> set[str]:
        """Messages without a line in any log that says they were acked."""
        acked = {
            line["message_id"]
            for line in handled
            if line["answered"] and line["outcome"] != "nacked"
        }
        return set(self.messages) - acked

    def attempts(self, handled: list[dict[str, Any]]) -> dict[str, int]:
        """The highest delivery attempt of each message that a log knows."""
        attempts: defaultdict[str, int] = defaultdict(int)
        for line in handled:
            message_id = line["message_id"]
            attempts[message_id] = max(attempts[message_id], line["delivery_attempt"])
        return attempts

    def assert_dead_letters_are_right(self) -> int:
        """Exactly those that must fail are dead-lettered, with their reasons; how many."""
        letters = self._stage.take_all(self._stage.dead_letters)
        failed = set()
        for letter in letters:
            event = self._by_data.get(letter.data)
            attributes = dict(letter.attributes)
            assert event is not None, f"a dead letter that nobody wrote: {letter}"
            assert event.reason is not None, f"a healthy message is dead-lettered: {letter}"
            assert attributes.get("dead_letter_reason") == event.reason, letter
            failed.add(letter.data)
        overdue = {data for data, event in self._by_data.items() if self._script.is_overdue(event)}
        assert overdue <= failed, f"no dead letter for {overdue - failed}"
        return len(letters)

    def assert_outcomes_were_told(self) -> None:
        """Whoever reads outcomes knows how every photo has ended."""
        told = {
            _end(json.loads(message.data)["manifest"])
            for message in self._stage.take_all(self._stage.outcomes)
        }
        ends = {_end(self._stage.manifest(photo_id)) for photo_id in self._script.photo_ids}
        assert ends <= told, f"nobody was told of {ends - told}"

    def assert_manifests_are_right(self) -> None:
        assert self.unfinished() == {}
        for photo_id in self._script.photo_ids:
            manifest = self._stage.manifest(photo_id)
            assert manifest is not None
            self._script.assert_is_of_its_events(manifest)
            self._stage.assert_ready_is_true(manifest)


def _end(manifest: Mapping[str, Any] | None) -> tuple[Any, ...]:
    """How a photo has ended, apart from the fence that a sweep may raise afterwards."""
    assert manifest is not None
    rejected = (manifest["rejection"] or {}).get("version")
    return manifest["photo_id"], manifest["state"], manifest["version"], rejected
