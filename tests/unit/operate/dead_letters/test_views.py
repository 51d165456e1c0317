"""What people see: groups and letters as text that no letter can turn against a terminal."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from tests.support.letters import BY_PUBSUB, BY_WORKER, DEAD_AT, event, letter
from worker.console.text import plain, to_json
from worker.operate.dead_letters.forecast import Forecast, Replayed
from worker.operate.dead_letters.views import facts_of, groups_text, letter_text
from worker.photo.dead_letter import DeadLetter, Groups
from worker.photo.ports import StoredObject
from worker.render.probe import ProbedPicture


def grouped(*letters: DeadLetter) -> Groups:
    groups = Groups()
    for each in letters:
        groups.add(each)
    return groups


def test_groups_read_well() -> None:
    many = [
        letter(str(n), event(f"hanoi/IMG_{n}"), at=DEAD_AT + timedelta(minutes=n))
        for n in range(1200)
    ]
    other = letter("x", attributes=BY_PUBSUB | {"replay_count": "1"})
    text = groups_text(grouped(*many, other), arrived=2, retention=timedelta(days=7))
    assert (
        text
        == """\
1,201 dead letters; 2 more arrived while these were read
the subscription keeps each for 7 days: the oldest until 2026-11-29 11:00:00Z

1,200  corrupt_original  photo.register  photo-worker/0.1.0
       VipsJpeg: premature end of JPEG image
       2026-11-22 11:00:00Z to 2026-11-23 06:59:00Z
       such as hanoi/IMG_0  message 0
               hanoi/IMG_1  message 1
               hanoi/IMG_2  message 2

    1  undeliverable  photo.register  Pub/Sub
       Pub/Sub gave up after … deliveries of subscription photos
       2026-11-22 11:00:00Z; 1 of them replayed before
       such as a  message x
               Pub/Sub gave up after 10 deliveries of subscription photos

next: photo-worker dead-letters show 0"""
    )


def test_no_groups() -> None:
    held = (
        "letters that another run holds are back within a minute of its end, also if it is killed"
    )
    assert groups_text(Groups(), arrived=0, retention=None) == f"no dead letters\n{held}"
    assert groups_text(Groups(), arrived=1, retention=None) == (
        f"no dead letters; 1 more arrived while these were read\n{held}"
    )


def test_one_is_no_plural() -> None:
    text = groups_text(grouped(letter()), arrived=0, retention=None)
    assert text.startswith("1 dead letter\n")


def test_others_of_a_photo_are_counted() -> None:
    assert "others: 3 dead letters of this photo; this is the newest" in letter_text(
        letter(), {}, others=2
    )
    for none in (0, None):
        assert "others" not in letter_text(letter(), {}, others=none)


HOSTILE = letter(
    "1",
    b'{"type": "[red]", "photo_id": "\\ud800\\u001b[2J\\n[/b]", "labels": {"\\u202e": "x"}}',
    BY_WORKER | {"dead_letter_message": "\x1b]0;title\x07 [/b] and " + "long " * 60, "\x9b": "\r"},
)


def test_nothing_that_a_terminal_obeys_gets_through() -> None:
    texts = [
        groups_text(grouped(HOSTILE), arrived=0, retention=None),
        letter_text(HOSTILE, {"hint": "\x1b[31m"}),
    ]
    for text in texts:
        text.encode()
        assert all(line.isprintable() for line in text.splitlines())
        assert all(len(line) <= 100 for line in texts[0].splitlines())
    assert plain("Hà Nội\t\x1b\ud800") == "Hà Nội\\t\\x1b\\ud800"
    assert json.loads(to_json(HOSTILE.as_dict()).encode())["event"]["photo_id"].startswith("\ud800")


def test_a_letter_and_its_photo() -> None:
    original = StoredObject(
        bucket="originals",
        name="a.jpg",
        generation=17,
        size_bytes=1234,
        crc32c="x",
        created=datetime(2026, 11, 22, tzinfo=UTC),
    )
    forecast = Forecast(
        replayed=Replayed.FAILS_AGAIN,
        why="corrupt_original: half",
        original=original,
        header=ProbedPicture(format="jpeg", width=6, height=4),
    )
    facts = facts_of(forecast)
    assert facts["original"] == {
        "bucket": "originals",
        "object": "a.jpg",
        "generation": "17",
        "bytes": 1234,
        "created": "2026-11-22T00:00:00+00:00",
        "picture": {"format": "jpeg", "width": 6, "height": 4},
    }
    text = letter_text(letter("7"), facts)
    for line in (
        "message: 7",
        "dead since: 2026-11-22 11:00:00Z",
        "reason: corrupt_original",
        "error: VipsJpeg: premature end of JPEG image",
        "  photo_id: a",
        "  dead_letter_worker: photo-worker/0.1.0 host-7:42",
        "    width: 6",
        "manifest: none",
        "  replayed: fails_again",
        "  why: corrupt_original: half",
    ):
        assert line in text.splitlines()


def test_data_that_is_no_event_is_shown_in_part() -> None:
    text = letter_text(letter(data=b"\xff" + b"x" * 5000), {})
    assert "data: \\xffxxx" in text
    assert "(5,001 bytes)" in text
    assert len(text) < 1500
