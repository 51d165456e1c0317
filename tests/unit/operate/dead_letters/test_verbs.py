"""The verbs over a subscription in memory: what is asked, printed and refused."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.fakes import Clock, recording_log
from tests.support.letters import DEAD_AT, FakeSubscription, event, letter
from worker.errors import InvalidArchive, UsageFault
from worker.operate.dead_letters import verbs as dead_letter_verbs
from worker.operate.dead_letters.archive import ArchiveWriter
from worker.operate.dead_letters.letterbox import Letterbox
from worker.operate.dead_letters.verbs import Desk, ReplayOptions
from worker.photo.dead_letter import DeadLetter, Filter
from worker.settings.settings import Settings

OPTIONS = ReplayOptions(
    archive=None,
    limit=None,
    rate=None,
    canary=0,
    canary_seconds=300,
    max_replays=3,
    dry_run=False,
)


class NoPublisher:
    """A publisher that has nothing to publish."""

    def __init__(self, *_: object) -> None:
        """Open nothing."""

    def check_topic(self, topic: str) -> None:
        """It is there."""

    def close(self) -> None:
        """Nothing was opened."""


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSubscription:
    fake = FakeSubscription()
    monkeypatch.setattr(dead_letter_verbs, "PubSubPublisher", NoPublisher)
    monkeypatch.setattr(dead_letter_verbs, "configure_logs", lambda *_: recording_log()[0])
    monkeypatch.setattr(
        Desk, "_letterbox", lambda desk: desk._stack.enter_context(letterbox(desk, fake))
    )
    return fake


def letterbox(desk: Desk, fake: FakeSubscription) -> Letterbox:
    return Letterbox(fake.client, "s", desk._log, clock=Clock(), monotonic=fake.monotonic)


@pytest.fixture
def desk(fake: FakeSubscription) -> Iterator[Desk]:  # noqa: ARG001 (its patches come first)
    with Desk(Settings.load({}, {}), as_json=True) as desk:
        yield desk


def of_photo(*ids: str) -> list[DeadLetter]:
    """Of one photo, each older than the one before; the last is of another."""
    letters = [letter(each, at=DEAD_AT - timedelta(minutes=age)) for age, each in enumerate(ids)]
    return [*letters, letter("other", event("b"))]


def shown(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("wanted", "message_id", "others"),
    [("a", "1", 2), ("b", "other", 0), ("2", "2", None)],
    ids=["several", "one", "by message id"],
)
def test_of_several_of_a_photo_the_newest_is_shown(
    desk: Desk,
    fake: FakeSubscription,
    capsys: pytest.CaptureFixture[str],
    wanted: str,
    message_id: str,
    others: int | None,
) -> None:
    one, two, three, other = of_photo("1", "2", "3")
    fake.pulls = [[three, one], [other, two]]
    desk.show(wanted)
    found = shown(capsys)
    assert (found["message_id"], found["others"]) == (message_id, others)


@pytest.mark.parametrize("number", [math.inf, math.nan])
def test_no_number_is_refused(desk: Desk, number: float) -> None:
    for options in (replace(OPTIONS, rate=number), replace(OPTIONS, canary_seconds=number)):
        with pytest.raises(UsageFault, match="must be a finite number"):
            desk.replay(Filter(), options)


@pytest.mark.parametrize("text", [None, "garbage\n"], ids=["missing", "garbage"])
def test_of_no_archive_there_is_no_report(
    desk: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str | None
) -> None:
    archive = tmp_path / "dead.jsonl"
    if text:
        archive.write_text(text)
    with pytest.raises(InvalidArchive if text else UsageFault):
        desk.replay(Filter(), replace(OPTIONS, archive=archive))
    assert capsys.readouterr().out == ""


def test_nobody_can_be_asked_where_standard_input_is_closed(
    desk: Desk, fake: FakeSubscription, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageFault, match="give --yes"):
        desk.purge(Filter(), tmp_path / "dead.jsonl", lambda _: True)
    assert fake.asked == []


def test_what_cannot_be_archived_is_kept(
    desk: Desk, fake: FakeSubscription, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(_: object) -> None:
        raise UsageFault("No space left on device")

    fake.pulls = [of_photo("1")]
    monkeypatch.setattr(ArchiveWriter, "sync", full)
    with pytest.raises(UsageFault, match="No space left"):
        desk.purge(Filter(), tmp_path / "dead.jsonl", None)
    assert (len(fake.deadlines), fake.acked) == (2, [])
    assert not (tmp_path / "dead.jsonl").exists()
