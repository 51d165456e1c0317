"""A spot VM taken away: notice, drain, exit, and another worker that finishes the rest."""

from __future__ import annotations

import hashlib
import signal
from pathlib import Path

from tests.e2e.stage import SLOW, Stage, Worker
from tests.support.metadata_server import MetadataServer, unavailable
from tests.support.pictures import noisy_jpeg
from tests.support.waiting import eventually

PHOTOS = 6

VM_SECONDS = 30.0
"""From the notice to the power cut."""


def spot_worker(stage: Stage, vm: MetadataServer, **settings: str) -> Worker:
    stage.environment["GCE_METADATA_HOST"] = vm.host
    return stage.worker(**SLOW, **settings)


def test_a_preempted_worker_loses_nothing_and_its_successor_finishes(stage: Stage) -> None:
    pictures = {f"photo-{n}": noisy_jpeg(1400 + n, 930) for n in range(PHOTOS)}
    with MetadataServer() as vm:
        # A moment without a metadata server must not cost the notice.
        vm.faults.append(unavailable)
        worker = spot_worker(stage, vm).wait_until_running()
        eventually(lambda: vm.hanging, "the notice is waited for")
        ids = {stage.register(name, 1, data): name for name, data in pictures.items()}
        worker.wait_until_rendering()
        vm.preempt()
        (draining,) = eventually(lambda: worker.lines("draining"), "the drain has begun")
        assert draining["cause"] == "preempted"
        # What the machine's own shutdown brings a moment later.
        worker.signal()
        assert worker.wait(VM_SECONDS) == 0, worker.text()

    (stopped,) = worker.lines("stopped")
    assert stopped["in_time"], worker.text()
    finished = worker.lines("handled", outcome="registered")
    assert 1 <= len(finished) < PHOTOS, worker.text()
    assert {line["error"] for line in worker.lines("handled", outcome="nacked")} == {"Draining"}

    del stage.environment["GCE_METADATA_HOST"]
    successor = stage.worker(vcpus="2", effort="0", full_effort="0").wait_until_running()
    for name, data in pictures.items():
        manifest = stage.wait_for(name, "ready", 1)
        stage.assert_ready_is_true(manifest)
        assert manifest["original"]["sha256"] == hashlib.sha256(data).hexdigest()
    rest = set(ids) - {line["message_id"] for line in finished}
    eventually(
        lambda: rest <= {line["message_id"] for line in successor.lines("handled", answered=True)},
        "the rest is acked",
    )
    successor.signal()
    assert successor.wait(30) == 0
    assert all(line["outcome"] == "registered" for line in successor.lines("handled"))
    assert stage.take_all(stage.dead_letters) == []
    stage.assert_nothing_stray(*pictures)


def test_a_second_signal_after_the_notice_exits_at_once(stage: Stage) -> None:
    with MetadataServer() as vm:
        worker = spot_worker(stage, vm, drain_seconds="60").wait_until_running()
        stage.register("photo", 1, noisy_jpeg(3000, 2000))
        worker.wait_until_rendering()
        vm.preempt()
        eventually(lambda: worker.lines("draining", cause="preempted"), "the drain has begun")
        # Two kinds: of one kind, two that wait to be delivered are one.
        worker.signal(signal.SIGTERM)
        worker.signal(signal.SIGINT)
        assert worker.wait(5) in {128 + signal.SIGTERM, 128 + signal.SIGINT}


def test_a_machine_that_is_preempted_already_pulls_nothing(stage: Stage) -> None:
    stage.register("photo", 1, noisy_jpeg(400, 300))
    with MetadataServer(preempted=True) as vm:
        worker = spot_worker(stage, vm)
        assert worker.wait(VM_SECONDS) == 0, worker.text()
    assert worker.lines("preempted before anything was pulled"), worker.text()
    assert worker.lines("handled") == []
    assert not list(Path(worker.scratch).glob("photo-worker-*"))
    assert len(stage.pull(stage.subscription, 1)) == 1


def test_off_means_that_nobody_is_asked(stage: Stage) -> None:
    with MetadataServer(preempted=True) as vm:
        worker = spot_worker(stage, vm, preemption_notice="off").wait_until_running()
        worker.signal()
        assert worker.wait(VM_SECONDS) == 0
        assert vm.requests == []
    assert worker.lines("draining", cause="SIGTERM")
