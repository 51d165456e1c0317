"""Events of the gallery's back end: which are understood, and which are refused and why."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.support.workers import BUCKETS
from worker.errors import InvalidEvent
from worker.photo.events import Deregister, Event, Register, parse

VALID: dict[str, Any] = {
    "type": "photo.register",
    "photo_id": "hanoi-2026/IMG_0042",
    "version": 1763769600000000,
    "original": "gs://originals/hanoi-2026/IMG_0042.jpg",
    "generation": "1763769600000001",
    "labels": {"album": "hanoi-2026"},
}


def read(data: bytes) -> Event:
    return parse(data, {}, BUCKETS)


def read_with(**fields: Any) -> Register:
    event = read(json.dumps({**VALID, **fields}).encode())
    assert isinstance(event, Register)
    return event


def refusal(data: bytes) -> str:
    with pytest.raises(InvalidEvent) as caught:
        read(data)
    assert isinstance(caught.value.__cause__, ValidationError)
    return str(caught.value)


def refusal_with(**fields: Any) -> str:
    return refusal(json.dumps({**VALID, **fields}).encode())


def test_the_contracts_registration() -> None:
    event = read_with()
    assert (event.photo_id, event.version) == ("hanoi-2026/IMG_0042", 1763769600000000)
    assert (event.bucket, event.object) == ("originals", "hanoi-2026/IMG_0042.jpg")
    assert event.generation == "1763769600000001"
    assert event.labels == {"album": "hanoi-2026"}


def test_the_contracts_deregistration() -> None:
    event = read(b'{"type": "photo.deregister", "photo_id": "a/b", "version": 17}')
    assert event == Deregister(photo_id="a/b", version=17)


def test_generation_and_labels_may_be_left_out() -> None:
    slim = {key: value for key, value in VALID.items() if key not in ("generation", "labels")}
    event = read(json.dumps(slim).encode())
    assert isinstance(event, Register)
    assert (event.generation, event.labels) == (None, {})
    assert read_with(generation=None).generation is None


def test_unknown_fields_are_kept_out_of_the_way() -> None:
    assert read_with(colour="red", nested={"a": [1]}) == read_with()


@pytest.mark.parametrize("missing", ["type", "photo_id", "version", "original"])
def test_a_missing_field_is_named(missing: str) -> None:
    rest = {key: value for key, value in VALID.items() if key != missing}
    assert missing in refusal(json.dumps(rest).encode())


@pytest.mark.parametrize("kind", ["photo.resize", "register", "", None, 1, "photo.Register"])
def test_another_type_is_refused(kind: object) -> None:
    assert "photo.register" in refusal_with(type=kind)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"null", b"[]", b'"photo.register"', b"17", b"\xff\xfe{}", b"\x00"]
)
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    assert refusal(data)


def test_every_wrong_field_is_named_on_one_line() -> None:
    text = refusal_with(photo_id="", version=0, original="http://x", labels=[])
    assert "\n" not in text
    for name in ("photo_id", "version", "original", "labels"):
        assert f"{name}: " in text


@pytest.mark.parametrize(
    "photo_id",
    [
        "a",
        "a/b/c",
        "hanoi 2026/Ảnh đẹp.jpg",
        "...",
        ".hidden/..x",
        "a/17-3fd0c1a2b4e5",
        "manifest.json",
        "\U0001f4f7" * 200,  # 800 bytes in 200 characters
        "é" * 400,
        "x" * 800,
        "a?b#c%2F[*]",
    ],
)
def test_photo_ids_that_are_accepted(photo_id: str) -> None:
    assert read_with(photo_id=photo_id).photo_id == photo_id


@pytest.mark.parametrize(
    ("photo_id", "complaint"),
    [
        ("", "1 to 800 bytes"),
        ("x" * 801, "has 801"),
        ("é" * 401, "has 802"),  # bytes are counted, not characters
        ("\U0001f4f7" * 200 + "x", "has 801"),
        ("/a", "segment"),
        ("a/", "segment"),
        ("/", "segment"),
        ("a//b", "segment"),
        (".", "segment"),
        ("..", "segment"),
        ("a/./b", "segment"),
        ("a/..", "segment"),
        ("../a", "segment"),
        ("a\x00b", "control"),
        ("a\nb", "control"),
        ("a\r", "control"),
        ("\x1f", "control"),
        ("a\x7f", "control"),
        ("a\x85b", "control"),
        (17, "string"),
        (None, "string"),
        (["a"], "string"),
    ],
)
def test_photo_ids_that_are_refused(photo_id: object, complaint: str) -> None:
    text = refusal_with(photo_id=photo_id)
    assert text.startswith("photo_id: ")
    assert complaint in text


@pytest.mark.parametrize("field", ["photo_id", "original", "labels"])
def test_lone_surrogates_are_refused_wherever_they_stand(field: str) -> None:
    value = {"k": "\ud800"} if field == "labels" else f"gs://b/\ud800{field}"
    assert refusal_with(**{field: value})


def test_lone_surrogates_are_refused_in_python_too() -> None:
    with pytest.raises(ValidationError):
        Deregister(photo_id="a\udc80", version=1)
    with pytest.raises(ValidationError):
        Register(photo_id="a", version=1, original="gs://b/\udc80")


@given(st.text(max_size=900))
def test_an_accepted_photo_id_keeps_every_rule(photo_id: str) -> None:
    try:
        event = Deregister(photo_id=photo_id, version=1)
    except ValidationError:
        return
    assert 1 <= len(event.photo_id.encode()) <= 800
    assert event.photo_id == photo_id
    assert all(ord(character) >= 32 and not 127 <= ord(character) < 160 for character in photo_id)
    assert not {"", ".", ".."} & set(photo_id.split("/"))


@pytest.mark.parametrize("version", [1, 1763769600000000, 2**63 - 1])
def test_versions_that_are_accepted(version: int) -> None:
    assert read_with(version=version).version == version


@pytest.mark.parametrize(
    "version", [0, -1, 2**63, 10**40, True, False, 1.0, 1.5, "1", "", None, [1], {}]
)
def test_versions_that_are_refused(version: object) -> None:
    assert refusal_with(version=version).startswith("version: ")


@pytest.mark.parametrize("literal", [b"NaN", b"Infinity", b"1e3", b"1" * 5000])
def test_numbers_that_are_no_version(literal: bytes) -> None:
    assert refusal(b'{"type": "photo.deregister", "photo_id": "a", "version": ' + literal + b"}")


@pytest.mark.parametrize(
    ("generation", "expected"),
    [("1763769600000000", "1763769600000000"), (1763769600000000, "1763769600000000"), ("1", "1")],
)
def test_generations_that_are_accepted(generation: object, expected: str) -> None:
    assert read_with(generation=generation).generation == expected


@pytest.mark.parametrize(
    "generation",
    ["", "0", "01", "-1", "1.0", "x", "1\n", " 1", 0, -5, True, 1.0, 10**19, "1" * 20, str(2**63)],
)
def test_generations_that_are_refused(generation: object) -> None:
    assert refusal_with(generation=generation).startswith("generation: ")


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"k": ""},
        {"x" * 63: "y" * 255},
        {f"key {number}": "v" for number in range(32)},
    ],
)
def test_labels_that_are_accepted(labels: dict[str, str]) -> None:
    assert read_with(labels=labels).labels == labels


@pytest.mark.parametrize(
    "labels",
    [
        {"": "v"},
        {"x" * 64: "v"},
        {"k": "y" * 256},
        {f"key {number}": "v" for number in range(33)},
        {"k": 1},
        {"k": None},
        {"k": {"nested": "v"}},
        ["k"],
        "k",
        None,
    ],
)
def test_labels_that_are_refused(labels: object) -> None:
    assert refusal_with(labels=labels).startswith("labels")


@pytest.mark.parametrize(
    ("original", "parts"),
    [
        ("gs://b/a.jpg", ("b", "a.jpg")),
        ("gs://b/a//b", ("b", "a//b")),
        ("gs://b/" + "x" * 1024, ("b", "x" * 1024)),
        ("gs://b/gs://c/d", ("b", "gs://c/d")),
    ],
)
def test_originals_that_are_accepted(original: str, parts: tuple[str, str]) -> None:
    event = read_with(original=original)
    assert (event.bucket, event.object) == parts


@pytest.mark.parametrize(
    "original",
    [
        "",
        "gs://",
        "gs://b",
        "gs://b/",
        "gs://b/.",
        "gs://b/..",
        "gs:///a.jpg",
        "GS://b/a.jpg",
        "s3://b/a.jpg",
        "https://storage.googleapis.com/b/a.jpg",
        "b/a.jpg",
        "/etc/passwd",
        "gs://b/" + "x" * 1025,
        "gs://b/" + "é" * 513,
        "gs://b/a\nb",
        "gs://b/a\rb",
        7,
        None,
    ],
)
def test_originals_that_are_refused(original: object) -> None:
    assert refusal_with(original=original).startswith("original: ")


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_invalid(data: bytes) -> None:
    try:
        event = read(data)
    except InvalidEvent:
        return
    assert isinstance(event, Register | Deregister)


def test_events_are_frozen() -> None:
    with pytest.raises(ValidationError):
        read_with().version = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, "type: is missing, must be photo.register or photo.deregister"),
        ({"type": "photo.resize"}, "type: is 'photo.resize', must be photo.register or"),
        ({"type": 7}, "type: is a JSON number, must be photo.register or"),
        ([1], "a JSON list, where an object"),
        (None, "a JSON null, where an object"),
        (
            {"message": {"data": "e30=", "messageId": "1"}, "subscription": "projects/p/s"},
            "the body of a push request",
        ),
        (
            {"specversion": "1.0", "type": "google.cloud.storage.object.v1.finalized"},
            "a CloudEvent of type 'google.cloud.storage.object.v1.finalized'",
        ),
        ({"kind": "storage#object", "name": "a.jpg"}, "a Cloud Storage notification without"),
    ],
)
def test_what_is_no_event_is_told_by_what_it_is(found: object, expected: str) -> None:
    assert expected in refusal(json.dumps(found).encode())


def test_a_cloud_event_in_its_binary_form() -> None:
    with pytest.raises(InvalidEvent, match=r"a CloudEvent of type 'x\.y'"):
        parse(b"{}", {"ce-specversion": "1.0", "ce-type": "x.y"}, BUCKETS)
