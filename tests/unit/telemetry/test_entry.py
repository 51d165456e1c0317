"""One line for each entry: short enough, free of secrets, and JSON whatever was logged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.telemetry.entry import LINE_BYTES, json_line, source_location
from worker.telemetry.redaction import REDACTED


def entry_of(fields: dict[str, Any]) -> dict[str, Any]:
    line = json_line(None, "info", {"severity": "INFO", "message": "m", "time": "t", **fields})
    assert "\n" not in line
    assert len(line.encode()) <= LINE_BYTES
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_long_text_is_cut_in_the_middle() -> None:
    found = entry_of({"original": "a" * 300_000 + "z", "photo_id": "p"})
    assert found["photo_id"] == "p"
    assert found["original"].startswith("aaa")
    assert found["original"].endswith("az")
    assert "296001 characters cut" in found["original"]


def test_of_a_text_as_long_as_a_message_only_the_beginning_is_read() -> None:
    found = entry_of({"detail": f"X-Goog-Signature={'S' * 5_000_000}"})
    assert found["detail"] == f"X-Goog-Signature={REDACTED} … 4680017 characters cut"


def test_what_is_short_enough_is_left_as_it_is() -> None:
    text = "ả" * 5000
    assert entry_of({"original": text})["original"] == text


@pytest.mark.parametrize(
    "fields",
    [
        {"original": "ả" * 300_000},
        {"original": "\x00" * 300_000},
        {"many": [f"text {n}" * 20 for n in range(10_000)]},
        {"nested": {"a": {f"key {n}": "v" * 100 for n in range(10_000)}}},
        {"key" * 30_000: 1},
        {f"field_{n}": "v" * 300 for n in range(100)},
    ],
    ids=["wide", "escaped", "list", "nested", "key", "fields"],
)
def test_nothing_makes_a_line_too_long(fields: dict[str, Any]) -> None:
    found = entry_of(fields)
    assert (found["severity"], found["message"], found["time"]) == ("INFO", "m", "t")


def test_more_fields_than_fit_are_counted() -> None:
    found = entry_of({f"field_{n}" * 10: "v" * 300 for n in range(5000)})
    assert found["fields_cut"] == 5000


def test_a_message_too_long_is_cut_too() -> None:
    line = json_line(None, "info", {"severity": "INFO", "message": "x" * 300_000})
    assert len(line) <= LINE_BYTES


def test_a_cut_leaves_no_end_of_a_secret() -> None:
    secret = "S" * 30_000
    found = entry_of({"url": f"https://x/?X-Goog-Signature={secret}", "pad": "p" * 20_000})
    assert "SS" not in json.dumps(found)
    assert found["url"] == f"https://x/?X-Goog-Signature={REDACTED}"


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.sampled_from(
        [
            "sig=",
            'X-Goog-Signature="',
            "-----BEGIN PRIVATE KEY-----\\",
            'authorization: "Bearer ',
            "access_token",
            "bearer \\",
            '"sig": "',
        ]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.dictionaries(st.text().filter(lambda key: key != "message"), VALUES, max_size=6))
def test_whatever_is_logged_a_line_is_one_line_of_json(fields: dict[str, Any]) -> None:
    line = json_line(None, "info", {"message": "m", **fields})
    assert len(line.splitlines()) == 1
    assert json.loads(line)["message"] == "m"
    line.encode()


def test_a_file_is_named_as_below_its_package() -> None:
    here = source_location(json_line.__code__.co_filename, 7, "json_line")
    assert here == {"file": "worker/telemetry/entry.py", "line": "7", "function": "json_line"}
    there = source_location("/v/lib/python3/site-packages/google/x.py", 1, "f")
    assert there["file"] == "google/x.py"
