"""Following published events to their ends, by the manifests alone."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support import manifests as support
from tests.support.manifests import refusal
from worker.console.stop import Stop
from worker.errors import StorageUnavailable
from worker.operate.backfill.comparison import seen_in
from worker.operate.backfill.following import (
    CHUNK,
    REJECTIONS,
    Awaited,
    End,
    Follower,
    Outcomes,
    Pending,
    end_of,
)
from worker.photo.manifest import Manifest, Rejection, State


def manifest(state: State, version: int, *, refused: int = 0, **fields: Any) -> Manifest:
    rejection = refusal(refused) if refused else None
    return support.manifest(state, version, **{"recipe": "r", "rejection": rejection, **fields})


def ready(version: int, **more: Any) -> Manifest:
    return manifest(State.READY, version, **more)


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (None, None, None),
        (None, ready(17), "ready"),
        (ready(16), ready(16), None),
        (ready(16), ready(17), "ready"),
        (ready(15), ready(16), None),
        (ready(16), ready(18), "superseded"),
        # The same version by another recipe.
        (ready(17, recipe="old"), ready(17, recipe="old"), None),
        (ready(17, recipe="old"), ready(17), "ready"),
        (ready(17, recipe="old"), ready(17, recipe="old", refused=17), "rejected"),
        # The sweep passed by.
        (ready(17, recipe="old"), ready(17, recipe="old", fence=1), None),
        (None, manifest(State.REJECTED, 17, refused=17), "rejected"),
        (ready(16), ready(16, refused=17), "rejected"),
        (ready(16), ready(16, refused=16), None),
        (manifest(State.REJECTED, 17, refused=17), manifest(State.REJECTED, 17, refused=17), None),
        (manifest(State.REJECTED, 17, refused=17), ready(17), "ready"),
        (None, manifest(State.DEREGISTERED, 18), "superseded"),
        (ready(16), manifest(State.DEREGISTERED, 16), None),
        (None, manifest(State.DEREGISTERED, 0, fence=1), None),
    ],
)
def test_what_a_manifest_says_of_an_event(
    before: Manifest | None, after: Manifest | None, kind: str | None
) -> None:
    awaited = Awaited(number=1, photo_id="a", version=17, seen=seen_in(before))
    end = end_of(awaited, after)
    assert (end.kind if end else None) == kind


def test_a_rejection_tried_again_in_vain_is_an_end_too() -> None:
    before = manifest(State.REJECTED, 17, refused=17)
    later = Rejection(
        version=17, reason="render_timeout", message="m", at=datetime(2026, 11, 23, tzinfo=UTC)
    )
    awaited = Awaited(number=1, photo_id="a", version=17, seen=seen_in(before))
    after = before.model_copy(update={"rejection": later})
    assert end_of(awaited, after) == End("rejected", "render_timeout: m")


class World:
    """Photos that become ready one look after the other; pauses move its clock."""

    def __init__(self, count: int) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        self.looks: dict[str, int] = {}
        self.needed = {f"p{number}": 1 for number in range(count)}
        self.rejected: set[str] = set()
        self.failing: set[str] = set()
        self.stop = _Pauses(self)
        self._lock = threading.Lock()

    def read(self, photo_id: str) -> Manifest | None:
        with self._lock:
            self.looks[photo_id] = self.looks.get(photo_id, 0) + 1
        if photo_id in self.failing:
            self.failing.discard(photo_id)
            raise StorageUnavailable("503")
        if self.looks[photo_id] < self.needed[photo_id]:
            return None
        if photo_id in self.rejected:
            return manifest(State.REJECTED, 17, refused=17)
        return ready(17)

    def follow(self, stalled_seconds: float = 900) -> Outcomes:
        follower = Follower(
            read=self.read,
            stop=self.stop,
            stalled_seconds=stalled_seconds,
            monotonic=lambda: self.now,
        )
        with closing(Pending()) as pending:
            pending.add((photo_id, 17, "") for photo_id in self.needed)
            return follower(pending, lambda _: None)


class _Pauses(Stop):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def wait(self, seconds: float) -> bool:
        self._world.pauses.append(seconds)
        self._world.now += seconds
        return False


def test_all_are_followed_to_their_ends_chunk_by_chunk() -> None:
    world = World(2 * CHUNK + 10)
    world.needed |= {"p3": 4, f"p{CHUNK + 3}": 2}
    world.rejected = {"p5", "p7"}
    world.failing = {"p11"}
    outcomes = world.follow()
    assert (outcomes.ready, outcomes.rejected, outcomes.pending) == (2 * CHUNK + 8, 2, 0)
    assert outcomes.rejections == [
        {"photo_id": photo_id, "why": "corrupt_original: m"} for photo_id in ("p5", "p7")
    ]
    assert world.looks["p3"] == 4
    assert world.looks["p11"] == 2
    assert world.looks["p0"] == 1


def test_nothing_is_waited_for_while_the_queue_moves() -> None:
    world = World(4 * CHUNK)
    world.follow()
    assert world.pauses == []


def test_a_queue_that_hardly_moves_is_asked_less_and_less() -> None:
    world = World(2 * CHUNK)
    world.needed |= dict.fromkeys(world.needed, 10)
    outcomes = world.follow()
    assert outcomes.ready == 2 * CHUNK
    assert max(world.pauses) == 10.0
    assert world.pauses[0] < world.pauses[4]


def test_what_nobody_consumes_is_given_up() -> None:
    world = World(3)
    world.needed |= {"p1": 1_000_000}
    outcomes = world.follow(stalled_seconds=60)
    assert (outcomes.ready, outcomes.pending) == (2, 1)
    assert 60 <= world.now < 75


def test_a_stop_leaves_the_rest_pending() -> None:
    world = World(3)
    world.stop.ask()
    outcomes = world.follow()
    assert (outcomes.pending, world.looks) == (3, {})


def test_only_the_first_rejections_are_kept_by_name() -> None:
    world = World(REJECTIONS + 5)
    world.rejected = set(world.needed)
    outcomes = world.follow()
    assert (outcomes.rejected, len(outcomes.rejections)) == (REJECTIONS + 5, REJECTIONS)


def test_pending_events_are_given_in_order_and_forgotten() -> None:
    pending = Pending()
    pending.add([("a", 1, ""), ("b", 2, "x"), ("a", 3, "")])
    pending.add([("c", 4, "")])
    assert len(pending) == 4
    first = pending.some(0, 2)
    assert [(each.photo_id, each.version, each.seen) for each in first] == [
        ("a", 1, ""),
        ("b", 2, "x"),
    ]
    rest = pending.some(first[-1].number, 10)
    assert [each.photo_id for each in rest] == ["a", "c"]
    pending.remove([each.number for each in rest])
    assert len(pending) == 2
    assert pending.some(first[-1].number, 10) == []
    pending.close()
