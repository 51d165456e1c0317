"""Handlers as `service/build` makes them, over the fakes or another store, and events for them."""

from __future__ import annotations

import json
import queue
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.support.fakes import Clock, FakePublisher, FakeRenderer, Ids, MemoryStore
from tests.support.promises import untrue
from worker.handlers.deregister import DeregisterHandler
from worker.handlers.dispatch import Dispatcher, Topics
from worker.handlers.manifests import Manifests
from worker.handlers.originals import Originals
from worker.handlers.register import RegisterHandler
from worker.handlers.reject import Rejector
from worker.handlers.renditions import Renditions
from worker.handlers.steps import Steps
from worker.photo.events import Buckets, Deregister, Register
from worker.photo.layout import Layout
from worker.photo.limits import Limits
from worker.photo.manifest import Manifest, State, fenced_after
from worker.photo.outcome import Outcome
from worker.photo.ports import ObjectStore
from worker.telemetry.logs import Log

ORIGINALS = "originals"
RENDITIONS = "renditions"
OUTCOME = "projects/p/topics/outcome"
DEAD_LETTER = "projects/p/topics/dead"
LAYOUT = Layout("photos/")
JPEG = b"\xff\xd8\xff an original"

BUCKETS = Buckets(
    originals=frozenset({ORIGINALS, RENDITIONS}), renditions=RENDITIONS, layout=LAYOUT
)


@dataclass(frozen=True, kw_only=True)
class StoreWorker:
    """One worker's handlers over any store; several of them may share one."""

    store: ObjectStore
    renderer: FakeRenderer
    clock: Clock
    ids: Ids
    scratch: Path
    manifests: Manifests
    renditions: Renditions
    originals: Originals
    register: RegisterHandler
    deregister: DeregisterHandler
    reject: Rejector

    def do(self, event: Register | Deregister) -> Outcome:
        """Handle an event."""
        if isinstance(event, Register):
            return self.register(event, Steps())
        return self.deregister(event, Steps())


@dataclass(frozen=True, kw_only=True)
class FakeWorker(StoreWorker):
    """The same over a bucket in memory."""

    store: MemoryStore


W = TypeVar("W", bound=StoreWorker)


def make_worker(
    scratch: Path,
    store: MemoryStore | None = None,
    *,
    renderer: FakeRenderer | None = None,
    name: str = "commit",
    grace_seconds: float = 0.0,
    max_original_bytes: int = 1000,
) -> FakeWorker:
    """A worker on a store of its own, or beside others on theirs; `name` tells its commits."""
    return assemble(
        FakeWorker,
        scratch,
        MemoryStore() if store is None else store,
        renderer=renderer,
        name=name,
        grace_seconds=grace_seconds,
        max_original_bytes=max_original_bytes,
    )


def assemble(
    kind: type[W],
    scratch: Path,
    store: ObjectStore,
    *,
    buckets: Buckets = BUCKETS,
    renderer: FakeRenderer | None = None,
    name: str = "commit",
    grace_seconds: float = 0.0,
    max_original_bytes: int = 1000,
) -> W:
    """A worker of this kind, on whatever store that kind is for."""
    renderer = FakeRenderer() if renderer is None else renderer
    clock, ids = Clock(), Ids(name)
    manifests = Manifests(store, buckets.renditions, buckets.layout)
    renditions = Renditions(store, buckets.renditions, buckets.layout)
    originals = Originals(
        store,
        buckets=buckets,
        limits=Limits(max_original_bytes=max_original_bytes, max_original_pixels=10**6),
        grace_seconds=grace_seconds,
    )
    return kind(
        store=store,
        renderer=renderer,
        clock=clock,
        ids=ids,
        scratch=scratch,
        manifests=manifests,
        renditions=renditions,
        originals=originals,
        register=RegisterHandler(
            manifests=manifests,
            originals=originals,
            renditions=renditions,
            renderer=renderer,
            clock=clock,
            fresh_id=ids,
            scratch=scratch,
        ),
        deregister=DeregisterHandler(
            manifests=manifests, renditions=renditions, clock=clock, fresh_id=ids
        ),
        reject=Rejector(manifests=manifests, renderer=renderer, clock=clock, fresh_id=ids),
    )


def dispatcher_of(
    worker: StoreWorker,
    publisher: FakePublisher,
    log: Log,
    *,
    buckets: Buckets = BUCKETS,
    outcome: str | None = OUTCOME,
    dead_letter: str | None = DEAD_LETTER,
    **more: Any,
) -> Dispatcher:
    """What hands deliveries to a worker's handlers; `more` goes to the dispatcher as it is."""
    given = {"fatal_errors": queue.SimpleQueue(), "wait_before_nack": lambda _: None, **more}
    return Dispatcher(
        buckets=buckets,
        register=worker.register,
        deregister=worker.deregister,
        reject=worker.reject,
        publisher=publisher,
        topics=Topics(outcome=outcome, dead_letter=dead_letter),
        worker_name="photo-worker/test",
        log=log,
        **given,
    )


def raise_fence(worker: FakeWorker, photo_id: str = "a") -> None:
    """What the sweep does before it deletes names that an attempt might still commit."""
    fence = Manifest(
        photo_id=photo_id,
        state=State.DEREGISTERED,
        version=0,
        commit_id=worker.ids(),
        committed_at=worker.clock(),
    )
    worker.manifests.commit(photo_id, lambda current: fenced_after(current, fence))


def register(version: int, photo_id: str = "a", generation: str | None = None) -> Register:
    """A registration of the original that is named like its photo."""
    return Register(
        photo_id=photo_id,
        version=version,
        original=f"gs://{ORIGINALS}/{photo_id}.jpg",
        generation=generation,
        labels={"album": "hanoi"},
    )


def deregister(version: int, photo_id: str = "a") -> Deregister:
    """A deregistration."""
    return Deregister(photo_id=photo_id, version=version)


def seed_original(store: MemoryStore, photo_id: str = "a", data: bytes = JPEG) -> str:
    """Put a photo's original into its bucket; its generation."""
    return str(store.seed(ORIGINALS, f"{photo_id}.jpg", data).generation)


def stored_manifest(store: MemoryStore, photo_id: str = "a") -> Manifest | None:
    """A photo's manifest, without a request."""
    entry = store.entry(RENDITIONS, LAYOUT.manifest(photo_id))
    return Manifest.from_json(entry.data) if entry else None


def current_manifest(store: MemoryStore, photo_id: str = "a") -> Manifest:
    """A photo's manifest, which must be there."""
    manifest = stored_manifest(store, photo_id)
    assert manifest is not None
    return manifest


def rendition_names(store: MemoryStore) -> set[str]:
    """Every stored object but manifests."""
    return {name for name in store.names(RENDITIONS) if not name.endswith("manifest.json")}


def assert_whole(store: MemoryStore, photo_id: str = "a") -> None:
    """Promise 1: a ready manifest names only renditions that exist with the stated checksum."""
    manifest = json.loads(current_manifest(store, photo_id).to_json())
    assert manifest["state"] == "ready"
    assert manifest["renditions"]

    def read(name: str) -> bytes | None:
        entry = store.entry(RENDITIONS, name)
        return entry.data if entry else None

    assert (fault := untrue(manifest, read)) is None, fault


def rival(worker: FakeWorker, quality: int = 80) -> FakeWorker:
    """Another worker on the same bucket."""
    return make_worker(
        worker.scratch, worker.store, renderer=FakeRenderer(quality=quality), name="rival"
    )


def names_of(store: MemoryStore, version: int) -> set[str]:
    """The renditions of photo `a` at one version."""
    return {name for name in rendition_names(store) if LAYOUT.own_version("a", name) == version}
