"""Whatever a message holds, parsing it ends in an event or in InvalidEvent."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from worker.errors import ForbiddenSource, InvalidEvent
from worker.photo.events import Buckets, Deregister, Ignored, Register, parse
from worker.photo.layout import Layout

LAYOUT = Layout("photos/")
BUCKETS = Buckets(originals=frozenset({"17", "renditions"}), renditions="renditions", layout=LAYOUT)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)

nearly_events = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["photo.register", "photo.deregister", "photo"]) | json_values,
        "photo_id": st.text() | st.sampled_from(["a/b", "a//b", "..", "/a", "ü"]) | json_values,
        "version": st.integers() | json_values,
        "original": st.sampled_from(["gs://b/o", "gs://b/", "s3://b/o"]) | st.text() | json_values,
        "generation": st.integers().map(str) | json_values,
        "labels": st.dictionaries(st.text(), st.text()) | json_values,
    },
)


def parsed(data: bytes, attributes: dict[str, str]) -> Register | Deregister | Ignored | None:
    try:
        return parse(data, attributes, BUCKETS)
    except (InvalidEvent, ForbiddenSource) as error:
        assert str(error)
        return None


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes(data: bytes) -> None:
    assert parsed(data, {}) is None


@given(nearly_events)
def test_anything_that_looks_like_an_event(fields: dict[str, Any]) -> None:
    event = parsed(json.dumps(fields).encode(), {})
    if event is not None:
        assert not isinstance(event, Ignored)
        assert (event.photo_id, event.version) == (fields["photo_id"], fields["version"])
        assert 0 < event.version < 2**63
        name = LAYOUT.rendition(event.photo_id, event.version, "0123456789ab", "320")
        assert LAYOUT.own_version(event.photo_id, name) == event.version


@given(
    st.dictionaries(
        st.sampled_from(
            ["eventType", "bucketId", "objectId", "objectGeneration", "overwrittenByGeneration"]
        ),
        st.text()
        | st.sampled_from(
            ["OBJECT_FINALIZE", "OBJECT_DELETE", "OBJECT_ARCHIVE", "renditions", "17"]
        ),
    )
)
def test_any_attributes(attributes: dict[str, str]) -> None:
    event = parsed(b"", attributes)
    if isinstance(event, Register):
        own = attributes.get("bucketId") == "renditions" and event.object.startswith("photos/")
        assert not own
