"""The gate: what waits for Cloud Storage is handled once it answers, or given back in a drain."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.support.stubs import delivery
from tests.support.waiting import eventually
from worker.handlers.gate import Gate
from worker.handlers.leases import Leases


class Scene:
    """A gate whose storage answers as `answering` says, and what became of each delivery."""

    def __init__(self) -> None:
        self.answering = True
        self.admitting = True
        self.leases = Leases()
        self.closed = threading.Event()
        self.seen: list[str] = []
        self.gate = Gate(
            lambda _: self.seen.append("handled"),
            storage_answers=lambda: self.answering,
            renders=self,
            leases=self.leases,
            closed=self.closed,
        )

    def open_admission(self) -> None:
        self.admitting = True

    def close_admission(self) -> None:
        self.admitting = False

    def deliver(self) -> threading.Thread:
        thread = threading.Thread(target=self.gate, args=(delivery(self.seen),), daemon=True)
        thread.start()
        return thread

    def answer(self) -> None:
        self.answering = True


@pytest.mark.parametrize(
    ("end", "seen"), [(Scene.answer, ["handled"]), (lambda scene: scene.gate.close(), ["nack"])]
)
def test_a_delivery_waits_for_cloud_storage_or_for_the_drain(
    end: Callable[[Scene], None], seen: list[str]
) -> None:
    scene = Scene()
    scene.answering = False
    waiting = scene.deliver()
    eventually(lambda: scene.leases.oldest_seconds > 0, "it is held")
    assert scene.leases.longest_handling_seconds == 0
    assert scene.seen == []
    end(scene)
    waiting.join(10)
    assert scene.seen == seen
    assert scene.leases.oldest_seconds == 0


def test_a_closed_gate_hands_out_what_needs_no_wait() -> None:
    scene = Scene()
    scene.gate.close()
    scene.deliver().join(10)
    assert scene.seen == ["handled"]


def test_renders_are_turned_away_while_it_is_closed() -> None:
    scene = Scene()
    scene.gate.close()
    assert (scene.closed.is_set(), scene.admitting) == (True, False)
    scene.gate.open()
    assert (scene.closed.is_set(), scene.admitting) == (False, True)
