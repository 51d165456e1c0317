"""GCS notifications: which register, which deregister, and which are ignored."""

from __future__ import annotations

import pytest

from worker.errors import ForbiddenSource, InvalidEvent
from worker.photo.events import Buckets, Deregister, Event, Ignored, Register, parse
from worker.photo.globs import Globs
from worker.photo.layout import Layout

FINALIZE = {
    "eventType": "OBJECT_FINALIZE",
    "bucketId": "originals",
    "objectId": "album/IMG_1.jpg",
    "objectGeneration": "1763769600000000",
    "payloadFormat": "JSON_API_V1",
}


EVERYTHING = Globs()


def read(
    attributes: dict[str, str],
    *,
    prefix: str = "photos/",
    data: bytes = b"{}",
    globs: Globs = EVERYTHING,
) -> Event:
    buckets = Buckets(
        originals=frozenset({"originals", "renditions"}),
        renditions="renditions",
        layout=Layout(prefix),
        globs=globs,
    )
    return parse(data, attributes, buckets)


def test_finalize_registers_the_object_pinned_to_its_generation() -> None:
    assert read(FINALIZE) == Register(
        photo_id="album/IMG_1.jpg",
        version=1763769600000000,
        original="gs://originals/album/IMG_1.jpg",
        generation="1763769600000000",
    )


@pytest.mark.parametrize("kind", ["OBJECT_FINALIZE", "OBJECT_DELETE", "OBJECT_ARCHIVE"])
def test_a_notification_about_somebody_elses_bucket_is_forbidden(kind: str) -> None:
    with pytest.raises(ForbiddenSource, match="somebody-elses"):
        read({**FINALIZE, "eventType": kind, "bucketId": "somebody-elses"})


def test_a_finalize_that_overwrites_registers_too() -> None:
    assert isinstance(read({**FINALIZE, "overwroteGeneration": "1"}), Register)


@pytest.mark.parametrize("kind", ["OBJECT_DELETE", "OBJECT_ARCHIVE"])
def test_delete_deregisters_at_the_deleted_generation(kind: str) -> None:
    """A bucket with object versioning tells of a deletion by the archived generation."""
    assert read({**FINALIZE, "eventType": kind}) == Deregister(
        photo_id="album/IMG_1.jpg", version=1763769600000000
    )


def test_attributes_count_whatever_the_data_is() -> None:
    for data in (b"", b"not json", b'{"type": "photo.deregister", "photo_id": "a", "version": 1}'):
        assert isinstance(read(FINALIZE, data=data), Register)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (
            {"eventType": "OBJECT_DELETE", "overwrittenByGeneration": "1763769600000001"},
            "overwritten",
        ),
        (
            {"eventType": "OBJECT_ARCHIVE", "overwrittenByGeneration": "1763769600000001"},
            "overwritten",
        ),
        ({"eventType": "OBJECT_METADATA_UPDATE"}, "OBJECT_METADATA_UPDATE"),
        ({"eventType": ""}, "notification"),
        ({"objectId": "album/"}, "folder"),
        ({"objectId": "album/", "eventType": "OBJECT_DELETE"}, "folder"),
        ({"bucketId": "renditions", "objectId": "photos/a/manifest.json"}, "own output"),
        (
            {
                "bucketId": "renditions",
                "objectId": "photos/a/1-3fd0c1a2b4e5/320.webp",
                "eventType": "OBJECT_DELETE",
            },
            "own output",
        ),
    ],
)
def test_what_is_none_of_our_business_is_ignored(changed: dict[str, str], why: str) -> None:
    event = read({**FINALIZE, **changed})
    assert isinstance(event, Ignored)
    assert why in event.why


@pytest.mark.parametrize(
    "changed",
    [
        {"objectId": "photos/IMG_1.jpg"},  # another bucket's `photos/`
        {"bucketId": "renditions", "objectId": "uploads/IMG_1.jpg"},
        {"bucketId": "renditions", "objectId": "photos"},
    ],
)
def test_what_only_looks_like_own_output_is_an_original(changed: dict[str, str]) -> None:
    assert isinstance(read({**FINALIZE, **changed}), Register)


@pytest.mark.parametrize("kind", ["OBJECT_FINALIZE", "OBJECT_DELETE", "OBJECT_ARCHIVE"])
@pytest.mark.parametrize(
    ("globs", "why"),
    [
        (Globs(include=("*.png",)), "not included"),
        (Globs(include=("album/*",), exclude=("*.jpg",)), "excluded by '*.jpg'"),
    ],
    ids=["include", "exclude"],
)
def test_globs_leave_objects_whatever_became_of_them(kind: str, globs: Globs, why: str) -> None:
    event = read({**FINALIZE, "eventType": kind}, globs=globs)
    assert event == Ignored(why=why)


def test_globs_choose_objects_however_a_camera_spells_them() -> None:
    globs = Globs(include=("album/*.jpg",))
    assert isinstance(read({**FINALIZE, "objectId": "album/IMG_1.JPG"}, globs=globs), Register)


def test_an_event_that_names_its_photo_is_taken_at_its_word() -> None:
    data = b"""{"type": "photo.register", "photo_id": "a", "version": 1,
                "original": "gs://originals/a.tmp"}"""
    assert isinstance(read({}, data=data, globs=Globs(exclude=("**",))), Register)


def test_globs_cannot_bring_in_own_output_or_other_buckets() -> None:
    globs = Globs(include=("**",))
    own = {**FINALIZE, "bucketId": "renditions", "objectId": "photos/a/1-3fd0c1a2b4e5/320.webp"}
    assert read(own, globs=globs) == Ignored(why="own output")
    with pytest.raises(ForbiddenSource):
        read({**FINALIZE, "bucketId": "somebody-elses"}, globs=Globs(exclude=("**",)))


def test_what_globs_leave_need_not_be_a_possible_photo() -> None:
    globs = Globs(exclude=("/new//**",))
    assert isinstance(read({**FINALIZE, "objectId": "new//a.jpg"}, globs=globs), Ignored)


def test_everything_in_the_renditions_bucket_is_own_output_without_a_prefix() -> None:
    assert isinstance(read({**FINALIZE, "bucketId": "renditions"}, prefix=""), Ignored)


@pytest.mark.parametrize(
    "generation", ["", "0", "-1", "x", "1.5", "\u0661", "9" * 19, "1 ", str(2**63)]
)
@pytest.mark.parametrize("kind", ["OBJECT_FINALIZE", "OBJECT_DELETE", "OBJECT_ARCHIVE"])
def test_a_bad_generation_is_an_invalid_event(kind: str, generation: str) -> None:
    with pytest.raises(InvalidEvent, match="IMG_1"):
        read({**FINALIZE, "eventType": kind, "objectGeneration": generation})


@pytest.mark.parametrize(
    ("missing", "error"), [("objectGeneration", InvalidEvent), ("bucketId", ForbiddenSource)]
)
def test_a_missing_attribute_is_refused(missing: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        read({key: value for key, value in FINALIZE.items() if key != missing})


@pytest.mark.parametrize("name", ["a//b.jpg", "/a.jpg", "./a.jpg", "x" * 801, "a\x01.jpg"])
def test_an_object_that_cannot_be_a_photo_is_an_invalid_event(name: str) -> None:
    with pytest.raises(InvalidEvent, match="photo_id"):
        read({**FINALIZE, "objectId": name})


@pytest.mark.parametrize("missing", ["eventType", "objectId"])
def test_half_a_notification_is_read_as_an_event(missing: str) -> None:
    attributes = {key: value for key, value in FINALIZE.items() if key != missing}
    event = read(attributes, data=b'{"type": "photo.deregister", "photo_id": "a", "version": 1}')
    assert event == Deregister(photo_id="a", version=1)
