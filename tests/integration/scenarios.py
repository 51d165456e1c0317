"""Scenarios for one worker behind a faulty network: what lies there, what comes, where it ends."""

from __future__ import annotations

import contextlib
import itertools
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.fakes import FakePublisher, FakeRenderer, recording_log
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.workers import (
    DEAD_LETTER,
    JPEG,
    LAYOUT,
    OUTCOME,
    StoreWorker,
    assemble,
    dispatcher_of,
)
from worker.errors import CorruptOriginal, RenderCrashed
from worker.gcs.patience import Patience
from worker.gcs.store import GcsStore
from worker.photo.delivery import Delivery
from worker.photo.events import Buckets, Deregister, Register
from worker.photo.manifest import Manifest, State
from worker.photo.outcome import Effect
from worker.photo.ports import StoredObject

PICTURE_PX = (400, 300)
RUNGS = ("320", "full")
"""The ladder of so small a picture: enough to be incomplete."""


@dataclass(frozen=True)
class Seen:
    """What a reader sees of one photo, without what differs from run to run."""

    manifest: dict[str, Any] | None
    renditions: dict[str, tuple[int, str]] = field(repr=False)
    commit_id: str | None = field(default=None, compare=False)

    @property
    def named(self) -> set[str]:
        """The renditions that the manifest names."""
        renditions = self.manifest["renditions"] if self.manifest else []
        return {rendition["object"] for rendition in renditions}

    @property
    def unreferenced(self) -> set[str]:
        return set(self.renditions) - self.named


@dataclass(frozen=True)
class Answered:
    """One delivery's answer, what was published before it, and what the log calls it."""

    answer: str
    published: tuple[str, ...]
    outcome: str
    told: frozenset[str] = field(default=frozenset(), compare=False)
    """The commits that outcomes were about."""


class MeddledStore(GcsStore):
    """Lets another worker act just before a manifest is swapped in."""

    before_commit: Callable[[], None] = staticmethod(lambda: None)

    def write(self, bucket: str, name: str, data: bytes | Path, **how: Any) -> StoredObject:
        """See `ports.ObjectStore`."""
        if name.endswith("/manifest.json"):
            self.before_commit()
        return super().write(bucket, name, data, **how)


class Bench:
    """One worker behind a proxy, and a way to the same buckets around it."""

    def __init__(
        self,
        server: str,
        proxy: FaultProxy,
        chosen: Patience,
        scratch: Path,
        *,
        billing_project: str | None = None,
    ) -> None:
        self.scratch = scratch
        self.direct = GcsStore(project="faults", emulator_url=server, connections=4)
        self.store = MeddledStore(
            project="faults",
            emulator_url=proxy.url,
            connections=4,
            patience=chosen,
            billing_project=billing_project,
        )
        tail = uuid.uuid4().hex[:10]
        self.originals = f"originals-{tail}"
        self.buckets = Buckets(
            originals=frozenset({self.originals}), renditions=f"renditions-{tail}", layout=LAYOUT
        )
        for bucket in (self.originals, self.buckets.renditions):
            self.direct.create_bucket(bucket)
        self.renderer = FakeRenderer(PICTURE_PX)
        self.publisher = FakePublisher()
        self.worker = self._worker(self.store, self.renderer, "commit")
        log, self.entries = recording_log()
        self._dispatcher = dispatcher_of(self.worker, self.publisher, log, buckets=self.buckets)

    def other_worker(self, quality: int = 80, name: str = "other") -> StoreWorker:
        """Another worker on the same buckets, which goes around the proxy."""
        return self._worker(self.direct, FakeRenderer(PICTURE_PX, quality), name)

    def _worker(self, store: GcsStore, renderer: FakeRenderer, name: str) -> StoreWorker:
        return assemble(
            StoreWorker,
            self.scratch,
            store,
            buckets=self.buckets,
            renderer=renderer,
            name=name,
            max_original_bytes=1 << 20,
        )

    def deliver(self, data: dict[str, Any], attempt: int) -> Answered:
        """Dispatch one delivery; exactly one answer comes, and it comes last."""
        answers: list[str] = []
        before = len(self.publisher.messages)
        self._dispatcher(
            Delivery(
                message_id="m-1",
                data=json.dumps(data).encode(),
                attributes={},
                attempt=attempt,
                send_ack=lambda: answers.append("ack"),
                send_nack=lambda: answers.append("nack"),
            )
        )
        (answer,) = answers
        messages = self.publisher.messages[before:]
        return Answered(
            answer=answer,
            published=tuple(
                f"{message.topic}: {message.attributes.get('type', 'letter')}"
                for message in messages
            ),
            outcome=str(self.entries[-1]["outcome"]),
            told=frozenset(
                json.loads(message.data)["commit_id"]
                for message in messages
                if message.topic == OUTCOME
            ),
        )

    def close(self) -> None:
        self.store.close()
        self.direct.close()


class Photo:
    """One photo of a scenario, from its preparation to its end."""

    def __init__(self, bench: Bench, photo_id: str) -> None:
        self.bench = bench
        self.photo_id = photo_id

    def put_original(self, data: bytes = JPEG) -> None:
        self.bench.direct.write(
            self.bench.originals,
            f"{self.photo_id}.jpg",
            data,
            content_type="image/jpeg",
            cache_control="private",
            if_generation=0,
        )

    def register(self, version: int, *, quality: int = 80) -> None:
        """What another worker does."""
        self.bench.other_worker(quality).do(self.register_event(version))

    def deregister(self, version: int) -> None:
        """What another worker does."""
        self.bench.other_worker().do(Deregister(photo_id=self.photo_id, version=version))

    def reject(self, version: int) -> None:
        """What another worker does with an original that it cannot decode to the end."""
        other = self.bench.other_worker()
        error = CorruptOriginal("no end")
        other.renderer.errors = [error]
        with contextlib.suppress(CorruptOriginal):
            other.do(self.register_event(version))
        other.reject(self.register_event(version), error)

    def die_rendering(self, version: int) -> None:
        """What a worker on another kind of machine does that is killed after one upload."""
        other = self.bench.other_worker()
        other.renderer.salt = b"another codec: "
        other.renderer.errors = [RenderCrashed("killed")]
        with contextlib.suppress(RenderCrashed):
            other.do(self.register_event(version))

    def die_deregistering(self, version: int) -> None:
        """What a worker does that is killed behind its tombstone."""
        self.deregister(version)
        for rung in RUNGS:
            self.bench.direct.write(
                self.bench.buckets.renditions,
                LAYOUT.rendition(self.photo_id, version - 1, "0" * 12, rung),
                b"left",
                content_type="image/webp",
                cache_control="private",
                if_generation=0,
            )

    def register_event(self, version: int) -> Register:
        return Register(
            photo_id=self.photo_id,
            version=version,
            original=f"gs://{self.bench.originals}/{self.photo_id}.jpg",
            labels={"album": "hanoi"},
        )

    def manifest(self) -> Manifest | None:
        found = self.bench.direct.read(
            self.bench.buckets.renditions, LAYOUT.manifest(self.photo_id)
        )
        return Manifest.from_json(found[0]) if found else None

    def look(self) -> Seen:
        """What a reader finds now, who must find promise 1 kept."""
        folder = f"{LAYOUT.prefix}{self.photo_id}/"
        stored: dict[str, StoredObject] = {
            each.name.removeprefix(folder): each
            for each in self.bench.direct.objects(self.bench.buckets.renditions, folder)
        }
        stored.pop("manifest.json", None)
        renditions = {name: (each.size_bytes, each.crc32c) for name, each in stored.items()}
        manifest = self.manifest()
        if manifest is None:
            return Seen(None, renditions)
        shown: dict[str, Any] = json.loads(manifest.to_json())
        commit_id = shown.pop("commit_id")
        assert shown.pop("photo_id") == self.photo_id
        if shown["original"] is not None:
            assert shown["original"].pop("object") == f"{self.photo_id}.jpg"
            del shown["original"]["bucket"], shown["original"]["generation"]
        if shown["rejection"] is not None:
            shown["rejection"]["message"] = shown["rejection"]["message"].replace(
                f"{self.bench.originals}/{self.photo_id}", "PHOTO"
            )
        for rendition in shown["renditions"]:
            rendition["object"] = rendition["object"].removeprefix(folder)
            stated = rendition["bytes"], rendition["crc32c"]
            assert renditions.get(rendition["object"]) == stated, "promise 1"
        return Seen(shown, renditions, commit_id)


READY = (f"{OUTCOME}: photo.ready",)
GONE = (f"{OUTCOME}: photo.deregistered",)
STAYS_REJECTED = (f"{OUTCOME}: photo.rejected",)
REJECTED = (f"{DEAD_LETTER}: letter", *STAYS_REJECTED)
NO_DOWNLOAD = frozenset({Fault.FLIP})
NO_UPLOAD = frozenset({Fault.CUT_UPLOAD})


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One event, what lies there when it comes, and where everything ends: else as a new photo.

    `meanwhile` is what another worker does when this one is about to commit. `unreferenced` counts
    the renditions that are left even without faults, for the sweep. `replaces`: a version that was
    ready is replaced. `never` are the faults that fit none of its requests.
    """

    name: str
    effect: Effect = Effect.REGISTERED
    state: State = State.READY
    version: int = 17
    published: tuple[str, ...] = READY
    prepare: Callable[[Photo], None] = Photo.put_original
    meanwhile: Callable[[Photo], None] | None = None
    verb: str = "register"
    event_version: int = 17
    corrupt: bool = False
    unreferenced: int = 0
    replaces: bool = False
    never: frozenset[Fault] = frozenset()

    def __str__(self) -> str:
        return self.name

    @property
    def rung_count(self) -> int:
        return len(RUNGS) if self.state is State.READY else 0


def prepared(*steps: Callable[[Photo], None]) -> Callable[[Photo], None]:
    def prepare(photo: Photo) -> None:
        for step in steps:
            step(photo)

    return prepare


SCENARIOS = (
    Scenario(
        name="a-new-photo",
    ),
    Scenario(
        name="a-newer-version",
        prepare=prepared(Photo.put_original, lambda photo: photo.register(16)),
        replaces=True,
    ),
    Scenario(
        name="behind-a-crashed-attempt",
        prepare=prepared(Photo.put_original, lambda photo: photo.die_rendering(17)),
    ),
    Scenario(
        name="while-an-older-one-is-committed",
        meanwhile=lambda photo: photo.register(16, quality=70),
        replaces=True,
    ),
    Scenario(
        name="while-a-newer-one-is-committed",
        meanwhile=lambda photo: photo.register(18),
        effect=Effect.SUPERSEDED,
        version=18,
        published=(),
    ),
    Scenario(
        name="while-the-photo-is-deregistered",
        meanwhile=lambda photo: photo.deregister(18),
        effect=Effect.SUPERSEDED,
        state=State.DEREGISTERED,
        version=18,
        published=(),
    ),
    Scenario(
        name="an-overtaken-one-that-crashed",
        prepare=prepared(
            Photo.put_original,
            lambda photo: photo.die_rendering(17),
            lambda photo: photo.register(18),
        ),
        effect=Effect.SUPERSEDED,
        version=18,
        published=(),
        never=NO_UPLOAD,
    ),
    Scenario(
        name="a-corrupt-original",
        corrupt=True,
        effect=Effect.REJECTED,
        state=State.REJECTED,
        # The rung that was uploaded before the decoder came to the damage.
        unreferenced=1,
        published=REJECTED,
    ),
    Scenario(
        name="a-newer-version-that-is-corrupt",
        prepare=prepared(Photo.put_original, lambda photo: photo.register(16)),
        corrupt=True,
        effect=Effect.REJECTED,
        version=16,
        unreferenced=1,
        published=REJECTED,
    ),
    Scenario(
        name="a-missing-original",
        prepare=lambda _: None,
        effect=Effect.REJECTED,
        state=State.REJECTED,
        published=REJECTED,
        never=NO_DOWNLOAD,
    ),
    Scenario(
        name="deregister",
        verb="deregister",
        prepare=prepared(Photo.put_original, lambda photo: photo.register(16)),
        effect=Effect.DEREGISTERED,
        state=State.DEREGISTERED,
        published=GONE,
    ),
    Scenario(
        name="deregister-nothing",
        verb="deregister",
        prepare=lambda _: None,
        effect=Effect.DEREGISTERED,
        state=State.DEREGISTERED,
        published=GONE,
        never=NO_DOWNLOAD,
    ),
    Scenario(
        name="deregister-behind-a-crashed-attempt",
        verb="deregister",
        prepare=lambda photo: photo.die_deregistering(17),
        effect=Effect.ALREADY_CURRENT,
        state=State.DEREGISTERED,
        published=GONE,
        never=NO_UPLOAD,
    ),
    Scenario(
        name="deregister-below-a-newer-rejection",
        verb="deregister",
        prepare=prepared(
            Photo.put_original,
            lambda photo: photo.register(16),
            lambda photo: photo.reject(18),
        ),
        effect=Effect.DEREGISTERED,
        state=State.REJECTED,
        version=18,
        unreferenced=1,
        published=STAYS_REJECTED,
    ),
    Scenario(
        name="deregister-too-late",
        verb="deregister",
        prepare=prepared(
            Photo.put_original,
            lambda photo: photo.die_rendering(16),
            lambda photo: photo.register(18),
        ),
        effect=Effect.SUPERSEDED,
        version=18,
        published=(),
        never=NO_UPLOAD,
    ),
)


class Run:
    """A scenario on a photo of its own, ready for its first delivery."""

    def __init__(self, bench: Bench, scenario: Scenario, label: str) -> None:
        self.photo = Photo(bench, f"{scenario}/{label}")
        self._bench = bench
        self._scenario = scenario
        self._attempts = itertools.count(1)
        self._meanwhile = scenario.meanwhile
        bench.store.before_commit = self._meddle
        scenario.prepare(self.photo)
        self.in_between: Seen | None = None

    def deliver(self) -> Answered:
        bench, scenario = self._bench, self._scenario
        bench.renderer.errors = [CorruptOriginal("no end")] if scenario.corrupt else []
        event = {
            "type": f"photo.{scenario.verb}",
            "photo_id": self.photo.photo_id,
            "version": scenario.event_version,
        }
        if scenario.verb == "register":
            event["original"] = f"gs://{bench.originals}/{self.photo.photo_id}.jpg"
            event["labels"] = {"album": "hanoi"}
        return bench.deliver(event, next(self._attempts))

    def _meddle(self) -> None:
        """In this thread and around the proxy, so that it holds up only the commit."""
        if self._meanwhile:
            act, self._meanwhile = self._meanwhile, None
            act(self.photo)
            self.in_between = self.photo.look()
