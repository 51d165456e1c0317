"""What crashes of others and drains cost a healthy message: counted in delivery attempts."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any, Self

import pytest

from tests.e2e.havoc import SETTINGS
from tests.e2e.stage import Stage, Worker
from tests.support.pictures import noisy_jpeg
from tests.support.waiting import eventually

HEALTHY = 20
DRAINS = 3
PHOTOS = 4


class Executioner:
    """Sends a signal to the render child of a worker with one slot whenever it renders a poison."""

    def __init__(self, worker: Worker, poison: bytes, number: signal.Signals) -> None:
        self._worker = worker
        self._size_bytes = len(poison)
        self._number = number
        self._struck: set[Path] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def renders(self) -> int:
        """How many renders it has ended; each has a folder of its own."""
        return len(self._struck)

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            for first in self._worker.in_scratch("160.webp"):
                self._look(first.parent)

    def _look(self, folder: Path) -> None:
        """Strike if the poison is being rendered there: the first rung is written, not the last."""
        try:
            is_poison = (folder / "original").stat().st_size == self._size_bytes
        except FileNotFoundError:
            return  # handled meanwhile
        if is_poison and folder not in self._struck and not (folder / "full.webp").exists():
            self._struck.add(folder)
            (child,) = self._worker.children()
            os.kill(child, self._number)


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGSEGV, "render_crashed"), (signal.SIGSTOP, "render_timeout")],
)
def test_a_poison_costs_its_neighbours_no_attempt(
    stage: Stage, number: signal.Signals, reason: str
) -> None:
    # A hundred times what a healthy one takes.
    worker = stage.worker(**SETTINGS, render_timeout_seconds="3").wait_until_running()
    poison, healthy = noisy_jpeg(2600, 2000), noisy_jpeg(240, 180)
    with Executioner(worker, poison, number) as executioner:
        message_id = stage.register("poison", 1, poison)
        for n in range(HEALTHY):
            stage.register(f"healthy-{n}", 1, healthy)
        (letter,) = stage.pull(stage.dead_letters, 1, seconds=90)
        for n in range(HEALTHY):
            stage.assert_ready_is_true(stage.wait_for(f"healthy-{n}", "ready", 1))

    assert letter.attributes["dead_letter_reason"] == reason
    assert stage.wait_for("poison", "rejected", 1)["rejection"]["reason"] == reason
    # Two deliveries with one try each, and two tries on the third.
    assert executioner.renders == 4
    eventually(lambda: len(_handled(worker)) == HEALTHY + 3, "all are answered")
    attempts = [(line["message_id"], line["delivery_attempt"]) for line in _handled(worker)]
    assert [n for message, n in attempts if message == message_id] == [1, 2, 3]
    assert [n for message, n in attempts if message != message_id] == [1] * HEALTHY
    assert stage.take_all(stage.dead_letters) == []


def test_a_drain_costs_a_message_one_attempt_and_dead_letters_nobody(stage: Stage) -> None:
    picture = noisy_jpeg(1200, 900)
    workers: list[Worker] = []
    for n in range(PHOTOS):
        stage.register(f"photo-{n}", 1, picture)
    for _ in range(DRAINS):
        # Too short a drain for the render, so that even what runs is given back.
        worker = stage.worker(**{**SETTINGS, "drain_seconds": "0.1"}).wait_until_running()
        workers.append(worker)
        worker.wait_until_rendering()
        worker.signal()
        assert worker.wait() == 0
    workers.append(stage.worker(**SETTINGS).wait_until_running())
    for n in range(PHOTOS):
        stage.assert_ready_is_true(stage.wait_for(f"photo-{n}", "ready", 1))

    handled = [line for worker in workers for line in _handled(worker)]
    nacks = [line for line in handled if line["outcome"] == "nacked" or not line["answered"]]
    assert nacks, "no drain has met any work"
    assert max(line["delivery_attempt"] for line in handled) <= 1 + DRAINS
    assert stage.take_all(stage.dead_letters) == []
    assert stage.take_all(stage.subscription) == []


def _handled(worker: Worker) -> list[dict[str, Any]]:
    return worker.lines("handled")
