"""What an event costs in requests to the bucket: each is money, CPU and a wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.fakes import Once, raising
from tests.support.workers import (
    FakeWorker,
    deregister,
    make_worker,
    raise_fence,
    register,
    seed_original,
)
from worker.errors import Fenced, PreconditionFailed
from worker.photo.events import Deregister, Register

RUNGS = 3
"""Of a picture of the fake renderer."""

Step = Callable[[FakeWorker], object]


def done(*events: Register | Deregister) -> Step:
    return lambda worker: [worker.do(event) for event in events]


@pytest.mark.parametrize(
    ("before", "event", "costs"),
    [
        pytest.param(
            done(), register(17), {"read": 1, "download": 1, "write": RUNGS + 1}, id="new"
        ),
        pytest.param(done(register(17)), register(17), {"read": 1}, id="the same again"),
        pytest.param(done(register(17)), register(16), {"read": 1, "list": 1}, id="older"),
        pytest.param(
            done(register(16)),
            register(17),
            {"read": 1, "download": 1, "write": RUNGS + 1, "delete": RUNGS},
            id="newer",
        ),
        pytest.param(
            done(register(17)),
            deregister(18),
            {"read": 1, "write": 1, "list": 1, "delete": RUNGS},
            id="deregistered",
        ),
        pytest.param(
            done(), deregister(18), {"read": 1, "write": 1, "list": 1}, id="deregistered before"
        ),
        pytest.param(
            done(deregister(18)), deregister(18), {"read": 2, "list": 1}, id="deregistered again"
        ),
    ],
)
def test_requests_of_an_event(
    tmp_path: Path, before: Step, event: Register | Deregister, costs: dict[str, int]
) -> None:
    worker = make_worker(tmp_path)
    seed_original(worker.store)
    before(worker)
    worker.store.requests.clear()
    worker.do(event)
    assert Counter(request.verb for request in worker.store.requests) == costs


def test_a_lost_response_of_the_commit_costs_a_look(worker: FakeWorker) -> None:
    worker.store.after = Once("write", "manifest.json", raising(PreconditionFailed("sent again")))
    worker.do(register(17))
    assert len(worker.store.asked("read")) == 2
    assert worker.store.asked("write").count("photos/a/manifest.json") == 1


def test_a_fence_that_rises_under_an_attempt_costs_a_refused_write_and_a_look(
    worker: FakeWorker,
) -> None:
    """The commit is conditioned on what was seen at first, so it cannot pass the fence unseen."""

    def rise() -> None:
        raise_fence(worker)
        worker.store.requests.clear()

    worker.store.before = Once("write", "full.webp", rise)
    with pytest.raises(Fenced):
        worker.do(register(17))
    assert [request.verb for request in worker.store.requests] == ["write", "read"]
