"""`photo-worker run` in real processes: what becomes of events."""

from __future__ import annotations

import json

import pytest
from google.pubsub_v1.types import PubsubMessage

from tests.e2e.stage import Stage
from tests.support.pictures import corners_jpeg, is_upright, noisy_jpeg, webp_size
from tests.support.waiting import eventually


def test_ten_photos_of_every_orientation_become_ladders(stage: Stage) -> None:
    stage.worker().wait_until_running()
    photos = {f"album/turned-{n}": corners_jpeg(1200, 800, n) for n in range(1, 9)}
    photos["portrait"] = corners_jpeg(600, 1000, 6)
    photos["tiny"] = corners_jpeg(64, 48)
    for photo_id, data in photos.items():
        stage.register(photo_id, 7, data, labels={"album": "one"})

    for photo_id, data in photos.items():
        manifest = stage.wait_for(photo_id, "ready", 7)
        stage.assert_ready_is_true(manifest)
        original = manifest["original"]
        size = (original["width"], original["height"])
        expected = {"portrait": (600, 1000), "tiny": (64, 48)}.get(photo_id, (1200, 800))
        assert size == expected
        assert manifest["labels"] == {"album": "one"}
        assert manifest["schema"] == "photo-manifest/1"
        assert manifest["rejection"] is None
        assert original["format"] == "jpeg"
        assert original["bytes"] == len(data)
        for rendition in manifest["renditions"]:
            webp = stage.read(rendition["object"])
            assert webp_size(webp) == (rendition["width"], rendition["height"])
            assert is_upright(webp), (photo_id, rendition["rung"])

    rungs = [each["rung"] for each in stage.wait_for("album/turned-6", "ready", 7)["renditions"]]
    assert rungs == ["320", "512", "768", "1024", "full"]
    assert [r["rung"] for r in stage.wait_for("tiny", "ready", 7)["renditions"]] == ["full"]
    stage.assert_nothing_stray(*photos)
    outcomes = [json.loads(message.data) for message in stage.pull(stage.outcomes, len(photos))]
    assert {(each["type"], each["photo_id"]) for each in outcomes} == {
        ("photo.ready", photo_id) for photo_id in photos
    }


def test_nested_ids_do_not_touch_each_other(stage: Stage) -> None:
    stage.worker().wait_until_running()
    picture = corners_jpeg(400, 300)
    nested = ["a", "a/b", "a/b/c", "a/5-0123456789ab", "a-b"]
    for photo_id in nested:
        stage.register(photo_id, 5, picture)
    for photo_id in nested:
        stage.wait_for(photo_id, "ready", 5)

    stage.deregister("a", 6)
    tombstone = stage.wait_for("a", "deregistered", 6)
    assert tombstone["renditions"] == []
    eventually(
        lambda: not [n for n in stage.objects("photos/a/5-") if n.count("/") == 3 and "webp" in n],
        "the photo's own renditions are gone",
    )
    for photo_id in nested[1:]:
        stage.assert_ready_is_true(stage.wait_for(photo_id, "ready", 5))
    eventually(lambda: len(stage.objects()) == 1 + 4 * 3, "only a's own objects went")
    stage.assert_nothing_stray(*nested)


def test_deregister_without_a_registration_leaves_a_tombstone_that_wins(stage: Stage) -> None:
    worker = stage.worker().wait_until_running()
    stage.deregister("ghost", 10)
    stage.wait_for("ghost", "deregistered", 10)
    stage.register("ghost", 10, corners_jpeg(200, 200))
    stage.deregister("ghost", 10)
    eventually(
        lambda: (
            worker.lines("handled", outcome="superseded", type="photo.register")
            and worker.lines("handled", outcome="already_current", type="photo.deregister")
        ),
        "both later events are handled",
    )
    stage.wait_for("ghost", "deregistered", 10)
    stage.assert_nothing_stray("ghost")


SKIP_STEPS = {"total", "read_manifest", "clean_up", "outcome"}


def test_duplicates_and_older_events_are_skipped_without_a_render(stage: Stage) -> None:
    worker = stage.worker().wait_until_running()
    stage.register("twice", 20, corners_jpeg(500, 400))
    first = stage.wait_for("twice", "ready", 20)
    for version in (20, 20, 19):
        stage.register("twice", version, corners_jpeg(500, 400))
    eventually(
        lambda: (
            len(worker.lines("handled", outcome="already_current")) == 2
            and len(worker.lines("handled", outcome="superseded")) == 1
        ),
        "three skips",
    )
    skips = [line for line in worker.lines("handled") if line["outcome"] != "registered"]
    assert all(set(line["seconds"]) <= SKIP_STEPS for line in skips)
    assert stage.manifest("twice") == first
    stage.assert_nothing_stray("twice")


def test_a_newer_version_replaces_the_older_and_its_renditions(stage: Stage) -> None:
    worker = stage.worker().wait_until_running()
    stage.register("photo", 1, corners_jpeg(400, 300))
    stage.wait_for("photo", "ready", 1)
    stage.register("photo", 2, corners_jpeg(300, 400))
    manifest = stage.wait_for("photo", "ready", 2)
    eventually(lambda: len(worker.lines("handled", outcome="registered")) == 2, "both handled")
    stage.assert_ready_is_true(manifest)
    stage.assert_nothing_stray("photo")


@pytest.mark.parametrize("broker", ["stage", "embedded_stage"])
def test_two_workers_share_a_subscription(request: pytest.FixtureRequest, broker: str) -> None:
    stage: Stage = request.getfixturevalue(broker)
    workers = [stage.worker(vcpus="1"), stage.worker(vcpus="1")]
    for worker in workers:
        worker.wait_until_running()
    photo_ids = [f"shared-{n}" for n in range(12)]
    picture = noisy_jpeg(1500, 1000)
    for photo_id in photo_ids:
        stage.register(photo_id, 3, picture)
    for photo_id in photo_ids:
        stage.assert_ready_is_true(stage.wait_for(photo_id, "ready", 3))
    # Google's emulator may give one stream everything, whatever flow control it has asked for.
    if broker == "embedded_stage":
        assert all(worker.lines("handled", outcome="registered") for worker in workers)
    stage.assert_nothing_stray(*photo_ids)


GOOD = corners_jpeg(800, 600)


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
    stage: Stage, reason: str, original: bytes | None, event: bytes | dict[str, object]
) -> None:
    worker = stage.worker(max_original_pixels="1000000").wait_until_running()
    if original is not None:
        stage.upload("bad.jpg", original)
    if isinstance(event, dict) and "type" not in event:
        url = f"gs://{stage.originals}/bad.jpg"
        base = {"type": "photo.register", "photo_id": "bad", "version": 4, "original": url}
        event = base | event
    data = event if isinstance(event, bytes) else json.dumps(event).encode()
    stage.publish(data, origin="test", timeout="kept")

    (letter,) = stage.pull(stage.dead_letters, 1)
    assert letter.data == data
    assert letter.attributes["dead_letter_reason"] == reason
    assert letter.attributes["dead_letter_message"]
    assert letter.attributes["dead_letter_worker"].startswith("photo-worker/")
    assert (letter.attributes["origin"], letter.attributes["timeout"]) == ("test", "kept")
    eventually(lambda: worker.lines("handled", outcome="rejected", reason=reason), "it is acked")
    manifest = stage.manifest("bad")
    if reason == "invalid_event":
        assert manifest is None
        return
    assert manifest is not None
    assert (manifest["state"], manifest["version"]) == ("rejected", 4)
    assert manifest["rejection"]["reason"] == reason
    (outcome,) = stage.pull(stage.outcomes, 1)
    assert json.loads(outcome.data)["type"] == "photo.rejected"
    stage.assert_nothing_stray("bad")


def test_a_ready_photo_stays_ready_when_a_newer_original_is_corrupt(stage: Stage) -> None:
    stage.worker().wait_until_running()
    stage.register("photo", 1, GOOD)
    stage.wait_for("photo", "ready", 1)
    stage.register("photo", 2, GOOD[:900])
    stage.pull(stage.dead_letters, 1)
    manifest = stage.wait_for("photo", "ready", 1)
    assert manifest["rejection"]["version"] == 2
    assert manifest["rejection"]["reason"] == "corrupt_original"
    stage.assert_ready_is_true(manifest)


def test_a_message_of_five_megabytes_holds_nobody_up(stage: Stage) -> None:
    stage.worker().wait_until_running()
    url = stage.upload("one.jpg", GOOD)
    events = [
        {"type": "photo.register", "photo_id": f"photo-{n}", "version": 1, "original": url}
        for n in range(4)
    ]
    events[1]["ballast"] = "x" * 5_000_000
    messages = [PubsubMessage(data=json.dumps(event).encode()) for event in events]
    stage.publisher.publish(topic=stage.topic, messages=messages)
    for n in range(4):
        stage.wait_for(f"photo-{n}", "ready", 1)


def test_gcs_notifications_are_events(stage: Stage) -> None:
    worker = stage.worker().wait_until_running()
    stage.upload("wedding/one.jpg", GOOD)
    stored = stage.store.stat(stage.originals, "wedding/one.jpg")
    assert stored is not None
    attributes = {
        "bucketId": stage.originals,
        "objectId": "wedding/one.jpg",
        "objectGeneration": str(stored.generation),
    }
    stage.publish(b"{}", eventType="OBJECT_FINALIZE", **attributes)
    stage.wait_for("wedding/one.jpg", "ready", stored.generation)
    stage.publish(b"{}", eventType="OBJECT_METADATA_UPDATE", **attributes)
    eventually(lambda: worker.lines("handled", outcome="ignored"), "it is ignored")
    stage.publish(b"{}", eventType="OBJECT_DELETE", **attributes)
    stage.wait_for("wedding/one.jpg", "deregistered", stored.generation)
