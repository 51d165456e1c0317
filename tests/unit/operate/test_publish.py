"""The `register` and `deregister` verbs: what is found, uploaded and published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.fakes import FakePublisher, MemoryStore, Once, raising
from tests.support.workers import BUCKETS
from worker.errors import (
    ConfigurationError,
    InvalidEvent,
    PublishFailed,
    StorageUnavailable,
    UsageFault,
)
from worker.operate.publish import (
    EventPublisher,
    Published,
    Source,
    as_json_text,
    find_sources,
    now_version,
)
from worker.photo.events import Deregister, Register, parse

TOPIC = "projects/p/topics/t"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def publisher() -> FakePublisher:
    return FakePublisher()


@pytest.fixture
def events(store: MemoryStore, publisher: FakePublisher) -> EventPublisher:
    return EventPublisher(store, publisher, TOPIC)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    for name in (
        "b.JPG",
        "a.png",
        "sub/c.webp",
        "sub/d.jfif",
        "notes.txt",
        "sub/.hidden",
        "d.jpg/e.txt",
    ):
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "album"


def published(publisher: FakePublisher) -> list[Register | Deregister]:
    read = [parse(one.data, one.attributes, BUCKETS) for one in publisher.to(TOPIC)]
    assert all(isinstance(event, Register | Deregister) for event in read)
    return [event for event in read if isinstance(event, Register | Deregister)]


def test_a_folder_is_its_pictures_by_their_paths(album: Path) -> None:
    found = find_sources([str(album)])
    assert [source.photo_id for source in found] == ["a.png", "b.JPG", "sub/c.webp", "sub/d.jfif"]
    assert found[2].file == album / "sub" / "c.webp"


def test_a_file_named_outright_is_taken_whatever_it_is_called(album: Path) -> None:
    assert find_sources([str(album / "notes.txt")]) == [
        Source(photo_id="notes.txt", file=album / "notes.txt", url=None)
    ]


def test_an_object_is_known_by_its_name() -> None:
    assert find_sources(["gs://b/x/y.jpg"]) == [
        Source(photo_id="x/y.jpg", file=None, url="gs://b/x/y.jpg")
    ]


def test_a_photo_id_may_be_given_to_one_source(album: Path) -> None:
    (source,) = find_sources([str(album / "a.png")], photo_id="mine")
    assert (source.photo_id, source.file) == ("mine", album / "a.png")
    with pytest.raises(UsageFault, match="exactly one SOURCE, got 3"):
        find_sources([str(album)], photo_id="mine")


def test_sources_that_would_overwrite_each_other_are_named(album: Path) -> None:
    with pytest.raises(UsageFault, match=r"a\.png") as caught:
        find_sources([str(album), str(album / "a.png")])
    assert "'a.png'" in str(caught.value)
    with pytest.raises(UsageFault, match="gs://two/x"):
        find_sources(["gs://one/x", "gs://two/x"])


@pytest.mark.parametrize("name", ["missing.jpg", "sub2"])
def test_what_is_not_there_is_a_usage_fault(album: Path, name: str) -> None:
    with pytest.raises(UsageFault, match=name):
        find_sources([str(album / name)])


def test_a_folder_without_pictures_is_a_usage_fault(album: Path) -> None:
    with pytest.raises(UsageFault, match="no pictures"):
        find_sources([str(album / "d.jpg")])


def test_files_are_uploaded_and_then_published(
    album: Path, events: EventPublisher, store: MemoryStore, publisher: FakePublisher
) -> None:
    there = []
    publisher.after = lambda _: there.append(store.names("originals"))
    done = list(
        events.register(
            find_sources([str(album / "a.png")]), bucket="originals", labels={"k": "v"}, version=17
        )
    )
    assert there == [["a.png"]]
    entry = store.entry("originals", "a.png")
    assert entry is not None
    assert (entry.data, entry.content_type, entry.cache_control) == (
        b"a.png",
        "image/png",
        "private",
    )
    assert published(publisher) == [
        Register(
            photo_id="a.png",
            version=17,
            original="gs://originals/a.png",
            generation=str(entry.generation),
            labels={"k": "v"},
        )
    ]
    assert publisher.messages[0].attributes == {"type": "photo.register"}
    assert done == [
        Published(message_id="1", photo_id="a.png", version=17, original="gs://originals/a.png")
    ]


def test_many_sources_come_back_in_order(
    tmp_path: Path, events: EventPublisher, publisher: FakePublisher
) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}.jpg").write_bytes(b"x")
    done = events.register(find_sources([str(tmp_path)]), bucket="originals", labels={})
    assert [one.photo_id for one in done] == [f"{number:02}.jpg" for number in range(20)]
    assert len(publisher.messages) == 20


def test_an_object_is_published_without_any_upload(
    events: EventPublisher, store: MemoryStore, publisher: FakePublisher
) -> None:
    list(events.register(find_sources(["gs://b/x.jpg"]), bucket=None, labels={}, version=5))
    assert published(publisher) == [Register(photo_id="x.jpg", version=5, original="gs://b/x.jpg")]
    assert store.requests == []


def test_an_upload_replaces_what_lies_there(
    album: Path, events: EventPublisher, store: MemoryStore
) -> None:
    store.seed("originals", "a.png", b"older")
    sources = find_sources([str(album / "a.png")])
    store.before = Once("write", "a.png", lambda: store.seed("originals", "a.png", b"rival's"))
    list(events.register(sources, bucket="originals", labels={}))
    entry = store.entry("originals", "a.png")
    assert entry is not None
    assert entry.data == b"a.png"


@pytest.mark.parametrize(
    ("photo_id", "labels"), [("a//b", {}), ("x" * 801, {}), ("a\x00", {}), ("ok", {"": "v"})]
)
def test_an_invalid_event_uploads_and_publishes_nothing(
    album: Path,
    events: EventPublisher,
    store: MemoryStore,
    publisher: FakePublisher,
    photo_id: str,
    labels: dict[str, str],
) -> None:
    sources = [Source(photo_id=photo_id, file=album / "a.png", url=None)]
    with pytest.raises(InvalidEvent):
        list(events.register(sources, bucket="originals", labels=labels))
    assert store.requests == []
    assert publisher.messages == []


def test_a_file_needs_a_bucket_to_go_to(album: Path, events: EventPublisher) -> None:
    with pytest.raises(ConfigurationError, match="WORKER_ORIGINALS_BUCKETS"):
        list(events.register(find_sources([str(album)]), bucket=None, labels={}))


def test_a_failed_upload_publishes_nothing(
    album: Path, events: EventPublisher, store: MemoryStore, publisher: FakePublisher
) -> None:
    store.before = Once("write", "a.png", raising(StorageUnavailable("503")))
    with pytest.raises(StorageUnavailable):
        list(events.register(find_sources([str(album / "a.png")]), bucket="o", labels={}))
    assert publisher.messages == []


def test_an_unconfirmed_publish_is_the_callers(
    events: EventPublisher, publisher: FakePublisher
) -> None:
    publisher.broken.add(TOPIC)
    with pytest.raises(PublishFailed):
        list(events.deregister(["a"], 17))


def test_photos_are_deregistered_one_by_one(
    events: EventPublisher, publisher: FakePublisher
) -> None:
    done = list(events.deregister(["a", "a/b"], 17))
    assert published(publisher) == [
        Deregister(photo_id="a", version=17),
        Deregister(photo_id="a/b", version=17),
    ]
    assert [(one.photo_id, one.original) for one in done] == [("a", None), ("a/b", None)]


def test_an_invalid_photo_id_ends_it_before_it_is_published(
    events: EventPublisher, publisher: FakePublisher
) -> None:
    with pytest.raises(InvalidEvent, match="photo_id"):
        list(events.deregister(["a", "/b"], 17))
    assert [event.photo_id for event in published(publisher)] == ["a"]


def test_the_default_version_is_now_in_microseconds(
    events: EventPublisher, publisher: FakePublisher
) -> None:
    before = now_version()
    list(events.deregister(["a"], None))
    assert before <= published(publisher)[0].version <= now_version()
    assert 10**15 < before < 10**16


@pytest.mark.parametrize("version", [0, -1])
def test_a_version_that_no_worker_accepts_is_invalid(
    events: EventPublisher, publisher: FakePublisher, version: int
) -> None:
    with pytest.raises(InvalidEvent, match="version"):
        list(events.deregister(["a"], version))
    assert publisher.messages == []


def test_results_as_json() -> None:
    one = Published(message_id="1", photo_id="ảnh", version=17, original=None)
    assert json.loads(as_json_text([one])) == [
        {"message_id": "1", "photo_id": "ảnh", "version": 17, "original": None}
    ]
    assert "ảnh" in as_json_text([one])


@pytest.mark.parametrize("name", ["new\nline.jpg", "bell\a.jpg"])
def test_a_file_whose_name_can_be_no_photo_id_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UsageFault, match="control characters"):
        find_sources([str(tmp_path)])


def test_an_empty_source_is_not_the_current_folder() -> None:
    with pytest.raises(UsageFault, match="empty"):
        find_sources([""])
