"""`sweep` and `verify` as an operator runs them, on a real GCS server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.fakes import crc32c
from worker.gcs.store import GcsStore
from worker.photo.layout import Layout
from worker.photo.manifest import Manifest, Rendition, State

LAYOUT = Layout("photos/")
D = "3fd0c1a2b4e5"


class Bucket:
    """A bucket of photos, and the verbs on it."""

    def __init__(self, url: str) -> None:
        self.name = f"renditions-{uuid.uuid4().hex[:8]}"
        self.store = GcsStore(project="sweep", emulator_url=url, connections=4)
        self.store.create_bucket(self.name)
        self.environment = {
            **{name: value for name, value in os.environ.items() if "WORKER_" not in name},
            "STORAGE_EMULATOR_HOST": url,
            "WORKER_RENDITIONS_BUCKET": self.name,
        }

    def put(self, name: str, data: bytes = b"webp") -> str:
        self.store.write(
            self.name, name, data, content_type="x", cache_control="private", if_generation=0
        )
        return name

    def leave(self, photo_id: str, version: int) -> str:
        """A rendition that no manifest names."""
        return self.put(LAYOUT.rendition(photo_id, version, D, "320"))

    def ready(self, photo_id: str, version: int = 17) -> str:
        """A ready photo with one rendition; the rendition's name."""
        name = self.leave(photo_id, version)
        manifest = Manifest(
            photo_id=photo_id,
            state=State.READY,
            version=version,
            commit_id=uuid.uuid4().hex,
            committed_at=datetime(2026, 11, 22, tzinfo=UTC),
            recipe="r",
            renditions=(
                Rendition(
                    rung="320", object=name, width=1, height=1, bytes=4, crc32c=crc32c(b"webp")
                ),
            ),
        )
        self.put(LAYOUT.manifest(photo_id), manifest.to_json())
        return name

    def names(self) -> list[str]:
        return [each.name for each in self.store.objects(self.name, "")]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "worker", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        running = self.start(*arguments)
        out, err = running.communicate(timeout=60)
        return running.returncode, out, err

    def report(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        code, out, err = self.run(*arguments, "--json")
        assert out, err
        return code, json.loads(out)


@pytest.fixture
def bucket(storage_url: str) -> Iterator[Bucket]:
    bucket = Bucket(storage_url)
    yield bucket
    bucket.store.close()


def test_a_sweep_removes_the_orphans_and_a_second_finds_nothing(bucket: Bucket) -> None:
    kept = [bucket.ready("a"), bucket.ready("a/b"), bucket.put("photos/notes.txt")]
    orphans = [bucket.leave("a", 16), bucket.leave("a/b", 3), bucket.leave("gone", 5)]
    code, report = bucket.report("sweep", "--older-than", "0s")
    assert code == 0
    assert report["complete"] is True
    assert report["orphans"] == orphans
    assert (report["orphans_total"], report["orphan_bytes"]) == (3, 12)
    assert (report["photos"], report["foreign"], report["faults_total"]) == (3, 1, 0)
    assert set(bucket.names()) == {
        *kept,
        *(LAYOUT.manifest(photo_id) for photo_id in ("a", "a/b", "gone")),
    }
    before = bucket.names()
    code, report = bucket.report("sweep", "--older-than", "0s")
    assert (code, report["orphans_total"], report["spared_total"]) == (0, 0, 0)
    assert bucket.names() == before


def test_the_default_age_spares_what_may_still_be_committed(bucket: Bucket) -> None:
    bucket.ready("a")
    old, new = bucket.leave("a", 16), bucket.leave("a", 18)
    code, report = bucket.report("sweep")
    assert (code, report["orphans"], report["spared_total"]) == (0, [old], 1)
    assert new in bucket.names()


def test_a_dry_run_only_says_what_would_go(bucket: Bucket) -> None:
    bucket.ready("a")
    orphan = bucket.leave("a", 16)
    before = bucket.names()
    code, out, _ = bucket.run("sweep", "--dry-run")
    assert code == 0
    assert f"would remove {orphan}" in out
    assert "photos 1, objects 3" in out
    assert bucket.names() == before


def test_verify_tells_true_from_untrue(bucket: Bucket) -> None:
    bucket.ready("a")
    lost = bucket.ready("b")
    code, report = bucket.report("verify")
    assert (code, report["photos"], report["faults"]) == (0, 2, [])
    bucket.store.delete(bucket.name, lost)
    for verb in ("verify", "sweep"):
        code, report = bucket.report(verb)
        assert code == 7
        [fault] = report["faults"]
        assert (fault["photo_id"], fault["kind"], fault["object"]) == ("b", "missing", lost)
    code, out, _ = bucket.run("verify")
    assert code == 7
    assert f"missing {lost}" in out


def test_verify_changes_nothing(bucket: Bucket) -> None:
    bucket.ready("a")
    bucket.leave("a", 16)
    before = bucket.names()
    code, report = bucket.report("verify")
    assert (code, report["orphans"]) == (0, [])
    assert bucket.names() == before


def test_an_interrupted_sweep_goes_on_from_its_checkpoint(bucket: Bucket, tmp_path: Path) -> None:
    photos = 200
    for number in range(photos):
        bucket.leave(f"p{number:03}", 5)
    checkpoint = tmp_path / "checkpoint.json"
    arguments = ("sweep", "--older-than", "0s", "--checkpoint", str(checkpoint))
    running = bucket.start(*arguments)
    assert running.stdout is not None
    assert running.stdout.readline().startswith("removed ")
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "NOT COMPLETE" in out
    assert json.loads(checkpoint.read_text())["run"]["bucket"] == bucket.name
    code, report = bucket.report(*arguments)
    assert (code, report["complete"]) == (0, True)
    assert report["resumed_at"].startswith("photos/p")
    assert report["photos"] == report["orphans_total"] == photos
    assert not checkpoint.exists()
    assert bucket.names() == [LAYOUT.manifest(f"p{number:03}") for number in range(photos)]


def test_sigterm_ends_a_run_like_ctrl_c(bucket: Bucket) -> None:
    for number in range(200):
        bucket.leave(f"p{number:03}", 5)
    running = bucket.start("sweep", "--older-than", "0s")
    assert running.stdout is not None
    assert running.stdout.readline().startswith("removed ")
    running.terminate()
    out, err = running.communicate(timeout=60)
    assert running.returncode == 143, err
    assert "NOT COMPLETE" in out


def test_a_reader_that_goes_away_does_not_change_the_verdict(bucket: Bucket) -> None:
    for number in range(300):
        bucket.store.delete(bucket.name, bucket.ready(f"p{number:03}"))
    running = bucket.start("verify")
    assert running.stdout is not None
    running.stdout.close()
    with running:
        assert running.stderr is not None
        assert "Traceback" not in running.stderr.read()
        assert running.wait(60) == 7


def test_a_repair_needs_its_topic_before_it_touches_anything(
    bucket: Bucket, broker_address: str
) -> None:
    bucket.store.delete(bucket.name, bucket.ready("a"))
    before = bucket.store.read(bucket.name, LAYOUT.manifest("a"))
    bucket.environment["PUBSUB_EMULATOR_HOST"] = broker_address
    code, _, err = bucket.run("sweep", "--repair", "--topic", "projects/none-here/topics/nowhere")
    assert code == 4
    assert "does not exist" in err
    assert bucket.store.read(bucket.name, LAYOUT.manifest("a")) == before


def test_a_bucket_without_anything_is_remarked_on(bucket: Bucket) -> None:
    code, _, err = bucket.run("verify")
    assert code == 0
    assert "nothing lies there" in err


def test_a_checkpoint_of_another_bucket_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.json"
    run = {"verb": "verify", "bucket": "another", "prefix": "photos/"}
    report = {"bucket": "another", "prefix": "photos/"}
    kept = {"run": run, "resume_at": "photos/b", "report": report}
    checkpoint.write_text(json.dumps(kept))
    code, _, err = bucket.run("verify", "--checkpoint", str(checkpoint))
    assert code == 2
    assert "a checkpoint of another run (verb verify, bucket another" in err
    checkpoint.write_text("[]")
    code, _, err = bucket.run("verify", "--checkpoint", str(checkpoint))
    assert code == 2
    assert "is no checkpoint" in err


def test_wrong_settings_say_what_to_do(bucket: Bucket) -> None:
    code, _, err = bucket.run("sweep", "--older-than", "soon")
    assert code == 2
    assert "say 90s, 15m, 1h or 2d" in err
    code, _, err = bucket.run("sweep", "--repair")
    assert code == 3
    assert "WORKER_TOPIC" in err
    bucket.environment["WORKER_RENDITIONS_BUCKET"] = "nowhere-at-all"
    code, _, err = bucket.run("verify")
    assert code == 5
    assert "does not exist" in err
    del bucket.environment["WORKER_RENDITIONS_BUCKET"]
    code, _, err = bucket.run("verify")
    assert code == 3
    assert "WORKER_RENDITIONS_BUCKET" in err
