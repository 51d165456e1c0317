"""The promises of docs/contract.md under any schedule that hypothesis can think of.

Three workers (two recipes, and another codec for one of them) handle the messages of photos that
nest, beside sweeps that spare nothing. Before each request of each attempt, the schedule says who
goes on and what becomes of the request; processes die anywhere; what was taken for lost arrives
later. The handlers, the dispatcher and the sweep are the real ones.

`PROTOCOL_EXAMPLES=20000 pytest tests/fuzz/test_protocol.py -s` explores for longer.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.fuzz.attempts import Attempt, Fate, Stop
from tests.fuzz.edges import CORRUPT, CRASHING, SOUND, ContentRenderer
from tests.fuzz.world import QUALITIES, SALTS, World
from tests.support.workers import ORIGINALS, seed_original
from worker.photo.events import Deregister, Register

T = TypeVar("T")

EXAMPLES = int(os.environ.get("PROTOCOL_EXAMPLES", "1000"))
STEPS = 50
MESSAGES_TO_SETTLE = 5

_DIGEST = hashlib.sha256(
    SOUND[0] + ContentRenderer(quality=QUALITIES[0]).recipe.fingerprint.encode()
).hexdigest()[:12]
PHOTO_IDS = ("a", "a/b", f"a/1-{_DIGEST}")
"""The last is called like the folder of a ladder of the first."""

KINDS = (*["register"] * 6, *["deregister"] * 3, *["forbidden"] * 2, "nonsense")

photos = st.integers(0, len(PHOTO_IDS) - 1)
contents = st.sampled_from((*SOUND, *SOUND, CORRUPT, CRASHING, None))
kinds = st.sampled_from(KINDS)
versions = st.integers(0, 3)
workers = st.integers(0, len(SALTS) - 1)
picks = st.sampled_from((0, 0, 0, 1, 1, 2, 3, 5, 9))
"""Which attempt or message, from the newest back: what is old rarely meets anyone."""
faults = st.sampled_from([fate for fate in Fate if fate is not Fate.GO])
places = st.sampled_from(("next", "upload", "commit", "commit", "list", "delete", "publish", "ack"))


class Protocol(RuleBasedStateMachine):
    """One schedule."""

    scratch: ClassVar[Path]
    totals: ClassVar[Counter[str]] = Counter()

    @initialize(
        counted=st.booleans(),
        seed=st.integers(0, 2**16),
        photos=st.sampled_from((1, 1, 2, 3)),
        versions=st.sampled_from((1, 2, 3, 4, 4)),
        crowd=st.sampled_from((0, 2, 3, 4, 5, 6)),
    )
    def begin(self, *, counted: bool, seed: int, photos: int, versions: int, crowd: int) -> None:
        # Not always all of them: the fewer there are, the more often attempts meet.
        self.photos, self.versions = photos, versions
        type(self).totals["schedules begun"] += 1
        self.world = World(self.scratch, PHOTO_IDS, self.totals, counted=counted)
        self.chance = random.Random(seed)  # noqa: S311 (repeatable, not secret)
        for photo_id in PHOTO_IDS:
            content = self.chance.choice((*SOUND, *SOUND, CORRUPT, CRASHING))
            seed_original(self.world.store, photo_id, content)
        # Hypothesis switches rules off at random, in half of the schedules the one that sends.
        for _ in range(crowd):
            self.send(
                kind=self.chance.choice(KINDS),
                photo=self.chance.randrange(photos),
                version=self.chance.randrange(versions),
                pinned=False,
                worker=self.chance.randrange(len(SALTS)),
            )

    # --- the world outside ---------------------------------------------------------------------

    @rule(photo=photos, content=contents)
    def overwrite(self, photo: int, content: bytes | None) -> None:
        photo_id, store = self._photo_id(photo), self.world.store
        if content is None:
            store.delete(ORIGINALS, f"{photo_id}.jpg")
        else:
            seed_original(store, photo_id, content)

    @rule(kind=kinds, photo=photos, version=versions, pinned=st.booleans(), worker=workers)
    def send(self, *, kind: str, photo: int, version: int, pinned: bool, worker: int) -> None:
        photo_id, version = self._photo_id(photo), 1 + version % self.versions
        event: Register | Deregister | None = None
        if kind == "deregister":
            event = Deregister(photo_id=photo_id, version=version)
        elif kind != "nonsense":
            bucket = ORIGINALS if kind == "register" else "elsewhere"
            there = self.world.store.entry(bucket, f"{photo_id}.jpg")
            event = Register(
                photo_id=photo_id,
                version=version,
                original=f"gs://{bucket}/{photo_id}.jpg",
                generation=str(there.generation) if there and pinned else None,
            )
        self.world.deliver(self.world.send(event), worker)

    @precondition(lambda self: self.world.messages)
    @rule(pick=picks, worker=workers)
    def deliver_again(self, pick: int, worker: int) -> None:
        self.world.deliver(_newest(self.world.messages, pick), worker)

    @rule(worker=workers)
    def sweep(self, worker: int) -> None:
        self.world.sweep(worker)

    # --- who goes on, and how ------------------------------------------------------------------

    @precondition(lambda self: self.world.attempts)
    @rule(pick=picks, steps=st.integers(1, 12))
    def go_on(self, pick: int, steps: int) -> None:
        attempt = self._attempt(pick)
        for _ in range(steps):
            if attempt.stop is not None:
                self.world.step(attempt)

    @precondition(lambda self: len(self.world.attempts) > 1)
    @rule(bursts=st.integers(2, 20))
    def interleave(self, bursts: int) -> None:
        self.world.interleave(self.chance, bursts)

    @precondition(lambda self: self.world.attempts)
    @rule(pick=picks, place=places)
    def go_on_to(self, pick: int, place: str) -> None:
        self._go_on_to(self._attempt(pick), place)

    @precondition(lambda self: self.world.attempts)
    @rule(pick=picks, place=places, fate=faults)
    def go_wrong(self, pick: int, place: str, fate: Fate) -> None:
        attempt = self._attempt(pick)
        if self._go_on_to(attempt, place):
            self.world.step(attempt, fate)

    @precondition(lambda self: self.world.attempts)
    @rule(pick=picks, place=places)
    def crash(self, pick: int, place: str) -> None:
        attempt = self._attempt(pick)
        if self._go_on_to(attempt, place):
            self.world.crash(attempt.home)

    @precondition(lambda self: self.world.store.late)
    @rule(pick=picks)
    def arrive_late(self, pick: int) -> None:
        self.world.release(_newest(self.world.store.late, pick))

    @precondition(lambda self: self.world.unsettled >= MESSAGES_TO_SETTLE)
    @rule()
    def settle(self) -> None:
        self.world.settle(self.chance)

    # Hypothesis calls it at the end of each schedule.
    def teardown(self) -> None:
        # Not after a failure: it would be hidden by another.
        if sys.exc_info()[0] is None:
            self.world.settle(self.chance)
            self.totals["schedules finished"] += 1

    def _photo_id(self, photo: int) -> str:
        return PHOTO_IDS[photo % self.photos]

    def _attempt(self, pick: int) -> Attempt:
        return _newest(self.world.attempts, pick)

    def _go_on_to(self, attempt: Attempt, place: str) -> bool:
        """Let it come to what is called so; false if it ends before."""
        while attempt.stop is not None:
            if place in ("next", _place(attempt.stop)):
                return True
            self.world.step(attempt)
        return False


def _newest(things: list[T], pick: int) -> T:
    return things[-1 - pick % len(things)]


def _place(stop: Stop) -> str:
    if stop.verb == "write":
        return "commit" if stop.name.endswith("manifest.json") else "upload"
    return stop.verb


@pytest.mark.timeout(0 if "PROTOCOL_EXAMPLES" in os.environ else 600)
def test_the_promises_hold_under_any_schedule(
    tmp_path: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    Protocol.scratch = tmp_path
    Protocol.totals.clear()
    run_state_machine_as_test(
        Protocol,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            print_blob=True,
            report_multiple_bugs=False,
        ),
    )
    assert Protocol.totals["schedules finished"] >= EXAMPLES
    for name, count in sorted(Protocol.totals.items()):
        record_testsuite_property(name, count)
        print(f"{count:9,} {name}")  # noqa: T201 (for whoever asks with -s)
