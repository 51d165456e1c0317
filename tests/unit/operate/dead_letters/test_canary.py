"""Canary: verdicts from what the real handlers write into manifests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.support.fakes import Once, raising
from tests.support.letters import event, letter
from tests.support.workers import (
    BUCKETS,
    FakeWorker,
    deregister,
    raise_fence,
    register,
)
from worker.errors import CorruptOriginal, Permanent, StorageUnavailable
from worker.operate.dead_letters.canary import CanaryWatch, Verdict
from worker.photo.dead_letter import DeadLetter


@dataclass
class Trial:
    """A watch whose every pause lets the next of `then` happen."""

    worker: FakeWorker
    then: list[Callable[[], object]] = field(default_factory=list)
    seconds: float = 0.0
    ticks: list[int] = field(default_factory=list)

    def __call__(self, *letters: DeadLetter) -> list[Verdict]:
        watch = CanaryWatch(
            buckets=BUCKETS,
            manifests=self.worker.manifests,
            seconds=10,
            sleep=self._sleep,
            clock=lambda: self.seconds,
        )
        return watch(letters)(self.ticks.append)

    def one(self, dead: DeadLetter) -> tuple[bool, str]:
        (verdict,) = self(dead)
        return verdict.ok, verdict.why

    def _sleep(self, seconds: float) -> None:
        self.seconds += seconds
        if self.then:
            self.then.pop(0)()


@pytest.fixture
def trial(worker: FakeWorker) -> Trial:
    return Trial(worker)


def fail(worker: FakeWorker, version: int, why: str = "half") -> None:
    error: Permanent = CorruptOriginal(why)
    worker.reject(register(version), error)


NO_OUTCOME = (False, "no outcome within 10 s")
DEREGISTRATION = {"type": "photo.deregister", "photo_id": "a", "version": 17}


def test_a_photo_that_becomes_ready(trial: Trial) -> None:
    fail(trial.worker, 17)
    trial.then.append(lambda: trial.worker.do(register(17)))
    assert trial.one(letter()) == (True, "ready")
    assert trial.ticks == [1]


def test_a_photo_that_fails_again(trial: Trial) -> None:
    fail(trial.worker, 17, "before")
    trial.worker.clock.advance(1)
    trial.then.append(lambda: fail(trial.worker, 17, "again"))
    assert trial.one(letter()) == (False, "corrupt_original: again")


def test_a_first_failure_counts_too(trial: Trial) -> None:
    trial.then.append(lambda: fail(trial.worker, 17))
    assert trial.one(letter()) == (False, "corrupt_original: half")


def test_a_newer_version_of_a_ready_photo_that_fails_again(trial: Trial) -> None:
    trial.worker.do(register(5))
    fail(trial.worker, 17)
    trial.worker.clock.advance(1)
    trial.then.append(lambda: fail(trial.worker, 17, "again"))
    assert trial.one(letter()) == (False, "corrupt_original: again")


def test_the_failure_before_the_replay_says_nothing(trial: Trial) -> None:
    fail(trial.worker, 17)
    assert trial.one(letter()) == NO_OUTCOME
    assert trial.seconds == 10


def test_a_sweep_that_raises_the_fence_is_no_outcome(trial: Trial) -> None:
    fail(trial.worker, 17)
    trial.then.append(lambda: raise_fence(trial.worker))
    assert trial.one(letter()) == NO_OUTCOME
    assert (
        Trial(trial.worker, [lambda: raise_fence(trial.worker, "b")]).one(letter(data=event("b")))
        == NO_OUTCOME
    )


def test_no_worker_no_outcome(trial: Trial) -> None:
    assert trial.one(letter()) == NO_OUTCOME


def test_an_event_that_others_have_overtaken(trial: Trial) -> None:
    trial.worker.do(deregister(20))
    assert trial.one(letter()) == (True, "superseded by version 20")


@pytest.mark.parametrize("shown", [5, None], ids=["an older version on show", "nothing on show"])
def test_a_failure_behind_the_rejection_of_a_newer_version_leaves_no_trace(
    trial: Trial, shown: int | None
) -> None:
    if shown:
        trial.worker.do(register(shown))
    fail(trial.worker, 20, "newer")
    trial.then.append(lambda: fail(trial.worker, 17))
    ok, why = trial.one(letter())
    assert ok
    assert why == f"superseded by {'the rejection of ' if shown else ''}version 20"


def test_a_deregistration_behind_a_rejection_is_waited_for(trial: Trial) -> None:
    trial.worker.do(register(5))
    fail(trial.worker, 20, "newer")
    trial.then.append(lambda: trial.worker.do(deregister(17)))
    assert trial.one(letter(data=DEREGISTRATION)) == (True, "superseded by version 20")
    assert trial.ticks == [1]


def test_a_deregistration(trial: Trial) -> None:
    trial.worker.do(register(17))
    trial.then += [lambda: None, lambda: trial.worker.do(deregister(17))]
    assert trial.one(letter(data=DEREGISTRATION)) == (True, "deregistered")
    assert trial.ticks == [1, 1]


def test_a_registration_behind_a_tombstone_of_its_version(trial: Trial) -> None:
    trial.worker.do(deregister(17))
    assert trial.one(letter()) == (True, "deregistered")


def test_what_is_no_event_fails_at_once(trial: Trial) -> None:
    ok, why = trial.one(letter(data=b"{}"))
    assert not ok
    assert why.startswith("invalid_event: ")
    assert trial.ticks == []


def test_a_notification_that_is_ignored(trial: Trial) -> None:
    ignored = {"eventType": "OBJECT_METADATA_UPDATE", "objectId": "a", "bucketId": "originals"}
    assert trial.one(letter(data=b"", attributes=ignored))[0]


def test_several_share_the_time(trial: Trial) -> None:
    trial.then.append(lambda: trial.worker.do(register(17)))
    verdicts = trial(letter("1"), letter("2", event("b")), letter("3", event("c")))
    assert [each.ok for each in verdicts] == [True, False, False]
    assert trial.seconds == 10
    assert set(trial.ticks) == {3, 2}
    assert verdicts[0] == Verdict(message_id="1", photo_id="a", ok=True, why="ready")


def test_a_bucket_that_does_not_answer_is_said(trial: Trial) -> None:
    trial.worker.store.before = Once("read", "manifest.json", raising(StorageUnavailable("503")))
    with pytest.raises(StorageUnavailable):
        trial(letter())
