"""The `register` and `deregister` verbs: what is found, uploaded and published."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fakes import FakePublisher, MemoryStore, Once, raising
from tests.support.workers import BUCKETS
from worker.errors import (
    ConfigurationError,
    InvalidEvent,
    PublishFailed,
    StorageUnavailable,
)
from worker.operate.publish import (
    BATCH,
    EventPublisher,
    PacedPublisher,
    Published,
    Unread,
    message_of,
    now_version,
)
from worker.operate.sources import Source, find_sources
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
    for name in ("b.JPG", "a.png", "sub/c.webp", "notes.txt", "sub/.hidden", "d.jpg/e.txt"):
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "album"


@pytest.mark.parametrize(
    ("rate", "publish_seconds", "size", "slept"),
    [
        (3.0, 0.25, 3, [0.75, 0.75]),
        (0.1, 0.0, 1, [10.0, 10.0]),
        (1000.0, 1.0, BATCH, []),
        (None, 0.0, BATCH, []),
    ],
    ids=["some", "less than one", "faster than Pub/Sub", "unset"],
)
def test_a_rate_is_kept_to(
    rate: float | None, publish_seconds: float, size: int, slept: list[float]
) -> None:
    waits: list[float] = []
    now = 0.0

    def pass_time(seconds: float) -> None:
        nonlocal now
        now += seconds

    def wait(seconds: float) -> None:
        waits.append(seconds)
        pass_time(seconds)

    paced = PacedPublisher(
        lambda _: pass_time(publish_seconds), rate, wait=wait, monotonic=lambda: now
    )
    assert paced.batch_size == size
    message = message_of(Deregister(photo_id="a", version=1))
    for _ in range(3):
        paced([message] * size)
    assert waits == pytest.approx(slept)


def published(publisher: FakePublisher) -> list[Register | Deregister]:
    read = [parse(one.data, one.attributes, BUCKETS) for one in publisher.to(TOPIC)]
    assert all(isinstance(event, Register | Deregister) for event in read)
    return [event for event in read if isinstance(event, Register | Deregister)]


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


def test_a_picture_that_no_worker_renders_is_not_uploaded(
    album: Path, events: EventPublisher
) -> None:
    (album / "c.bmp").write_bytes(b"BM")
    sources = find_sources([str(album)])
    done = list(events.register(sources, bucket="originals", labels={}, version=1))
    refused = [each for each in done if isinstance(each, Unread)]
    assert [each.photo_id for each in refused] == ["c.bmp"]
    assert "a BMP, which is not read" in refused[0].message


def test_what_cannot_be_read_is_left_out_and_the_others_go_on(
    album: Path, events: EventPublisher, store: MemoryStore, publisher: FakePublisher
) -> None:
    (album / "b0.jpg").symlink_to("nowhere")
    (album / "c.jpg").write_bytes(b"c")
    (album / "d\a.jpg").write_bytes(b"d")
    sources = find_sources([str(album)])
    (album / "c.jpg").unlink()
    done = list(events.register(sources, bucket="originals", labels={}, version=1))
    gone = "cannot be read: No such file or directory"
    odd = "cannot be a photo: its id must have no control characters"
    assert [each for each in done if isinstance(each, Unread)] == [
        *(Unread(photo_id=name, file=album / name, message=gone) for name in ("b0.jpg", "c.jpg")),
        Unread(photo_id="d\\x07.jpg", file=album / "d\a.jpg", message=odd),
    ]
    names = ["a.png", "b.JPG", "b0.jpg", "c.jpg", "d\\x07.jpg", "sub/c.webp"]
    assert [each.photo_id for each in done] == names
    # In any order: several threads publish.
    sent = sorted(event.photo_id for event in published(publisher))
    assert sent == ["a.png", "b.JPG", "sub/c.webp"]
    assert store.names("originals") == ["a.png", "b.JPG", "sub/c.webp"]
