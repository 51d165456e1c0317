"""The verbs over a subscription in memory: what is asked, printed and refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.fakes import Clock, recording_log
from tests.support.letters import DEAD_AT, FakeSubscription, event, letter
from worker.errors import InvalidArchive, UsageFault
from worker.operate.dead_letters import verbs
from worker.operate.dead_letters.archive import ArchiveWriter
from worker.operate.dead_letters.letterbox import Letterbox
from worker.operate.dead_letters.verbs import ReplayOptions, run_purge, run_replay, run_show
from worker.photo.dead_letter import DeadLetter, Filter
from worker.settings.settings import Settings

SETTINGS = Settings.load({}, {})
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
    """A publisher that must not be called."""

    publish_all = staticmethod(pytest.fail)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSubscription:
    fake = FakeSubscription()

    @contextmanager
    def opened(*_: object) -> Iterator[Letterbox]:
        log = recording_log()[0]
        with Letterbox(fake.client, "s", log, clock=Clock(), monotonic=fake.monotonic) as opened:
            yield opened

    monkeypatch.setattr(verbs, "_letterbox", opened)
    monkeypatch.setattr(verbs, "open_publisher", lambda *_: NoPublisher())
    monkeypatch.setattr(verbs, "configure_logs", lambda *_: recording_log()[0])
    return fake


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
    fake: FakeSubscription,
    capsys: pytest.CaptureFixture[str],
    wanted: str,
    message_id: str,
    others: int | None,
) -> None:
    one, two, three, other = of_photo("1", "2", "3")
    fake.pulls = [[three, one], [other, two]]
    run_show(SETTINGS, wanted, as_json=True)
    found = shown(capsys)
    assert (found["message_id"], found["others"]) == (message_id, others)


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("text", [None, "garbage\n"], ids=["missing", "garbage"])
def test_of_no_archive_there_is_no_report(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str | None
) -> None:
    archive = tmp_path / "dead.jsonl"
    if text:
        archive.write_text(text)
    with pytest.raises(InvalidArchive if text else UsageFault):
        run_replay(SETTINGS, Filter(), replace(OPTIONS, archive=archive), as_json=True)
    assert capsys.readouterr().out == ""


def test_nobody_can_be_asked_where_standard_input_is_closed(
    fake: FakeSubscription, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageFault, match="give --yes"):
        run_purge(SETTINGS, Filter(), tmp_path / "dead.jsonl", ask=True, as_json=True)
    assert fake.asked == []


def test_what_cannot_be_archived_is_kept(
    fake: FakeSubscription, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(_: object) -> None:
        raise UsageFault("No space left on device")

    fake.pulls = [of_photo("1")]
    monkeypatch.setattr(ArchiveWriter, "sync", full)
    with pytest.raises(UsageFault, match="No space left"):
        run_purge(SETTINGS, Filter(), tmp_path / "dead.jsonl", ask=False, as_json=True)
    assert ([seconds for _, seconds in fake.deadlines], fake.acked) == ([60, 60, 0, 0], [])
    assert not (tmp_path / "dead.jsonl").exists()
