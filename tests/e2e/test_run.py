"""`photo-worker run` in real processes: what becomes of events.

One worker on Google's emulator serves all tests but one; each test has photos of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.pubsub_v1.types import PubsubMessage

from tests.e2e.stage import Stage, Worker, set_up
from tests.support.pictures import corners_jpeg, is_upright, noisy_jpeg, webp_size
from tests.support.waiting import eventually

GOOD = corners_jpeg(800, 600)


@dataclass(frozen=True, kw_only=True)
class Running:
    """A stage and the worker on it; outcomes and dead letters by photo."""

    stage: Stage
    worker: Worker
    _outcomes: dict[str, str] = field(default_factory=dict)

    def outcome(self, photo_id: str) -> str:
        """The type of the last outcome of a photo, once it is published."""

        def came() -> bool:
            for message in self.stage.pubsub.take(self.stage.outcomes):
                outcome = json.loads(message.data)
                self._outcomes[outcome["photo_id"]] = outcome["type"]
            return photo_id in self._outcomes

        eventually(came, f"an outcome of {photo_id}")
        return self._outcomes[photo_id]

    def handled(self, photo_id: str, outcome: str | None = None) -> list[dict[str, Any]]:
        """The log's lines about a photo's deliveries."""
        lines = self.worker.lines("handled", photo_id=photo_id)
        return [line for line in lines if outcome in (None, line["outcome"])]


@pytest.fixture(scope="module")
def running(
    broker_address: str, storage_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("running")
    with set_up(broker_address, storage_url, folder) as stage:
        worker = stage.worker(max_original_pixels="1000000").wait_until_running()
        yield Running(stage=stage, worker=worker)


def test_ten_photos_of_every_orientation_become_ladders(running: Running) -> None:
    stage = running.stage
    photos = {f"album/turned-{n}": corners_jpeg(1200, 800, n) for n in range(1, 9)}
    photos["album/portrait"] = corners_jpeg(600, 1000, 6)
    photos["album/tiny"] = corners_jpeg(64, 48)
    for photo_id, data in photos.items():
        stage.register(photo_id, 7, data, labels={"album": "one"})

    for photo_id, data in photos.items():
        manifest = stage.wait_for(photo_id, "ready", 7)
        stage.assert_ready_is_true(manifest)
        original = manifest["original"]
        size = (original["width"], original["height"])
        expected = {"album/portrait": (600, 1000), "album/tiny": (64, 48)}
        assert size == expected.get(photo_id, (1200, 800))
        assert manifest["labels"] == {"album": "one"}
        assert manifest["schema"] == "photo-manifest/1"
        assert manifest["rejection"] is None
        assert original["format"] == "jpeg"
        assert original["bytes"] == len(data)
        for rendition in manifest["renditions"]:
            webp = stage.read(rendition["object"])
            assert webp_size(webp) == (rendition["width"], rendition["height"])
            assert is_upright(webp), (photo_id, rendition["rung"])
        assert running.outcome(photo_id) == "photo.ready"

    rungs = [each["rung"] for each in stage.wait_for("album/turned-6", "ready", 7)["renditions"]]
    assert rungs == ["320", "512", "768", "1024", "full"]
    tiny = stage.wait_for("album/tiny", "ready", 7)
    assert [each["rung"] for each in tiny["renditions"]] == ["full"]
    stage.assert_nothing_stray(*photos, below="album/")


def test_nested_ids_do_not_touch_each_other(running: Running) -> None:
    stage = running.stage
    picture = corners_jpeg(400, 300)
    nested = ["a", "a/b", "a/b/c", "a/5-0123456789ab", "a-b"]
    for photo_id in nested:
        stage.register(photo_id, 5, picture)
    for photo_id in nested:
        stage.wait_for(photo_id, "ready", 5)

    stage.deregister("a", 6)
    tombstone = stage.wait_for("a", "deregistered", 6)
    assert tombstone["renditions"] == []
    eventually(lambda: running.handled("a", "deregistered"), "its renditions are removed")
    for photo_id in nested[1:]:
        stage.assert_ready_is_true(stage.wait_for(photo_id, "ready", 5))
    stage.assert_nothing_stray("a", *nested[1:-1], below="a/")
    stage.assert_nothing_stray("a-b", below="a-b/")


def test_deregister_without_a_registration_leaves_a_tombstone_that_wins(running: Running) -> None:
    stage = running.stage
    stage.deregister("ghost", 10)
    stage.wait_for("ghost", "deregistered", 10)
    stage.register("ghost", 10, corners_jpeg(200, 200))
    stage.deregister("ghost", 10)
    eventually(lambda: len(running.handled("ghost")) == 3, "both later events are handled")
    ends = {(line["type"], line["outcome"]) for line in running.handled("ghost")[1:]}
    assert ends == {("photo.register", "superseded"), ("photo.deregister", "already_current")}
    stage.wait_for("ghost", "deregistered", 10)
    stage.assert_nothing_stray("ghost", below="ghost/")


SKIP_STEPS = {"total", "read_manifest", "clean_up", "outcome"}


def test_duplicates_and_older_events_are_skipped_without_a_render(running: Running) -> None:
    stage = running.stage
    stage.register("twice", 20, corners_jpeg(500, 400))
    first = stage.wait_for("twice", "ready", 20)
    for version in (20, 20, 19):
        stage.register("twice", version, corners_jpeg(500, 400))
    eventually(lambda: len(running.handled("twice")) == 4, "three skips")
    skips = [line for line in running.handled("twice") if line["outcome"] != "registered"]
    outcomes = sorted(line["outcome"] for line in skips)
    assert outcomes == ["already_current", "already_current", "superseded"]
    assert all(set(line["seconds"]) <= SKIP_STEPS for line in skips)
    assert stage.manifest("twice") == first
    stage.assert_nothing_stray("twice", below="twice/")


def test_two_workers_share_a_subscription(stage: Stage) -> None:
    workers = [stage.worker(vcpus="1"), stage.worker(vcpus="1")]
    for worker in workers:
        worker.wait_until_running()
    photo_ids = [f"shared-{n}" for n in range(12)]
    picture = noisy_jpeg(900, 600)
    for photo_id in photo_ids:
        stage.register(photo_id, 3, picture)
    for photo_id in photo_ids:
        stage.assert_ready_is_true(stage.wait_for(photo_id, "ready", 3))
    assert all(worker.lines("handled", outcome="registered") for worker in workers)
    stage.assert_nothing_stray(*photo_ids)


@pytest.mark.parametrize(
    ("reason", "original", "event"),
    [
        ("invalid_event", None, b"this is no JSON"),
        (
            "invalid_event",
            None,
            {"type": "photo.register", "photo_id": "x", "original": "gs://b/o"},
        ),
        ("invalid_event", None, {"type": "photo.resize", "photo_id": "x", "version": 1}),
        ("invalid_event", None, {"type": "photo.deregister", "photo_id": "a//b", "version": 1}),
        ("forbidden_source", None, {"original": "gs://somebody-elses/o.jpg"}),
        ("original_missing", None, {}),
        ("corrupt_original", GOOD[: len(GOOD) // 2], {}),
        ("corrupt_original", b"", {}),
        ("unsupported_format", b"not a picture at all", {}),
        ("original_too_large", noisy_jpeg(1200, 1200), {}),
    ],
)
def test_bad_input_is_dead_lettered_with_its_reason(
    running: Running,
    request: pytest.FixtureRequest,
    reason: str,
    original: bytes | None,
    event: bytes | dict[str, object],
) -> None:
    stage = running.stage
    photo_id = f"bad-{request.node.callspec.indices['reason']}"
    if original is not None:
        stage.upload(f"{photo_id}.jpg", original)
    if isinstance(event, dict) and "type" not in event:
        url = f"gs://{stage.originals}/{photo_id}.jpg"
        base = {"type": "photo.register", "photo_id": photo_id, "version": 4, "original": url}
        event = base | event
    data = event if isinstance(event, bytes) else json.dumps(event).encode()
    message_id = stage.publish(data, origin="test", timeout="kept")

    (letter,) = stage.pull(stage.dead_letters, 1)
    assert letter.data == data
    assert letter.attributes["dead_letter_reason"] == reason
    assert letter.attributes["dead_letter_message"]
    assert letter.attributes["dead_letter_worker"].startswith("photo-worker/")
    assert (letter.attributes["origin"], letter.attributes["timeout"]) == ("test", "kept")
    acked = {"message_id": message_id, "outcome": "rejected", "reason": reason}
    eventually(lambda: running.worker.lines("handled", **acked), "it is acked")
    manifest = stage.manifest(photo_id)
    if reason == "invalid_event":
        assert manifest is None
        return
    assert manifest is not None
    assert (manifest["state"], manifest["version"]) == ("rejected", 4)
    assert manifest["rejection"]["reason"] == reason
    assert running.outcome(photo_id) == "photo.rejected"
    stage.assert_nothing_stray(photo_id, below=f"{photo_id}/")


def test_a_ready_photo_stays_ready_when_a_newer_original_is_corrupt(running: Running) -> None:
    stage = running.stage
    stage.register("worse", 1, GOOD)
    stage.wait_for("worse", "ready", 1)
    stage.register("worse", 2, GOOD[:900])
    stage.pull(stage.dead_letters, 1)
    manifest = stage.wait_for("worse", "ready", 1)
    assert manifest["rejection"]["version"] == 2
    assert manifest["rejection"]["reason"] == "corrupt_original"
    stage.assert_ready_is_true(manifest)


def test_a_message_of_five_megabytes_holds_nobody_up(running: Running) -> None:
    stage = running.stage
    url = stage.upload("one.jpg", GOOD)
    events = [
        {"type": "photo.register", "photo_id": f"heavy-{n}", "version": 1, "original": url}
        for n in range(4)
    ]
    events[1]["ballast"] = "x" * 5_000_000
    messages = [PubsubMessage(data=json.dumps(event).encode()) for event in events]
    stage.publisher.publish(topic=stage.topic, messages=messages)
    for n in range(4):
        stage.wait_for(f"heavy-{n}", "ready", 1)
