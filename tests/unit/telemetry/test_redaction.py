"""Redaction: secrets by their form, in texts and in JSON; the rest stays."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.telemetry.redaction import REDACTED, redact

KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQ5ecret\n5ecret==\n-----END PRIVATE KEY-----"

SECRETS = [
    "https://storage.googleapis.com/b/o?X-Goog-Algorithm=GOOG4&X-Goog-Signature=5ecret",
    "https://x/o?x-goog-credential=5ecret%40p.iam%2F20261122&X-Goog-Date=1",
    "https://x/o?GoogleAccessId=5ecret@p.iam.gserviceaccount.com&Expires=1&Signature=5ecret%2B%2F",
    "https://x/upload?uploadType=resumable&upload_id=5ecret-_x",
    "https://x/?access_token=5ecret",
    "https://x.blob/?sv=1&sig=5ecret%3D",
    "next=https%3A%2F%2Fx%3FSignature%3D5ecret",
    "{'Authorization': 'Bearer 5ecret.x-y'}",
    "authorization: Basic NWVjcmV05ecret==",
    "Authorization=5ecret",
    "curl -H 'authorization: bearer 5ecret'",
    'client_secret: {"client_secret": "5ecret"}',
    "got ya29.a0AfH6-5ecret_x.y from",
    "refreshed by 1//0gA5ecret5ecret5ecret5ecret",
    "Token eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiI1ZWNyZXQ5ecret.5ecret-_",
    KEY,
    KEY.replace("PRIVATE", "RSA PRIVATE"),
    KEY.partition("-----END")[0],
    json.dumps({"private_key": KEY}),
    json.dumps({"said": json.dumps({"private_key": KEY, "access_token": "5ecret"})}),
]


@pytest.mark.parametrize("text", SECRETS, ids=range(len(SECRETS)))
def test_a_secret_is_taken_out(text: str) -> None:
    assert "5ecret" not in redact(text)
    assert REDACTED in redact(text)
    as_json = redact(json.dumps({"before": "b", "text": text, "behind": ["c"]}))
    assert "5ecret" not in as_json
    found = json.loads(as_json)
    assert (found["before"], found["behind"]) == ("b", ["c"])


@pytest.mark.parametrize(
    "text",
    [
        "hanoi-2026/IMG_0042.jpg",
        "config=5 design=x sigma=1 msig=2",
        "signature of a JPEG is missing",
        "the bearer, of news",
        "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----",
        '{"sig": null, "signature": 5, "seconds": {"total": 1.5}}',
        "https://x/?generation=17&X-Goog-Date=20261122",
        "ảnh đẹp",
    ],
)
def test_all_else_stays(text: str) -> None:
    assert redact(text) == text


def test_what_stands_beside_a_secret_stays() -> None:
    assert redact("a?sig=5ecret&b=2 'upload_id=5ecret' c") == (
        f"a?sig={REDACTED}&b=2 'upload_id={REDACTED}' c"
    )


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "unit",
    [
        "eyJ-",
        "1//0-",
        "ya29.",
        "authorization: ",
        "bearer ",
        'sig\\"  ',
        "-----BEGIN PRIVATE KEY-----",
    ],
    ids=range(7),
)
def test_no_text_holds_the_interpreter_up(unit: str) -> None:
    # Whose time grew with the square of this would take many minutes.
    text = unit * (600_000 // len(unit))
    assert redact(redact(text)) == redact(text)


@settings(deadline=None)
@given(st.lists(st.sampled_from([*SECRETS, '"', "\\", "\n", "x", "sig=", "bearer "]) | st.text()))
def test_json_stays_json(texts: list[str]) -> None:
    found = json.loads(redact(json.dumps({"a": texts, "b": "".join(texts), "c": 1})))
    assert found["c"] == 1
    assert len(found["a"]) == len(texts)
