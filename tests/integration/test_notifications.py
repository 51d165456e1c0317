"""Notifications of a real GCS server, by a broker, to a real worker: what becomes of each."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.pubsub_v1.types import PubsubMessage

from tests.e2e.stage import Stage, Worker, set_up
from tests.support.pictures import noisy_jpeg
from tests.support.waiting import eventually
from worker.lab.emulator.server import EmbeddedBroker
from worker.lab.local.gcs_server import GcsServer, Notifications

PHOTO = noisy_jpeg(400, 300)


class Notified:
    """A stage whose every bucket tells a topic, a worker on that topic, and an auditor."""

    def __init__(self, stage: Stage, topic: str) -> None:
        self.stage = stage
        self.topic = topic
        tag = uuid.uuid4().hex[:8]
        project = topic.partition("/topics/")[0]
        self.subscription = f"{project}/subscriptions/worker-{tag}"
        self.audit = f"{project}/subscriptions/audit-{tag}"
        for name in (self.subscription, self.audit):
            stage.subscriber.create_subscription(name=name, topic=topic)
        self.seen: dict[str, PubsubMessage] = {}

    def worker(self, **settings: str) -> Worker:
        return self.stage.worker(subscription=self.subscription, **settings).wait_until_running()

    def generation(self, name: str) -> int:
        stored = self.stage.store.stat(self.stage.originals, name)
        assert stored is not None
        return stored.generation

    def settled(self, worker: Worker, last: str) -> dict[str, dict[str, object]]:
        """Every notification and how it was handled, once all up to `last` are."""
        handled: dict[str, dict[str, object]] = {}

        def all_are() -> bool:
            for message in self.stage.pubsub.take(self.audit):
                self.seen[message.message_id] = message
            for line in worker.lines("handled"):
                handled[str(line["message_id"])] = line
            names = {each.attributes["objectId"] for each in self.seen.values()}
            return last in names and handled.keys() == self.seen.keys()

        eventually(all_are, "every notification is handled")
        return handled


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, str, str]]:
    """Broker, topic and URL."""
    with EmbeddedBroker() as broker:
        to = Notifications(broker=broker.address, project="gcs-events", topic="objects")
        with GcsServer(to) as server:
            yield broker.address, "projects/gcs-events/topics/objects", server.url


@pytest.fixture
def notified(server: tuple[str, str, str], tmp_path: Path) -> Iterator[Notified]:
    broker, topic, url = server
    with set_up(broker, url, tmp_path) as stage:
        if topic not in {
            each.name for each in stage.publisher.list_topics(project="projects/gcs-events")
        }:
            stage.publisher.create_topic(name=topic)
        yield Notified(stage, topic)


def photos(stage: Stage, bucket: str) -> set[str]:
    """Photo ids by their manifests."""
    names = [each.name for each in stage.store.objects(bucket, "photos/")]
    return {
        name.removeprefix("photos/").removesuffix("/manifest.json")
        for name in names
        if name.endswith("/manifest.json")
    }


@pytest.mark.parametrize("shared", [False, True], ids=["two-buckets", "one-bucket"])
def test_uploads_overwrites_and_deletes_and_nothing_else(
    notified: Notified, *, shared: bool
) -> None:
    stage = notified.stage
    output = stage.originals if shared else stage.renditions
    stage.renditions = output
    worker = notified.worker(
        renditions_bucket=output, include="*.{jpg,png,webp,json}", exclude="drafts/,*.tmp.*"
    )
    for name in ("a.jpg", "album/IMG_1.JPG", "gone.jpg"):
        stage.upload(name, PHOTO)
        stage.wait_for(name, "ready", notified.generation(name))
    first = notified.generation("a.jpg")
    gone = notified.generation("gone.jpg")
    stage.upload("a.jpg", noisy_jpeg(410, 300))
    stage.wait_for("a.jpg", "ready", notified.generation("a.jpg"))
    assert notified.generation("a.jpg") > first
    stage.store.delete(stage.originals, "gone.jpg")
    stage.wait_for("gone.jpg", "deregistered", gone)
    blob = stage.store._blob(stage.originals, "a.jpg")
    blob.metadata = {"seen": "yes"}
    blob.patch()
    for name in ("album/", "drafts/b.jpg", "c.tmp.jpg", "notes.txt", "b//c.jpg"):
        stage.upload(name, PHOTO)
    stage.upload("last.txt", b"")
    handled = notified.settled(worker, "last.txt")
    kinds: Counter[tuple[object, object]] = Counter()
    for message_id, line in handled.items():
        about = notified.seen[message_id].attributes
        own = about["bucketId"] == output and about["objectId"].startswith("photos/")
        assert not own or (line["outcome"], line["why"]) == ("ignored", "own output")
        kinds[line["outcome"], None if own else line.get("why", line.get("reason"))] += 1
    own_output = kinds.pop(("ignored", None))
    assert kinds == {
        ("registered", None): 4,
        ("deregistered", None): 1,
        ("rejected", "invalid_event"): 1,
        ("ignored", "overwritten, the finalize of the new generation registers it"): 1,
        ("ignored", "notification OBJECT_METADATA_UPDATE"): 1,
        ("ignored", "folder marker"): 1,
        ("ignored", "excluded by 'drafts/'"): 1,
        ("ignored", "excluded by '*.tmp.*'"): 1,
        ("ignored", "not included"): 2,
    }
    # Each photo's renditions and manifests came back as notifications, and that was the end of it.
    assert own_output >= 4 * 3
    assert photos(stage, output) == {"a.jpg", "album/IMG_1.JPG", "gone.jpg"}
    named = {f"photos/{photo_id}/manifest.json" for photo_id in photos(stage, output)}
    for photo_id in photos(stage, output):
        manifest = stage.manifest(photo_id)
        assert manifest is not None
        named |= {each["object"] for each in manifest["renditions"]}
    assert set(stage.objects("photos/")) == named
    [letter] = stage.pull(stage.dead_letters, 1)
    assert letter.attributes["objectId"] == "b//c.jpg"


def test_a_versioned_bucket_archives_what_is_overwritten_and_what_is_deleted(
    notified: Notified,
) -> None:
    stage = notified.stage
    worker = notified.worker()
    stage.upload("a.jpg", PHOTO)
    generation = notified.generation("a.jpg")
    stage.wait_for("a.jpg", "ready", generation)

    def archived(**more: str) -> None:
        # Only versioned buckets archive, and the server lacks them.
        attributes = {
            "eventType": "OBJECT_ARCHIVE",
            "bucketId": stage.originals,
            "objectId": "a.jpg",
            "objectGeneration": str(generation),
            "payloadFormat": "JSON_API_V1",
            **more,
        }
        message = PubsubMessage(data=b"{}", attributes=attributes)
        stage.publisher.publish(topic=notified.topic, messages=[message])

    archived(overwrittenByGeneration=str(generation + 1))
    overwritten = "overwritten, the finalize of the new generation registers it"
    eventually(lambda: worker.lines("handled", why=overwritten), "it is handled")
    manifest = stage.manifest("a.jpg")
    assert manifest is not None
    assert (manifest["state"], manifest["version"]) == ("ready", generation)

    archived()
    stage.wait_for("a.jpg", "deregistered", generation)
