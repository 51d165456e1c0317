"""How workers end: drained, killed, crashed children, missing resources, wrong settings."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.e2e.stage import SLOW, Stage
from tests.support.pictures import corners_jpeg, noisy_jpeg
from tests.support.waiting import eventually

PATIENT_SECONDS = 120
PATIENT = {**SLOW, "drain_seconds": str(PATIENT_SECONDS), "render_timeout_seconds": "240"}
"""And a drain that ends with its renders, however busy the machine is."""


@pytest.mark.timeout(300)
def test_sigterm_finishes_running_work_and_gives_queued_work_back_at_once(
    google_stage: Stage,
) -> None:
    stage = google_stage
    picture = noisy_jpeg(2000, 1400)
    worker = stage.worker(**PATIENT).wait_until_running()
    messages = {stage.register(f"photo-{n}", 1, picture): f"photo-{n}" for n in range(5)}
    worker.wait_until_rendering()
    worker.signal()
    assert worker.wait(PATIENT_SECONDS + 5) == 0
    assert worker.lines("stopped", in_time=True), worker.text()

    finished = worker.lines("handled", outcome="registered")
    assert len(finished) == 1, worker.text()
    nacked = worker.lines("handled", outcome="nacked")
    assert all(line["error"] == "Draining" for line in nacked)
    ended = worker.lines("drained")[0]["time"]
    assert all(line["time"] < ended for line in nacked)

    rest = set(messages) - {finished[0]["message_id"]}
    redelivered = stage.pull(stage.subscription, len(rest), seconds=5)
    assert {message.message_id for message in redelivered} == rest
    assert stage.wait_for(messages[finished[0]["message_id"]], "ready", 1)


def test_a_drain_that_is_too_short_nacks_running_work_and_still_exits_0(stage: Stage) -> None:
    worker = stage.worker(**SLOW, drain_seconds="0.2").wait_until_running()
    message_id = stage.register("photo", 1, noisy_jpeg(3000, 2000))
    worker.wait_until_rendering()
    worker.signal()
    assert worker.wait(10) == 0
    assert stage.manifest("photo") is None
    (message,) = stage.pull(stage.subscription, 1, seconds=5)
    assert message.message_id == message_id


def test_a_second_signal_exits_at_once_and_children_follow(stage: Stage) -> None:
    worker = stage.worker(**SLOW, drain_seconds="60").wait_until_running()
    stage.register("photo", 1, noisy_jpeg(3000, 2000))
    worker.wait_until_rendering()
    children = worker.children()
    assert children
    worker.signal()
    eventually(lambda: worker.lines("draining"), "the drain has begun")
    worker.signal()
    assert worker.wait(5) == 128 + signal.SIGTERM
    eventually(lambda: not any(map(_alive, children)), "no child outlives its parent", seconds=10)


@pytest.mark.timeout(300)
def test_ctrl_c_to_the_whole_process_group_drains(stage: Stage) -> None:
    worker = stage.worker(**PATIENT).wait_until_running()
    stage.register("photo", 1, noisy_jpeg(1600, 1200))
    worker.wait_until_rendering()
    os.killpg(worker.running.pid, signal.SIGINT)
    assert worker.wait(PATIENT_SECONDS + 5) == 0
    stage.assert_ready_is_true(stage.wait_for("photo", "ready", 1))


def test_a_worker_killed_before_the_manifest_is_made_good_by_the_next(stage: Stage) -> None:
    victim = stage.worker(**SLOW).wait_until_running()
    stage.register("photo", 1, noisy_jpeg(2000, 1400))
    eventually(stage.objects, "a rendition is uploaded")
    victim.signal(signal.SIGKILL)
    victim.wait()
    assert stage.manifest("photo") is None
    before = set(stage.objects())
    assert before

    successor = stage.worker(**SLOW).wait_until_running()
    manifest = stage.wait_for("photo", "ready", 1)
    stage.assert_ready_is_true(manifest)
    eventually(lambda: successor.lines("handled", outcome="registered"), "it is acked")
    assert before <= {rendition["object"] for rendition in manifest["renditions"]}
    stage.assert_nothing_stray("photo")


@pytest.mark.timeout(300)
def test_a_child_killed_in_mid_render_costs_only_its_own_message(stage: Stage) -> None:
    worker = stage.worker(**{**PATIENT, "vcpus": "2"}).wait_until_running()
    stage.register("victim", 1, noisy_jpeg(3000, 2000))
    worker.wait_until_rendering()
    for n in range(3):
        stage.register(f"other-{n}", 1, corners_jpeg(700, 500))
    busiest = max(worker.children(), key=_cpu_ticks)
    os.kill(busiest, signal.SIGKILL)

    stage.assert_ready_is_true(stage.wait_for("victim", "ready", 1, seconds=240))
    for n in range(3):
        stage.wait_for(f"other-{n}", "ready", 1)
    nacked = worker.lines("handled", outcome="nacked")
    assert [line["photo_id"] for line in nacked] == ["victim"]
    assert "SIGKILL" in nacked[0]["detail"]
    others = [line for line in worker.lines("handled") if line["photo_id"] != "victim"]
    assert [line["delivery_attempt"] for line in others] == [1, 1, 1]


def test_a_deleted_subscription_ends_the_worker_with_4(stage: Stage) -> None:
    worker = stage.worker().wait_until_running()
    stage.subscriber.delete_subscription(subscription=stage.subscription)
    assert worker.wait(60) == 4
    assert stage.subscription in worker.text()


@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [
        ("subscription", "projects/none/subscriptions/none", 4),
        ("dead_letter_topic", "projects/none/topics/none", 4),
        ("renditions_bucket", "no-such-bucket", 5),
        ("originals_buckets", "no-such-bucket", 5),
    ],
)
def test_missing_resources_have_their_exit_codes(
    stage: Stage, setting: str, value: str, code: int
) -> None:
    worker = stage.worker(**{setting: value})
    assert worker.wait(30) == code
    assert value in worker.text()
    assert "Traceback" not in worker.text()


def test_a_bucket_that_vanishes_in_mid_run_ends_the_worker_with_5(stage: Stage) -> None:
    worker = stage.worker().wait_until_running()
    stage.store._client.bucket(stage.originals).delete()
    event = {"type": "photo.register", "photo_id": "a", "version": 1}
    message_id = stage.publish(event | {"original": f"gs://{stage.originals}/a.jpg"})
    assert worker.wait(30) == 5
    assert stage.originals in worker.text()
    (message,) = stage.pull(stage.subscription, 1)
    assert message.message_id == message_id


def test_a_scratch_folder_that_vanishes_ends_the_worker_for_another_to_start(
    stage: Stage,
) -> None:
    worker = stage.worker().wait_until_running()
    (folder,) = worker.scratch.glob("photo-worker-*")
    shutil.rmtree(folder)
    assert worker.wait(30) == 1
    assert f"the scratch folder {folder} is gone" in worker.text()
    assert "Traceback" not in worker.text()
    stage.register("later", 1, corners_jpeg(300, 200))
    stage.worker().wait_until_running()
    stage.wait_for("later", "ready", 1)


def test_a_silent_storage_at_the_start_is_6(stage: Stage) -> None:
    stage.environment["STORAGE_EMULATOR_HOST"] = "http://127.0.0.1:1"
    worker = stage.worker()
    assert worker.wait(60) == 6
    assert "Cloud Storage" in worker.text()
    assert "Traceback" not in worker.text()


def test_a_signal_before_anything_is_held_ends_it_at_once(stage: Stage) -> None:
    stage.environment["STORAGE_EMULATOR_HOST"] = "http://127.0.0.1:1"
    worker = stage.worker()
    eventually(lambda: list(worker.scratch.glob("photo-worker-*")), "it is starting")
    worker.signal()
    assert worker.wait(10) == 0
    assert not list(worker.scratch.glob("photo-worker-*"))


def test_no_credentials_is_said_in_one_line(stage: Stage, tmp_path: Path) -> None:
    for name in ("PUBSUB_EMULATOR_HOST", "STORAGE_EMULATOR_HOST"):
        del stage.environment[name]
    stage.environment |= {
        "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "missing.json"),
        "NO_GCE_CHECK": "true",
    }
    worker = stage.worker()
    assert worker.wait(30) == 3
    assert "no Google credentials" in worker.text()
    assert "Traceback" not in worker.text()


def test_wrong_settings_are_reported_together_with_3(stage: Stage) -> None:
    worker = stage.worker(quality="120", ladder="320,huge", drain_seconds="soon", subscription="")
    assert worker.wait(30) == 3
    for name in ("WORKER_QUALITY", "WORKER_LADDER", "WORKER_DRAIN_SECONDS", "WORKER_SUBSCRIPTION"):
        assert name in worker.text()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _cpu_ticks(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
        fields = stat.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])
