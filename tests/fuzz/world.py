"""A subscription, a bucket, and several workers whose every request the test decides about."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

from tests.fuzz import promises
from tests.fuzz.attempts import Attempt, Fate, Message
from tests.fuzz.edges import SOUND, ContentRenderer, Late, SharedPublisher, SharedStore
from tests.support.fakes import recording_log
from tests.support.workers import (
    LAYOUT,
    ORIGINALS,
    RENDITIONS,
    FakeWorker,
    dispatcher_of,
    make_worker,
    seed_original,
)
from worker.errors import PreconditionFailed, Transient
from worker.operate.sweep.leftovers import Sweeper
from worker.operate.sweep.survey import Survey
from worker.operate.sweep.verify import Verifier
from worker.photo.delivery import Delivery
from worker.photo.events import Deregister, Register
from worker.telemetry.counters import Counters

QUALITIES = (80, 60, 80)
SALTS = (b"80 ", b"60 ", b"80, another codec ")
"""What the workers' renditions begin with: the first and the last have the same recipe."""

FOREIGN = (
    "photos/a/notes.txt",
    "photos/a/b/1-0123456789ab/preview.webp",
    "photos/a/1-0123456789ab.webp",
    "elsewhere/a/1-0123456789ab/320.webp",
)
ENOUGH_DELIVERIES = 12
"""Without faults a message is acked after fewer: a crashing picture needs three, and each sweep
that is still running may send one back."""

COUNTERS = Counters()
"""Of all worlds: to make them takes longer than a short schedule."""

BURSTS = (1, 1, 1, 2, 3, 5, 8, 20)


class World:
    """All that runs. Promises 1 and 3 are checked at each step, 2 and 4 in `settle`.

    `counted`: the subscription counts deliveries. `unsettled` counts those since the last
    `settle`. `totals` gathers what was explored.
    """

    def __init__(
        self, scratch: Path, photo_ids: tuple[str, ...], totals: Counter[str], *, counted: bool
    ) -> None:
        self.store = SharedStore()
        for name in FOREIGN:
            self.store.seed(RENDITIONS, name, b"nobody's")
        self.publisher = SharedPublisher()
        self.watch = promises.Watch(self.store, photo_ids)
        self.messages: list[Message] = []
        self.attempts: list[Attempt] = []
        self.unsettled = 0
        self._totals = totals
        self._counted = counted
        self._log, self._entries = recording_log()
        self._workers = [self._worker(scratch, number) for number in range(len(SALTS))]
        self._dispatchers = [
            dispatcher_of(worker, self.publisher, self._log, counters=COUNTERS)
            for worker in self._workers
        ]
        self._sweeps = itertools.count()

    def send(self, event: Register | Deregister | None) -> Message:
        """Publish an event, or something else."""
        number = len(self.messages)
        body = event.model_dump(exclude_none=True) if event else {"type": "photo.nonsense"}
        message = Message(number, json.dumps({**body, "number": number}).encode(), event)
        message.failing = isinstance(event, Register) and event.bucket != ORIGINALS
        self.messages.append(message)
        return message

    def deliver(self, message: Message, worker: int) -> Attempt:
        """Hand a message to a worker, whoever else may hold it, and were it acked long ago."""
        message.deliveries += 1
        self.unsettled += 1
        attempt = Attempt(
            f"worker {worker}", message, message.deliveries if self._counted else None
        )

        def answer(verb: str) -> None:
            if attempt.wait(verb, "") is Fate.GO and verb == "ack":
                message.acked = True

        delivery = Delivery(
            message_id=str(message.number),
            data=message.data,
            attributes={},
            attempt=attempt.number,
            send_ack=partial(answer, "ack"),
            send_nack=partial(answer, "nack"),
        )
        self._totals["deliveries"] += 1
        return self._begin(attempt, partial(self._dispatchers[worker], delivery))

    def sweep(self, worker: int) -> Attempt:
        """Start a sweep of everything, however young, in a process of its own."""
        parts = self._workers[worker]
        sweeper = Sweeper(
            verifier=Verifier(self.store, RENDITIONS, parts.manifests),
            manifests=parts.manifests,
            renditions=parts.renditions,
            layout=LAYOUT,
            clock=parts.clock,
            fresh_id=parts.ids,
            older_than=timedelta(0),
            dry_run=False,
            register_again=_never_untrue,
        )

        def work() -> None:
            with contextlib.suppress(Transient):
                for photo in Survey(self.store, RENDITIONS, LAYOUT).photos():
                    sweeper(photo)

        self._totals["sweeps"] += 1
        return self._begin(Attempt(f"sweep {next(self._sweeps)}", None, None), work)

    def step(self, attempt: Attempt, fate: Fate = Fate.GO) -> None:
        """Let an attempt make the request that it stands before."""
        assert attempt.stop is not None
        self._totals["steps"] += 1
        if fate is not Fate.GO:
            self._totals[f"{attempt.stop.verb} {fate.name.lower()}"] += 1
        if attempt.stop.verb == "ack":
            self._check_ack(attempt)
        attempt.resume(fate)
        self._look(attempt)

    def crash(self, home: str) -> None:
        """A power cut: every attempt of one process ends where it stands."""
        self._totals["crashes"] += 1
        changes = self.store.changes, len(self.publisher.messages)
        for attempt in [one for one in self.attempts if one.home == home]:
            self._totals["attempts crashed"] += 1
            self.attempts.remove(attempt)
            attempt.kill()
        assert (self.store.changes, len(self.publisher.messages)) == changes

    def release(self, late: Late) -> None:
        """A request that was taken for lost arrives after all."""
        self._totals["late arrivals"] += 1
        self.store.late.remove(late)
        with contextlib.suppress(PreconditionFailed):
            late.effect()
        self.watch.look(late.attempt)

    def interleave(self, chance: random.Random, bursts: int) -> None:
        """Attempts go on by turns, some for a step and some for long."""
        for _ in range(bursts):
            if self.attempts:
                attempt = chance.choice(self.attempts)
                for _ in range(chance.choice(BURSTS)):
                    if attempt.stop is not None:
                        self.step(attempt)

    def settle(self, chance: random.Random) -> None:
        """Faults are over: all runs to its end, by turns. Then promises 2 and 4.

        Meanwhile come a few duplicates and sweeps, and an original is mended.
        """
        self._totals["settled"] += 1
        enough = {one.number: one.deliveries + ENOUGH_DELIVERIES for one in self.messages}
        extras: list[Callable[[], object]] = [
            partial(self.deliver, message, chance.randrange(len(SALTS)))
            for message in chance.sample(self.messages, min(len(self.messages), 2))
        ]
        extras += [partial(self.sweep, chance.randrange(len(SALTS))) for _ in range(2)]
        mended = chance.choice(self.watch.photo_ids[:2])
        extras.append(partial(seed_original, self.store, mended, SOUND[0]))
        while True:
            held = {one.message for one in self.attempts}
            waiting = [one for one in self.messages if not one.acked and one not in held]
            if waiting and (not self.attempts or chance.random() < 0.3):
                message = chance.choice(waiting)
                assert message.deliveries < enough[message.number], f"never acked: {message}"
                self.deliver(message, chance.randrange(len(SALTS)))
            elif self.attempts:
                if extras and chance.random() < 0.2:
                    extras.pop(chance.randrange(len(extras)))()
                self.interleave(chance, 1)
            elif self.store.late:
                self.release(chance.choice(self.store.late))
            else:
                break
        self.unsettled = 0
        for photo_id in self.watch.photo_ids:
            promises.check_final(photo_id, self.watch.manifest(photo_id), self.messages)
        self._sweep_alone()
        promises.check_swept(self.store, self.watch, FOREIGN)
        changes = self.store.changes
        self._sweep_alone()
        assert self.store.changes == changes, "a second sweep found something to do"
        for photo_id in self.watch.photo_ids:
            promises.check_final(photo_id, self.watch.manifest(photo_id), self.messages)

    def _sweep_alone(self) -> None:
        attempt = self.sweep(0)
        while attempt.stop:
            self.step(attempt)

    def _begin(self, attempt: Attempt, work: Callable[[], None]) -> Attempt:
        self.attempts.append(attempt)
        attempt.begin(work)
        self._look(attempt)
        return attempt

    def _look(self, attempt: Attempt) -> None:
        if attempt.stop is None:
            self.attempts.remove(attempt)
        for deleter, bucket, name in self.store.deletes:
            assert bucket == RENDITIONS
            event = deleter.message.event if deleter.message else None
            owners = (event.photo_id,) if event else self.watch.photo_ids
            assert any(promises.is_own(owner, name) for owner in owners), f"{name} of {owners}"
        self.store.deletes.clear()
        self.watch.look(attempt)
        unknown = [entry for entry in self._entries if entry["level"] == "error"]
        assert not unknown, unknown
        for entry in self._entries:
            outcome = entry.get("outcome", "tried twice")
            self._totals[f"{outcome} {entry.get('error', '')}".rstrip()] += 1
        self._entries.clear()

    def _check_ack(self, attempt: Attempt) -> None:
        message = attempt.message
        assert message is not None
        photo_id = message.event.photo_id if message.event else ""
        promises.check_ack(attempt, self.watch.manifest(photo_id), self.publisher.messages)

    def _worker(self, scratch: Path, number: int) -> FakeWorker:
        renderer = ContentRenderer(size=(400, 300), quality=QUALITIES[number])
        renderer.salt = SALTS[number]
        return make_worker(scratch, self.store, renderer=renderer, name=f"worker-{number}")


def _never_untrue(event: Register) -> None:
    raise AssertionError(f"a true manifest of {event.photo_id} was taken for untrue")
