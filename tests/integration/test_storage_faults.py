"""The handlers over a real GCS server, with a fault at each of their requests in turn.

A scenario is run undisturbed first. Then one fault at request `k` must change nothing that anybody
can see, not even by a nack; and an outage from `k` on must end in a nack, with nothing half visible
at that moment, and once it is over the redelivery must end where the undisturbed run did.
"""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pytest

from tests.integration.scenarios import (
    READY,
    SCENARIOS,
    STAYS_REJECTED,
    Answered,
    Bench,
    Photo,
    Run,
    Scenario,
    Seen,
)
from tests.support.fakes import crc32c
from tests.support.fault_proxy import STATUSES, Fault, FaultProxy, Request
from tests.support.workers import JPEG
from worker.errors import PreconditionFailed, StorageUnavailable
from worker.gcs.patience import Patience
from worker.gcs.store import GcsStore
from worker.photo.ports import StoredObject

NEW_PHOTO = SCENARIOS[0]
NEW_PHOTO_REQUESTS = 5

CALM = Patience(
    connect_seconds=2.0, answer_seconds=2.0, retry_seconds=30.0, attempts=8, backoff_seconds=0.0005
)
SHORT = replace(CALM, answer_seconds=0.1)
"""So that a request that hangs costs little. A slow machine may exceed it once; that is a fault
more, and each of them is retried."""

OUTAGE_ATTEMPTS = 3

REFUSED = (*STATUSES, Fault.RESET, Fault.HANG_UP)
HANGS = frozenset({Fault.HANG, Fault.HANG_AFTER, Fault.STALL})

ONE_CALL: dict[str, tuple[Fault, ...]] = {
    # These come one behind the other: before an effect each of them is seen.
    "refused-then-lost": (*REFUSED, Fault.LOST),
    "hang-after": (Fault.HANG_AFTER,),
    "truncate": (Fault.TRUNCATE,),
    "cut-upload": (Fault.CUT_UPLOAD,),
    "flip": (Fault.FLIP,),
}

OUTAGES: dict[str, tuple[Fault, ...]] = {
    # To a handler these are one and the same, so they take turns from request to request; that
    # each of them ends alike for each kind of request is seen by the store's own tests below.
    "refused": REFUSED,
    "lost": (Fault.LOST, Fault.TRUNCATE, Fault.CUT_HEAD),
    "cut-upload": (Fault.CUT_UPLOAD,),
    "flip": (Fault.FLIP,),
}


def patience(fault: Fault, attempts: int) -> Patience:
    """As short as the fault allows."""
    return replace(SHORT if fault in HANGS else CALM, attempts=attempts)


@dataclass(frozen=True, kw_only=True)
class Usual:
    """A scenario without faults."""

    requests: list[Request]
    answered: Answered
    final: Seen

    def places(self, fault: Fault, scenario: Scenario) -> Iterator[tuple[int, str]]:
        """The requests that a fault can happen to, and what to call them in a failure."""
        count = len(self.requests)
        fitting = [k for k in range(count) if fault.fits(self.requests[k])]
        assert bool(fitting) == (fault not in scenario.never)
        for k in fitting:
            yield k, f"at request {k} of {count}: {self.requests[k]}"


OpenBench = Callable[[Patience], Bench]


@pytest.fixture
def proxy(storage_url: str) -> Iterator[FaultProxy]:
    with FaultProxy(storage_url) as proxy:
        yield proxy


@pytest.fixture
def open_bench(storage_url: str, proxy: FaultProxy, tmp_path: Path) -> Iterator[OpenBench]:
    with contextlib.ExitStack() as stack:

        def open_it(chosen: Patience) -> Bench:
            bench = Bench(storage_url, proxy, chosen, tmp_path)
            stack.callback(bench.close)
            return bench

        yield open_it


@pytest.fixture(scope="module")
def known() -> dict[Scenario, Usual]:
    """Undisturbed runs, each made by the first test that needs it."""
    return {}


@pytest.fixture
def usual(
    scenario: Scenario, known: dict[Scenario, Usual], open_bench: OpenBench, proxy: FaultProxy
) -> Usual:
    if scenario not in known:
        run = Run(open_bench(CALM), scenario, "undisturbed")
        proxy.arm(0)
        answered = run.deliver()
        known[scenario] = Usual(requests=proxy.requests, answered=answered, final=run.photo.look())
    return known[scenario]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_undisturbed(scenario: Scenario, usual: Usual) -> None:
    assert usual.answered == Answered("ack", scenario.published, scenario.effect.value)
    manifest = usual.final.manifest
    assert manifest is not None
    assert (manifest["state"], manifest["version"]) == (scenario.state, scenario.version)
    assert len(manifest["renditions"]) == scenario.rung_count
    assert len(usual.final.unreferenced) == scenario.unreferenced
    assert (manifest["rejection"] is not None) == (STAYS_REJECTED[0] in scenario.published)


@pytest.mark.parametrize("kind", ONE_CALL)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_what_one_call_meets_is_retried_in_place(
    scenario: Scenario, kind: str, usual: Usual, open_bench: OpenBench, proxy: FaultProxy
) -> None:
    faults = ONE_CALL[kind]
    bench = open_bench(patience(faults[0], CALM.attempts))
    for k, where in usual.places(faults[0], scenario):
        run = Run(bench, scenario, str(k))
        proxy.arm(k, *faults)
        answered = run.deliver()
        assert answered == usual.answered, where
        assert proxy.met == list(faults), where
        final = run.photo.look()
        assert final == usual.final, where
        assert answered.told <= {final.commit_id}, where


@pytest.mark.parametrize("kind", OUTAGES)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_after_an_outage_the_redelivery_ends_it(
    scenario: Scenario, kind: str, usual: Usual, open_bench: OpenBench, proxy: FaultProxy
) -> None:
    kinds = OUTAGES[kind]
    bench = open_bench(patience(kinds[0], OUTAGE_ATTEMPTS))
    for k, where in usual.places(kinds[0], scenario):
        fault = kinds[k % len(kinds)]
        run = Run(bench, scenario, str(k))
        at_first = run.photo.look()
        proxy.arm(k, fault, lasting=True)
        assert run.deliver() == Answered("nack", (), "nacked"), where
        assert proxy.met == [fault] * OUTAGE_ATTEMPTS, where
        at_nack = run.photo.look()
        earlier = [each for each in (at_first, run.in_between) if each]
        assert at_nack.manifest in [each.manifest for each in (*earlier, usual.final)], where

        proxy.heal()
        answered = run.deliver()
        assert answered.answer == "ack", where
        assert answered.published == usual.answered.published, where
        final = run.photo.look()
        assert answered.told <= {final.commit_id}, where
        assert final.manifest == usual.final.manifest, where
        assert usual.final.renditions.items() <= final.renditions.items(), where
        left = set(final.renditions) - set(usual.final.renditions)
        if scenario.replaces and at_nack.manifest == final.manifest:
            # It died between its commit and the end of its clean-up: the redelivery finds the
            # manifest current, and the sweep what is left of the version before
            # (docs/consistency.md, what a crash leaves).
            assert left <= set().union(*(each.named for each in earlier)), where
        else:
            assert not left, where


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_slow_server_is_waited_for(
    scenario: Scenario, usual: Usual, open_bench: OpenBench, proxy: FaultProxy
) -> None:
    run = Run(open_bench(CALM), scenario, "slow")
    proxy.arm(0, Fault.SLOW, lasting=True)
    assert run.deliver() == usual.answered
    assert run.photo.look() == usual.final
    assert proxy.met == [Fault.SLOW] * len(usual.requests)


@pytest.mark.parametrize("rival", [Photo.register, Photo.deregister])
def test_between_a_lost_commit_and_its_retry_another_worker_replaces_it(
    open_bench: OpenBench, proxy: FaultProxy, rival: Callable[[Photo, int], None]
) -> None:
    """Its own commit stood for a moment; what it finds on its retry is a newer version."""
    scenario = NEW_PHOTO
    run = Run(open_bench(CALM), scenario, "replaced")
    commits = itertools.count()

    def before(request: Request) -> None:
        if request.uploaded.endswith("/manifest.json") and next(commits) == 1:
            stands = run.photo.manifest()
            assert stands is not None
            assert stands.version == scenario.version
            rival(run.photo, 18)

    proxy.before = before
    proxy.arm(NEW_PHOTO_REQUESTS - 1, Fault.LOST)
    assert run.deliver() == Answered("ack", (), "superseded")
    assert next(commits) == 2
    final = run.photo.look()
    assert final.manifest is not None
    assert final.manifest["version"] == 18
    assert not final.unreferenced


# --- downloads: wherever it is hit, an original is fetched again and never called corrupt -------

ORIGINAL = JPEG + bytes(range(256)) * 300
"""A few of the chunks that the client reads."""


@pytest.mark.parametrize("position", [0, 1, 8191, 8192, len(ORIGINAL) // 2, len(ORIGINAL) - 1])
@pytest.mark.parametrize("fault", [Fault.TRUNCATE, Fault.STALL, Fault.FLIP], ids=str)
def test_a_damaged_download_is_transient(
    open_bench: OpenBench, proxy: FaultProxy, fault: Fault, position: int
) -> None:
    scenario = replace(NEW_PHOTO, prepare=lambda photo: photo.put_original(ORIGINAL))
    bench = open_bench(patience(fault, OUTAGE_ATTEMPTS))
    proxy.position = position

    run = Run(bench, scenario, "once")
    proxy.arm(1, fault)
    assert run.deliver() == Answered("ack", READY, "registered")
    assert proxy.met == [fault]
    manifest = run.photo.manifest()
    assert manifest is not None
    assert manifest.original is not None
    assert manifest.original.sha256 == sha256(ORIGINAL).hexdigest()

    run = Run(bench, scenario, "for-ever")
    proxy.arm(1, fault, lasting=True)
    assert run.deliver() == Answered("nack", (), "nacked")
    assert proxy.met == [fault] * OUTAGE_ATTEMPTS
    assert run.photo.look() == Seen(None, {})


def test_a_download_may_take_longer_than_any_byte_of_it(
    open_bench: OpenBench, proxy: FaultProxy
) -> None:
    scenario = replace(NEW_PHOTO, prepare=lambda photo: photo.put_original(ORIGINAL))
    run = Run(open_bench(replace(CALM, answer_seconds=1.0)), scenario, "trickles")
    proxy.pieces, proxy.pause_seconds = 12, 0.1
    proxy.arm(1, Fault.SLOW)
    assert run.deliver() == Answered("ack", READY, "registered")
    assert len(proxy.requests) == NEW_PHOTO_REQUESTS


# --- the store alone: each kind of request meets each fault ------------------------------------

Verb = Callable[[GcsStore, StoredObject, Path], object]


def _write(store: GcsStore, stored: StoredObject, _: Path) -> object:
    with contextlib.suppress(PreconditionFailed):  # a lost response's own doing
        put(store, stored.bucket, "new", b"new")
    found = store.read(stored.bucket, "new")
    return found and found[0]


def _download(store: GcsStore, stored: StoredObject, into: Path) -> object:
    store.fetch(stored.bucket, stored.name, str(stored.generation), into, lambda _: None)
    return into.read_bytes()


def _delete(store: GcsStore, stored: StoredObject, _: Path) -> object:
    store.delete(stored.bucket, stored.name)
    return store.read(stored.bucket, stored.name)


VERBS: dict[str, tuple[Verb, Callable[[StoredObject], object]]] = {
    "stat": (lambda store, it, _: store.stat(it.bucket, it.name), lambda it: it),
    "stat of nothing": (lambda store, it, _: store.stat(it.bucket, "nothing"), lambda _: None),
    "read": (
        lambda store, it, _: store.read(it.bucket, it.name),
        lambda it: (b"data", it.generation),
    ),
    "read of nothing": (lambda store, it, _: store.read(it.bucket, "nothing"), lambda _: None),
    "download": (_download, lambda _: b"data"),
    "list": (lambda store, it, _: list(store.objects(it.bucket, it.name)), lambda it: [it]),
    "look for the bucket": (lambda store, it, _: store.check_bucket(it.bucket), lambda _: None),
    "write": (_write, lambda _: b"new"),
    "delete": (_delete, lambda _: None),
}


def put(store: GcsStore, bucket: str, name: str, data: bytes) -> StoredObject:
    return store.write(
        bucket,
        name,
        data,
        content_type="image/webp",
        cache_control="private",
        if_generation=0,
    )


@pytest.mark.parametrize("fault", Fault, ids=str)
def test_each_kind_of_request_meets_each_fault(
    open_bench: OpenBench, proxy: FaultProxy, tmp_path: Path, fault: Fault
) -> None:
    bench = open_bench(patience(fault, OUTAGE_ATTEMPTS))
    bucket = bench.originals
    for verb, (call, expected) in VERBS.items():
        stored = put(bench.direct, bucket, f"object of {verb}", b"data")
        bench.direct.delete(bucket, "new")
        proxy.arm(0)
        assert call(bench.store, stored, tmp_path / "file") == expected(stored)
        if not fault.fits(proxy.requests[0]):
            continue

        if verb == "delete":
            stored = put(bench.direct, bucket, stored.name, b"data")
        bench.direct.delete(bucket, "new")
        proxy.arm(0, fault)
        assert call(bench.store, stored, tmp_path / "file") == expected(stored), verb
        assert proxy.met == [fault], verb

        if fault is not Fault.SLOW:
            proxy.arm(0, fault, lasting=True)
            with pytest.raises(StorageUnavailable):
                call(bench.store, stored, tmp_path / "file")
            assert proxy.met == [fault] * OUTAGE_ATTEMPTS, verb


def test_a_call_gives_up_within_its_budget(open_bench: OpenBench, proxy: FaultProxy) -> None:
    chosen = Patience(
        connect_seconds=2.0,
        answer_seconds=0.1,
        retry_seconds=0.5,
        attempts=50,
        backoff_seconds=0.01,
    )
    bench = open_bench(chosen)
    proxy.arm(0, Fault.HANG, lasting=True)
    with pytest.raises(StorageUnavailable):
        bench.store.stat(bench.originals, "anything")
    # A slow machine makes fewer attempts.
    most = chosen.retry_seconds / chosen.answer_seconds + 1
    assert 1 < len(proxy.met) <= most


def test_a_large_upload_over_a_slow_link_is_not_cut(storage_url: str) -> None:
    """urllib3 sends a whole body within the time to connect, which 9 MB at 4 MB/s exceed."""
    data = bytes(9 << 20)
    with FaultProxy(storage_url, upload_bytes_per_second=4 << 20) as proxy:
        chosen = Patience(connect_seconds=0.5)
        store = GcsStore(project="p", emulator_url=proxy.url, connections=1, patience=chosen)
        bucket = f"slow-{uuid.uuid4().hex[:10]}"
        store.create_bucket(bucket)
        proxy.arm(0)
        assert put(store, bucket, "full.webp", data).crc32c == crc32c(data)
        # Of an upload in two requests the second would go to the address in the first one's answer.
        assert [len(request.body) > len(data) for request in proxy.requests] == [True]
        store.close()
