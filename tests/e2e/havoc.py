"""Havoc: two workers that are killed, drained and crippled at random moments."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from tests.e2e.stage import Stage, Worker
from tests.support.waiting import eventually

WORKERS = 2
IN_FLIGHT = 3
SETTINGS = {
    "vcpus": "1",
    "in_flight_per_vcpu": str(IN_FLIGHT),
    "ladder": "160,320,full",
    # `full` of the large originals takes about a second.
    "full_effort": "6",
    "drain_seconds": "10",
}

_REST_SECONDS = 0.4


class Crew:
    """Two workers at a time; whoever dies is replaced at once.

    `lull_seconds`: how long to wait at least and at most for messages to be handled before a blow
    falls in spite of that; all may be leased to the dead.
    """

    def __init__(
        self, stage: Stage, rng: random.Random, *, lull_seconds: tuple[float, float]
    ) -> None:
        self._stage = stage
        self._rng = rng
        self._lull_seconds = lull_seconds
        self._crippled: set[Worker] = set()
        self.all: list[Worker] = []
        self.blows: Counter[str] = Counter()
        self.caught = 0
        self._working = [self._hire() for _ in range(WORKERS)]

    def _hire(self) -> Worker:
        worker = self._stage.worker(**SETTINGS)
        self.all.append(worker)
        return worker

    @property
    def killed(self) -> int:
        """Workers that were ended by SIGKILL."""
        return sum(worker.running.returncode == -signal.SIGKILL for worker in self.all)

    def handled(self) -> list[dict[str, Any]]:
        """One line for each delivery that was answered, of living and dead workers."""
        return [line for worker in self.all for line in worker.lines("handled")]

    def wait_for_a_random_moment(self) -> None:
        """Return somewhere in the middle of the work.

        Some messages later, and then a little later still: right after a message is no random
        moment. The length of that pause is what is tested here; nothing is expected to have
        happened by then.
        """
        target = self.count() + self._rng.randint(2, 12)
        give_up = time.monotonic() + self._rng.uniform(*self._lull_seconds)
        eventually(lambda: self.count() >= target or time.monotonic() > give_up, "a moment")
        self._rest()

    def _rest(self) -> None:
        threading.Event().wait(self._rng.uniform(0, _REST_SECONDS))

    def count(self) -> int:
        """How many deliveries were answered."""
        return sum(worker.text().count('"handled"') for worker in self.all)

    def strike(self, blow: str) -> None:
        """Let one random worker suffer one blow, and see that its processes end with it."""
        for worker in self._working:
            assert not worker.ended(), f"a worker ended by itself: {worker.text()}"
        if blow in ("sweep", "killed sweep"):
            self._sweep(killed=blow == "killed sweep")
        elif blow == "child":
            self._kill_a_child()
        else:
            self._end_one(blow)
        self.blows[blow] += 1

    def _end_one(self, blow: str) -> None:
        number = self._rng.randrange(WORKERS)
        worker = self._working[number]
        if blow != "kill":
            # A kill may hit its start as well; but only who has started is known to drain.
            worker.wait_until_running().signal(signal.SIGTERM)
        if blow == "killed drain":
            self._rest()
        if blow == "drain":
            assert worker.wait() == 0, worker.text()
            assert not list(worker.scratch.glob("photo-worker-*")), "it leaves files behind"
        else:
            # A folder with an original in it is a photo in the making.
            self.caught += bool(worker.in_scratch("original"))
            worker.signal(signal.SIGKILL)
            assert worker.wait() in ({-signal.SIGKILL} if blow == "kill" else {-signal.SIGKILL, 0})
        eventually(lambda: not processes_of(worker), "its children follow it", seconds=10)
        self._working[number] = self._hire()

    def _kill_a_child(self) -> None:
        """At most once for each worker.

        The third delivery of a message tries a crashed render once more; two crashes within it are
        a poisoned picture to the worker, and would rightly be a dead letter.
        """
        if whole := [each for each in self._working if each not in self._crippled]:
            worker = self._rng.choice(whole).wait_until_running()
            self._crippled.add(worker)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._rng.choice(worker.children()), signal.SIGKILL)

    def _sweep(self, *, killed: bool) -> None:
        """Sweep beside the workers, without leaving anything alone for being young."""
        with self._stage.start_verb("sweep", "--older-than", "0s", "--json") as sweep:
            if killed:
                self._rest()
                sweep.kill()
            _, said = sweep.communicate(timeout=60)
        assert sweep.returncode in ({-signal.SIGKILL, 0} if killed else {0}), said

    def reinforce(self, workers: int) -> None:
        """Add to those who work, and are not to be struck any more."""
        self._working += [self._hire() for _ in range(workers)]

    def go_home(self) -> None:
        """Drain them all."""
        for worker in self._working:
            worker.wait_until_running()
            eventually(partial(_has_a_child, worker), "its child is known to be its own")
            worker.signal(signal.SIGTERM)
        for worker in self._working:
            assert worker.wait() == 0, worker.text()
            assert not processes_of(worker)

    def assert_no_surprises(self) -> None:
        """Each error that a worker met is one that it knows."""
        for worker in self.all:
            assert not worker.lines(severity="ERROR"), worker.text()
            assert "Traceback" not in worker.text(), worker.text()


def _has_a_child(worker: Worker) -> bool:
    return len(processes_of(worker)) > 1


def processes_of(worker: Worker) -> list[int]:
    """Every living process that a worker started, itself included: all inherit its TMPDIR."""
    mark = f"TMPDIR={worker.scratch}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            # Gone meanwhile, or somebody else's. A zombie's environment is empty.
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found
