"""`photo-worker backfill` as an operator runs it: real broker, real GCS server, real workers."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stage import Stage
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.pictures import noisy_jpeg
from tests.support.waiting import eventually
from worker.gcs.patience import Patience

SMALL = noisy_jpeg(64, 48)


def run(stage: Stage, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    with stage.start_verb("backfill", *arguments) as running:
        out, err = running.communicate(timeout=120)
    return running.returncode, out, err


def report(stage: Stage, *arguments: str) -> tuple[int, dict[str, Any]]:
    code, out, err = run(stage, *arguments, "--json")
    assert out, err
    return code, json.loads(out)


def upload(stage: Stage, *names: str) -> None:
    for name in names:
        stage.upload(name, SMALL)


def source(stage: Stage, prefix: str = "") -> str:
    return f"gs://{stage.originals}/{prefix}"


def test_a_bucket_is_backfilled_once_and_again_under_a_new_recipe(stage: Stage) -> None:
    upload(stage, "2026/a.jpg", "2026/b/c.jpg", "2025/d.jpg")
    stage.upload("2026/broken.jpg", b"no picture")
    stage.upload("2026/album/", b"")
    worker = stage.worker().wait_until_running()
    code, found = report(stage, source(stage, "2026/"), "--wait")
    assert code == 7
    assert (found["published"], found["missing"], found["ignored"]) == (3, 3, 1)
    outcomes = found["outcomes"]
    assert (outcomes["ready"], outcomes["rejected"], outcomes["pending"]) == (2, 1, 0)
    [refused] = outcomes["rejections"]
    assert refused["photo_id"] == "2026/broken.jpg"
    assert refused["why"].startswith("unsupported_format")
    assert stage.manifest("2025/d.jpg") is None
    ready = stage.manifest("2026/b/c.jpg")
    assert ready is not None
    assert ready["version"] == int(ready["original"]["generation"])
    stage.assert_ready_is_true(ready)
    code, found = report(stage, source(stage))
    assert (code, found["published"], found["current"], found["rejected"]) == (0, 1, 2, 1)
    stage.wait_for("2025/d.jpg", "ready", _generation(stage, "2025/d.jpg"))
    worker.stop()
    # With other settings, in the worker and here, each is rendered again at its version.
    stage.environment["WORKER_QUALITY"] = "60"
    stage.worker().wait_until_running()
    code, found = report(stage, source(stage, "2026/"), "--stale", "--wait")
    assert (code, found["published"], found["stale_recipe"]) == (0, 2, 2)
    assert found["outcomes"]["ready"] == 2
    again = stage.manifest("2026/b/c.jpg")
    assert again is not None
    assert again["version"] == ready["version"]
    assert "q=60" in again["recipe"]
    code, found = report(stage, source(stage, "2026/"), "--rejected", "--wait")
    assert (code, found["published"], found["outcomes"]["rejected"]) == (7, 1, 1)


def _generation(stage: Stage, name: str) -> int:
    stored = stage.store.stat(stage.originals, name)
    assert stored is not None
    return stored.generation


def test_a_folder_is_uploaded_once_and_deleted_photos_stay_away(
    stage: Stage, tmp_path: Path
) -> None:
    album = tmp_path / "album"
    for name in ("a.jpg", "sub/b.JPG", "sub/c.jpg"):
        (album / name).parent.mkdir(parents=True, exist_ok=True)
        (album / name).write_bytes(SMALL)
    (album / "notes.txt").write_text("no picture")
    code, found = report(stage, str(album), "--dry-run")
    assert (code, found["published"], found["uploaded"]) == (0, 3, 0)
    assert found["estimate"]["sampled"] == found["estimate"]["photos"] == 3
    assert list(stage.store.objects(stage.originals, "")) == []
    stage.worker().wait_until_running()
    code, found = report(stage, str(album), "--exclude", "c.*", "--wait")
    assert (code, found["uploaded"], found["published"]) == (0, 2, 2)
    assert (found["ignored"], found["not_chosen"], found["outcomes"]["ready"]) == (1, 1, 2)
    before = [_generation(stage, name) for name in ("a.jpg", "sub/b.JPG")]
    stage.deregister("sub/c.jpg", 17)
    stage.wait_for("sub/c.jpg", "deregistered", 17)
    (album / "a.jpg").write_bytes(noisy_jpeg(80, 60))
    code, found = report(stage, str(album), "--wait")
    assert (code, found["uploaded"], found["replaced"], found["published"]) == (0, 1, 1, 1)
    assert (found["current"], found["deregistered"], found["stale_version"]) == (1, 1, 1)
    assert _generation(stage, "a.jpg") > before[0]
    assert _generation(stage, "sub/b.JPG") == before[1]
    ready = stage.manifest("a.jpg")
    assert ready is not None
    assert ready["original"]["width"] == 80
    assert report(stage, str(album))[1]["published"] == 0


def test_a_dry_run_counts_and_estimates_and_leaves_everything(stage: Stage) -> None:
    stage.upload("a.jpg", noisy_jpeg(1000, 800))
    stage.upload("b.jpg", noisy_jpeg(1000, 800))
    stage.upload("broken.jpg", b"no picture")
    del stage.environment["WORKER_TOPIC"]
    code, found = report(stage, source(stage), "--dry-run", "--fleet-vcpus", "2")
    assert (code, found["published"], found["missing"], found["dry_run"]) == (0, 3, 3, True)
    estimate = found["estimate"]
    assert (estimate["sampled"], estimate["refused"]) == (3, {"unsupported_format": 1})
    assert (estimate["megapixels"], estimate["photos"], estimate["vcpus"]) == (0.8, 2, 2)
    assert estimate["dollars"]["total"] > 0
    assert len(estimate["assumptions"]) == 3
    code, out, _ = run(stage, source(stage), "--dry-run")
    assert code == 0
    assert "would publish 3 events" in out
    assert "of 3 sampled would be refused: unsupported_format 1" in out
    stage.environment["WORKER_TOPIC"] = stage.topic
    stage.worker().wait_until_running()
    marker = stage.register("marker", 1, SMALL)
    stage.wait_for("marker", "ready", 1)
    assert marker
    assert stage.manifest("a.jpg") is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_a_run_that_ends_early_goes_on_and_publishes_each_once(
    stage: Stage, tmp_path: Path, number: signal.Signals
) -> None:
    names = [f"p{index:03}.jpg" for index in range(60)]
    upload(stage, *names)
    checkpoint = tmp_path / "checkpoint.json"
    arguments = (source(stage), "--rate", "2", "--checkpoint", str(checkpoint), "--json")
    running = stage.start_verb("backfill", *arguments)

    def published() -> int:
        kept = json.loads(checkpoint.read_text()) if checkpoint.exists() else {}
        return int(kept["report"]["published"]) if kept else 0

    eventually(published, "a batch is published and its place kept")
    running.send_signal(number)
    out, err = running.communicate(timeout=60)
    if number is signal.SIGINT:
        assert running.returncode == 130, err
        assert json.loads(out)["stopped_by"] == "signal"
        assert "the same command goes on from there" in err
    kept = published()
    assert 0 < kept < len(names)
    code, found = report(stage, source(stage), "--checkpoint", str(checkpoint))
    assert (code, found["complete"], found["published"]) == (0, True, len(names))
    assert found["resumed_at"] == names[kept - 1]
    assert not checkpoint.exists()
    messages = stage.pull(stage.subscription, len(names))
    sent = sorted(json.loads(message.data)["photo_id"] for message in messages)
    # Killed, what was published after the last second's place is published again: two a batch.
    spare = 0 if number is signal.SIGINT else 6
    assert len(names) <= len(sent) <= len(names) + spare
    assert sorted(set(sent)) == names


def test_it_never_registers_its_own_output(stage: Stage) -> None:
    stage.environment["WORKER_RENDITIONS_BUCKET"] = stage.originals
    stage.renditions = stage.originals
    upload(stage, "a.jpg", "photos.jpg", "z.jpg")
    stage.worker().wait_until_running()
    assert report(stage, source(stage), "--wait")[1]["outcomes"]["ready"] == 3
    code, found = report(stage, source(stage), "--wait")
    assert (code, found["originals"], found["current"], found["published"]) == (0, 3, 3, 0)
    code, _, err = run(stage, source(stage, "photos/"))
    assert code == 2
    assert "the worker's own output" in err


def test_the_cap_stops_and_says_so(stage: Stage) -> None:
    upload(stage, "a.jpg", "b.jpg", "c.jpg")
    code, out, err = run(stage, source(stage), "--max-events", "2")
    assert code == 7
    assert "NOT COMPLETE" in out
    assert "published 2 events" in out
    assert "more events than --max-events allows" in err


def test_what_cannot_be_meant_says_what_to_do(stage: Stage) -> None:
    upload(stage, "a.jpg")
    for arguments, code, words in (
        (("nowhere-at-all",), 2, "is no folder"),
        (("gs://",), 2, "names no bucket"),
        ((source(stage), "--stale", "--only-missing"), 2, "take one of them"),
        ((source(stage), "--include", "*.{jpg"), 3, "a brace that is not closed"),
        (("gs://somebody-elses",), 3, "is not among them"),
        ((source(stage), "--topic", "projects/p/topics/nowhere"), 4, "does not exist"),
        ((source(stage), "--renditions-bucket", "nowhere-at-all"), 5, "does not exist"),
        ((source(stage), "--rate", "inf"), 2, "finite"),
        ((source(stage), "--dry-run", "--vcpu-price", "inf"), 2, "finite"),
        ((source(stage), "--include", "{a", "--include", "b}"), 3, "--include '{a'"),
        ((source(stage), "--exclude", "a\\", "--exclude", "b"), 3, "ends with a backslash"),
    ):
        found, _, err = run(stage, *arguments)
        assert (found, words in err) == (code, True), (arguments, err)
    code, _, err = run(stage, source(stage, "no/such/prefix"))
    assert code == 0
    assert "no original lies there" in err


def test_a_topic_that_vanishes_leaves_a_report_and_a_place(stage: Stage, tmp_path: Path) -> None:
    upload(stage, *(f"p{index:02}.jpg" for index in range(40)))
    checkpoint = tmp_path / "checkpoint.json"
    arguments = (source(stage), "--rate", "4", "--checkpoint", str(checkpoint), "--json")
    running = stage.start_verb("backfill", *arguments)
    eventually(checkpoint.exists, "a place is kept")
    stage.publisher.delete_topic(topic=stage.topic)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 4
    assert "is missing or forbidden" in err
    found = json.loads(out)
    assert not found["complete"]
    assert 0 < found["published"] < 40
    kept = json.loads(checkpoint.read_text())
    assert kept["report"]["published"] == found["published"]


def test_an_outage_of_the_buckets_is_waited_out(stage: Stage, storage_url: str) -> None:
    upload(stage, "a.jpg", "b.jpg")
    with FaultProxy(storage_url) as proxy:
        stage.environment["STORAGE_EMULATOR_HOST"] = proxy.url
        # Both buckets are there at the start, and then nothing answers any more.
        proxy.arm(2, Fault.STATUS_503, lasting=True)
        running = stage.start_verb("backfill", source(stage), "--json")
        # Two listings, of the originals and of their number: more than a worker's patience.
        eventually(lambda: len(proxy.met) > 2 * Patience().attempts, "it asks again and again")
        proxy.heal()
        out, err = running.communicate(timeout=60)
    found = json.loads(out)
    assert (running.returncode, found["published"], found["complete"]) == (0, 2, True), err


def test_pending_outcomes_are_told_after_a_while(stage: Stage) -> None:
    upload(stage, "a.jpg")
    code, found = report(stage, source(stage), "--wait", "--wait-seconds", "1")
    assert (code, found["outcomes"]["pending"]) == (7, 1)
