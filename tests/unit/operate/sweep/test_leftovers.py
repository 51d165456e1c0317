"""The sweep: which leftovers go, which stay, and what it says of untrue manifests."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.fakes import Once, raising
from tests.support.workers import (
    LAYOUT,
    RENDITIONS,
    FakeWorker,
    assert_whole,
    current_manifest,
    deregister,
    make_worker,
    names_of,
    register,
    rendition_names,
    rival,
    seed_original,
)
from worker.errors import (
    CorruptOriginal,
    Fenced,
    OriginalMissing,
    PublishFailed,
    StorageUnavailable,
)
from worker.handlers.manifests import Manifests
from worker.handlers.renditions import Renditions
from worker.operate.sweep.leftovers import Sweeper, Swept
from worker.operate.sweep.survey import Survey
from worker.operate.sweep.verify import FaultKind, Verifier
from worker.photo.events import Register
from worker.photo.manifest import State

HOUR = 3600.0
D = "3fd0c1a2b4e5"


def make_sweeper(
    worker: FakeWorker, *, dry_run: bool = False, registered: list[Register] | None = None
) -> Sweeper:
    """Beside a worker, on its store and by its clock; younger than an hour is young."""
    store = worker.store
    store.clock = worker.clock
    manifests = Manifests(store, RENDITIONS, LAYOUT)
    return Sweeper(
        verifier=Verifier(store, RENDITIONS, manifests),
        manifests=manifests,
        renditions=Renditions(store, RENDITIONS, LAYOUT),
        layout=LAYOUT,
        clock=worker.clock,
        fresh_id=worker.ids,
        older_than=timedelta(hours=1),
        dry_run=dry_run,
        register_again=None if registered is None else registered.append,
    )


def sweep(sweeper: Sweeper, worker: FakeWorker) -> dict[str, Swept]:
    """Sweep every photo; what became of each."""
    survey = Survey(worker.store, RENDITIONS, LAYOUT)
    return {judged.photo.photo_id: judged.result for judged in survey.judge(sweeper)}


def faults(swept: Swept) -> list[tuple[FaultKind, str]]:
    return [(fault.kind, fault.object) for fault in swept.faults]


def abandon(worker: FakeWorker, version: int) -> set[str]:
    """What an attempt leaves that is killed before its commit."""
    worker.store.before = Once("write", "manifest.json", raising(StorageUnavailable("killed")))
    with pytest.raises(StorageUnavailable):
        worker.do(register(version))
    return names_of(worker.store, version)


def leave(worker: FakeWorker, version: int, photo_id: str = "a", rung: str = "320") -> str:
    """A rendition that nobody names."""
    name = LAYOUT.rendition(photo_id, version, D, rung)
    worker.store.seed(RENDITIONS, name, b"left")
    return name


def test_what_is_older_than_the_manifest_goes_at_once(worker: FakeWorker) -> None:
    sweeper = make_sweeper(worker)
    worker.do(register(17))
    orphan = leave(worker, 16)
    swept = sweep(sweeper, worker)["a"]
    assert [each.name for each in swept.orphans] == [orphan]
    assert not swept.fenced
    assert orphan not in rendition_names(worker.store)
    assert_whole(worker.store)


@pytest.mark.parametrize("version", [16, 17])
def test_what_is_behind_a_tombstone_goes_at_once(worker: FakeWorker, version: int) -> None:
    sweeper = make_sweeper(worker)
    worker.do(deregister(17))
    leave(worker, version)
    sweep(sweeper, worker)
    assert rendition_names(worker.store) == set()
    assert current_manifest(worker.store).fence == 0


def test_what_may_still_be_committed_is_left_alone_while_it_is_young(worker: FakeWorker) -> None:
    sweeper = make_sweeper(worker)
    worker.do(register(17))
    newer = leave(worker, 18)
    worker.clock.advance(HOUR - 1)
    swept = sweep(sweeper, worker)["a"]
    assert ([each.name for each in swept.spared], swept.orphans) == ([newer], ())
    assert newer in rendition_names(worker.store)
    assert current_manifest(worker.store).fence == 0


def test_one_young_rendition_spares_the_whole_attempt(worker: FakeWorker) -> None:
    sweeper = make_sweeper(worker)
    leave(worker, 18, rung="320")
    worker.clock.advance(HOUR)
    leave(worker, 18, rung="512")
    swept = sweep(sweeper, worker)["a"]
    assert (len(swept.spared), swept.orphans) == (2, ())


def test_what_may_still_be_committed_goes_behind_a_fence(worker: FakeWorker) -> None:
    sweeper = make_sweeper(worker)
    worker.do(register(17))
    shown = current_manifest(worker.store)
    abandon(worker, 18)
    worker.clock.advance(HOUR)
    swept = sweep(sweeper, worker)["a"]
    assert swept.fenced
    assert names_of(worker.store, 18) == set()
    assert_whole(worker.store)
    after = current_manifest(worker.store)
    assert (after.fence, after.version, after.renditions) == (1, 17, shown.renditions)
    worker.do(register(18))
    assert current_manifest(worker.store).version == 18
    assert_whole(worker.store)


def test_a_photo_that_never_was_gets_its_fence_too(worker: FakeWorker) -> None:
    sweeper = make_sweeper(worker)
    left = abandon(worker, 18)
    worker.clock.advance(HOUR)
    sweep(sweeper, worker)
    assert rendition_names(worker.store) == set()
    blank = current_manifest(worker.store)
    assert (blank.state, blank.version, blank.fence) == (State.DEREGISTERED, 0, 1)
    worker.do(register(18))
    assert_whole(worker.store)
    assert current_manifest(worker.store).object_names.isdisjoint(left)


def test_another_recipes_renditions_of_the_same_version_go(worker: FakeWorker) -> None:
    sweeper = make_sweeper(worker)
    worker.do(register(17))
    rival(worker, quality=70).do(register(17))
    worker.clock.advance(HOUR)
    swept = sweep(sweeper, worker)["a"]
    assert len(swept.orphans) == 3
    assert rendition_names(worker.store) == current_manifest(worker.store).object_names


def test_what_is_committed_between_look_and_fence_stays(worker: FakeWorker) -> None:
    sweeper = make_sweeper(worker)
    abandon(worker, 18)
    worker.clock.advance(HOUR)
    worker.store.before = Once("write", "manifest.json", lambda: worker.do(register(18)))
    swept = sweep(sweeper, worker)["a"]
    assert swept.orphans == ()
    assert_whole(worker.store)


def test_an_attempt_under_way_cannot_commit_what_the_sweep_removes(worker: FakeWorker) -> None:
    sweeper = make_sweeper(worker)
    abandon(worker, 18)
    worker.clock.advance(HOUR)
    worker.store.before = Once("stat", "512.webp", lambda: sweep(sweeper, worker))
    with pytest.raises(Fenced):
        worker.do(register(18))
    worker.do(register(18))
    assert_whole(worker.store)


def test_a_second_sweep_finds_nothing(worker: FakeWorker) -> None:
    sweeper = make_sweeper(worker)
    worker.do(register(17))
    leave(worker, 16)
    leave(worker, 18)
    worker.clock.advance(HOUR)
    sweep(sweeper, worker)
    worker.store.requests.clear()
    assert sweep(sweeper, worker) == {"a": Swept()}
    assert worker.store.asked("write") == worker.store.asked("delete") == []


def test_a_dry_run_says_the_same_and_changes_nothing(worker: FakeWorker) -> None:
    worker.do(register(17))
    leave(worker, 16)
    leave(worker, 18)
    worker.clock.advance(HOUR)
    before = [(n, worker.store.entry(RENDITIONS, n)) for n in worker.store.names(RENDITIONS)]
    dry = sweep(make_sweeper(worker, dry_run=True, registered=[]), worker)
    after = [(n, worker.store.entry(RENDITIONS, n)) for n in worker.store.names(RENDITIONS)]
    assert before == after
    assert dry == sweep(make_sweeper(worker), worker)


def test_neighbours_and_foreign_objects_are_nobodys_orphans(worker: FakeWorker) -> None:
    store, sweeper = worker.store, make_sweeper(worker)
    for photo_id in ("a", "a/b", f"a/17-{D}"):
        seed_original(store, photo_id)
        worker.do(register(17, photo_id))
    for name in ("photos/a/readme.txt", f"photos/a/16-{D}/notes.txt", "elsewhere/320.webp"):
        store.seed(RENDITIONS, name, b"")
    everything = store.names(RENDITIONS)
    worker.clock.advance(HOUR)
    sweep(sweeper, worker)
    assert store.names(RENDITIONS) == everything


def test_a_sweep_that_is_cut_short_is_finished_by_the_next(worker: FakeWorker) -> None:
    sweeper = make_sweeper(worker)
    abandon(worker, 18)
    worker.clock.advance(HOUR)
    worker.store.before = Once("delete", "512.webp", raising(StorageUnavailable("killed")))
    with pytest.raises(StorageUnavailable):
        sweep(sweeper, worker)
    sweep(sweeper, worker)
    assert rendition_names(worker.store) == set()


def lose(worker: FakeWorker, rung: str) -> str:
    name = next(n for n in rendition_names(worker.store) if n.endswith(f"/{rung}.webp"))
    worker.store.delete(RENDITIONS, name)
    return name


def test_a_true_manifest_costs_one_request(worker: FakeWorker) -> None:
    worker.do(register(17))
    worker.store.requests.clear()
    assert sweep(make_sweeper(worker), worker) == {"a": Swept()}
    assert [request.verb for request in worker.store.requests] == ["list", "read"]


def test_what_is_missing_is_reported_and_nothing_is_changed(worker: FakeWorker) -> None:
    worker.do(register(17))
    before = current_manifest(worker.store)
    lost = lose(worker, "512")
    swept = sweep(make_sweeper(worker), worker)["a"]
    assert faults(swept) == [(FaultKind.MISSING, lost)]
    assert not swept.repaired
    assert current_manifest(worker.store) == before


@pytest.mark.parametrize(
    ("data", "kind"), [(b"short", FaultKind.OTHER_SIZE), (None, FaultKind.OTHER_CHECKSUM)]
)
def test_what_is_not_what_the_manifest_says_is_reported(
    worker: FakeWorker, data: bytes | None, kind: FaultKind
) -> None:
    worker.do(register(17))
    rendition = current_manifest(worker.store).renditions[0]
    worker.store.seed(RENDITIONS, rendition.object, data or bytes(rendition.bytes))
    swept = sweep(make_sweeper(worker), worker)["a"]
    assert faults(swept) == [(kind, rendition.object)]


def test_a_manifest_that_cannot_be_read_condemns_nothing(worker: FakeWorker) -> None:
    worker.do(register(17))
    worker.store.seed(RENDITIONS, LAYOUT.manifest("a"), b"not a manifest")
    orphan = leave(worker, 1)
    worker.clock.advance(HOUR)
    swept = sweep(make_sweeper(worker, registered=[]), worker)["a"]
    assert faults(swept) == [(FaultKind.UNREADABLE, LAYOUT.manifest("a"))]
    assert (swept.orphans, swept.repaired) == ((), False)
    assert orphan in rendition_names(worker.store)


def test_a_manifest_that_is_replaced_meanwhile_was_never_untrue(worker: FakeWorker) -> None:
    sweeper = make_sweeper(worker)
    worker.do(register(17))
    # Between the read of the manifest and the look at its renditions, a worker replaces both.
    worker.store.after = Once("read", "manifest.json", lambda: worker.do(register(18)))
    swept = sweep(sweeper, worker)["a"]
    assert swept.faults == ()
    assert_whole(worker.store)


def test_a_listing_that_is_older_than_the_manifest_makes_no_fault(worker: FakeWorker) -> None:
    sweeper = make_sweeper(worker)
    worker.do(register(17))
    worker.store.after = Once("list", "photos/", lambda: worker.do(register(18)))
    assert sweep(sweeper, worker)["a"].faults == ()


def test_a_repair_strikes_out_what_is_lost_and_registers_again(worker: FakeWorker) -> None:
    worker.do(register(17))
    lost = lose(worker, "512")
    events: list[Register] = []
    swept = sweep(make_sweeper(worker, registered=events), worker)["a"]
    assert swept.repaired
    reopened = current_manifest(worker.store)
    assert (reopened.version, reopened.recipe, reopened.fence) == (17, None, 1)
    assert lost not in reopened.object_names
    assert_whole(worker.store)
    assert events == [register(17)]
    worker.do(events[0])
    assert len(current_manifest(worker.store).renditions) == 3
    assert_whole(worker.store)
    assert not sweep(make_sweeper(worker), worker)["a"].faults


def test_a_repair_never_adopts_what_it_struck_out(worker: FakeWorker) -> None:
    worker.do(register(17))
    rotten = current_manifest(worker.store).renditions[0]
    worker.store.seed(RENDITIONS, rotten.object, b"rotten")
    events: list[Register] = []
    sweep(make_sweeper(worker, registered=events), worker)
    worker.do(events[0])
    assert rotten.object not in current_manifest(worker.store).object_names
    assert_whole(worker.store)


def test_a_repair_that_was_killed_before_its_event_is_taken_up(worker: FakeWorker) -> None:
    worker.do(register(17))
    lose(worker, "512")
    sweeper = make_sweeper(worker, registered=[])
    worker.store.after = Once("write", "manifest.json", raising(StorageUnavailable("killed")))
    with pytest.raises(StorageUnavailable):
        sweep(sweeper, worker)
    events: list[Register] = []
    swept = sweep(make_sweeper(worker, registered=events), worker)["a"]
    assert faults(swept) == [(FaultKind.REOPENED, LAYOUT.manifest("a"))]
    assert (swept.repaired, events) == (False, [])  # its event may still be on its way
    worker.clock.advance(HOUR)
    fence = current_manifest(worker.store).fence
    assert sweep(make_sweeper(worker, registered=events), worker)["a"].repaired
    assert events == [register(17)]
    assert current_manifest(worker.store).fence == fence  # an attempt under way goes on


def test_a_repair_whose_event_is_not_confirmed_is_none(worker: FakeWorker) -> None:
    def refuse(_: Register) -> None:
        raise PublishFailed("no confirmation")

    worker.do(register(17))
    lost = lose(worker, "512")
    sweeper = replace(make_sweeper(worker), register_again=refuse)
    swept = sweep(sweeper, worker)["a"]
    assert (swept.repaired, faults(swept)) == (False, [(FaultKind.MISSING, lost)])


def test_what_cannot_be_rendered_again_is_not_asked_for_again(worker: FakeWorker) -> None:
    worker.do(register(17))
    lose(worker, "512")
    events: list[Register] = []
    sweep(make_sweeper(worker, registered=events), worker)
    worker.reject(events.pop(), OriginalMissing("gone"))
    worker.clock.advance(HOUR)
    swept = sweep(make_sweeper(worker, registered=events), worker)["a"]
    assert faults(swept) == [(FaultKind.LOST, LAYOUT.manifest("a"))]
    assert "original_missing: gone" in swept.faults[0].message
    assert (swept.repaired, events) == (False, [])


def test_another_photos_manifest_condemns_nothing(worker: FakeWorker) -> None:
    seed_original(worker.store, "b")
    worker.do(register(17))
    worker.do(register(17, "b"))
    entry = worker.store.entry(RENDITIONS, LAYOUT.manifest("b"))
    assert entry is not None
    worker.store.seed(RENDITIONS, LAYOUT.manifest("a"), entry.data)
    worker.clock.advance(HOUR)
    before = rendition_names(worker.store)
    swept = sweep(make_sweeper(worker, registered=[]), worker)["a"]
    assert faults(swept) == [(FaultKind.ANOTHERS, LAYOUT.manifest("a"))]
    assert (swept.orphans, swept.repaired) == ((), False)
    assert rendition_names(worker.store) == before


def test_a_repair_leaves_a_manifest_alone_that_was_replaced_meanwhile(
    worker: FakeWorker,
) -> None:
    worker.do(register(17))
    lose(worker, "512")
    events: list[Register] = []
    worker.store.before = Once("write", "manifest.json", lambda: worker.do(register(18)))
    swept = sweep(make_sweeper(worker, registered=events), worker)["a"]
    assert (swept.repaired, events) == (False, [])
    assert current_manifest(worker.store).version == 18
    assert_whole(worker.store)


def test_rejected_photos_have_nothing_to_verify(tmp_path: Path) -> None:
    worker = make_worker(tmp_path)
    worker.reject(register(17), CorruptOriginal("bad"))
    assert sweep(make_sweeper(worker), worker) == {"a": Swept()}
