"""`photo-worker dead-letters` in real processes: nothing is lost, and nothing is done twice."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.pubsub_v1.types import DeadLetterPolicy, PubsubMessage, Subscription

from tests.e2e.stage import Stage
from tests.support.pictures import noisy_jpeg
from tests.support.waiting import eventually

LEASE_SECONDS = 3
SOUND = noisy_jpeg(640, 480)
BROKEN = SOUND[: len(SOUND) // 2]

IMPATIENT = """
import os, signal
from worker.cli.main import main
from worker.photo.dead_letter import Groups
from worker.operate.dead_letters.letterbox import Letterbox
Letterbox.__init__.__kwdefaults__.update(lease_seconds={lease}, quiet_seconds=0.5)
{change}
main()
"""
"""The command, which waits less long for letters that a distant Pub/Sub might still send."""

DIES = "{method} = lambda *_, **__: os.kill(os.getpid(), signal.{signal})"


@dataclass(frozen=True)
class Ran:
    """What a verb came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.out, self.err
        return json.loads(self.out)


class Desk:
    """Dead letters of a stage, and the verbs on them."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.environment = stage.environment | {
            "WORKER_DEAD_LETTER_SUBSCRIPTION": stage.dead_letters
        }

    def run(
        self, *arguments: str, lease: int = 60, change: str = "", stdin: int | None = None
    ) -> Ran:
        """Run a verb of `dead-letters`; `change` is what is different in its process."""
        code = IMPATIENT.format(lease=lease, change=change)
        done = subprocess.run(
            [sys.executable, "-c", code, "dead-letters", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def listed(self, *arguments: str) -> Any:
        ran = self.run("list", "--json", *arguments)
        assert ran.code == 0, ran.err
        return ran.json

    def forecast(self, wanted: str) -> str:
        ran = self.run("show", wanted, "--json")
        assert ran.code == 0, ran.err
        return str(ran.json["forecast"]["replayed"])

    def dies_at(self, method: str, *arguments: str) -> None:
        """Run a verb that is killed when it calls this method."""
        change = DIES.format(method=method, signal="SIGKILL")
        ran = self.run(*arguments, lease=LEASE_SECONDS, change=change)
        assert ran.code == -signal.SIGKILL, ran.err

    def put(self, *events: Mapping[str, Any], **attributes: str) -> list[str]:
        """Dead letters that nobody had to fail for; their message ids."""
        letter = {
            "dead_letter_reason": "corrupt_original",
            "dead_letter_message": "VipsJpeg: premature end of JPEG image",
            "dead_letter_worker": "photo-worker/0.0.9 host:7",
        }
        messages = [
            PubsubMessage(data=json.dumps(event).encode(), attributes=letter | attributes)
            for event in events
        ]
        topic = self.stage.dead_letter_topic
        return list(self.stage.publisher.publish(topic=topic, messages=messages).message_ids)

    def registration(self, photo_id: str, version: int, data: bytes | None) -> dict[str, Any]:
        """An event, and its original if there is one."""
        url = f"gs://{self.stage.originals}/{photo_id}.jpg"
        if data is not None:
            self.stage.upload(f"{photo_id}.jpg", data)
        return {
            "type": "photo.register",
            "photo_id": photo_id,
            "version": version,
            "original": url,
        }

    def wait_for(self, count: int) -> Any:
        """The list, once it has so many letters."""

        def there() -> Any:
            listed = self.listed()
            return listed if listed["total"] == count else None

        return eventually(there, f"{count} dead letters")


@pytest.fixture
def desk(stage: Stage) -> Desk:
    return Desk(stage)


def archived(file: Path) -> set[str]:
    """The message ids of an archive."""
    return {json.loads(line)["message_id"] for line in file.read_text().splitlines()}


def nack_until_dead(stage: Stage, subscription: str, attempts: int) -> None:
    """What a worker that crashes each time comes to."""
    nacked = 0

    def given_up() -> bool:
        nonlocal nacked
        answer = stage.subscriber.pull(
            subscription=subscription, max_messages=1, timeout=10, retry=None
        )
        ack_ids = [each.ack_id for each in answer.received_messages]
        if ack_ids:
            stage.subscriber.modify_ack_deadline(
                subscription=subscription, ack_ids=ack_ids, ack_deadline_seconds=0
            )
            nacked += 1
        # Google's emulator moves it on with the pull behind the last nack, which gets nothing.
        return nacked == attempts and not ack_ids

    eventually(given_up, f"{attempts} nacks")


def test_both_ways_in_are_listed_in_one_form_and_stay(desk: Desk) -> None:
    stage = desk.stage
    worker = stage.worker().wait_until_running()
    by_worker = [stage.register(f"hanoi/{n}", 17, BROKEN, labels={"album": "a"}) for n in (1, 2)]
    for n in (1, 2):
        stage.wait_for(f"hanoi/{n}", "rejected", 17)
    eventually(lambda: len(worker.lines("handled", reason="corrupt_original")) == 2, "both")
    worker.stop()
    fragile = stage.subscription.replace("/photos", "/fragile")
    policy = DeadLetterPolicy(dead_letter_topic=stage.dead_letter_topic, max_delivery_attempts=5)
    stage.subscriber.create_subscription(
        request=Subscription(name=fragile, topic=stage.topic, dead_letter_policy=policy)
    )
    stage.publish(desk.registration("hue/1", 17, SOUND), tenant="blue")
    nack_until_dead(stage, fragile, 5)

    listed = desk.wait_for(3)
    assert desk.listed() == listed
    worker_group, policy_group = listed["groups"]
    assert (worker_group["reason"], worker_group["type"]) == ("corrupt_original", "photo.register")
    assert worker_group["worker"].startswith("photo-worker/")
    assert {each["photo_id"] for each in worker_group["examples"]} == {"hanoi/1", "hanoi/2"}
    assert (policy_group["reason"], policy_group["worker"]) == ("undeliverable", "Pub/Sub")
    assert "fragile" in policy_group["error"]
    assert desk.listed("--reason", "undeliverable")["total"] == 1
    assert desk.listed("--photo-id", "hanoi/*", "--label", "album=a")["total"] == 2
    assert desk.listed("--newer-than", "1h", "--message", "GAVE UP")["total"] == 1
    assert desk.listed("--older-than", "1h")["total"] == 0
    text = desk.run("list").out
    assert text.startswith("3 dead letters\n")
    assert "2  corrupt_original  photo.register  photo-worker/" in text
    assert all(len(line) <= 100 for line in text.splitlines())

    there = stage.pull(stage.dead_letters, 3)
    assert {json.loads(each.data)["photo_id"] for each in there} == {"hanoi/1", "hanoi/2", "hue/1"}
    assert {each.attributes["tenant"] for each in there if "tenant" in each.attributes} == {"blue"}
    assert not {each.message_id for each in there} & set(by_worker)


def test_a_list_that_is_killed_loses_nothing(desk: Desk) -> None:
    ids = desk.put(*(desk.registration(f"p{n}", 17, None) for n in range(5)))
    desk.dies_at("Groups.add", "list")
    assert {m.message_id for m in desk.stage.pull(desk.stage.dead_letters, 5)} == set(ids)


def test_what_a_replay_would_do_is_foretold(desk: Desk) -> None:
    stage = desk.stage
    worker = stage.worker().wait_until_running()
    stage.register("current", 17, SOUND)
    stage.register("newer", 18, SOUND)
    stage.wait_for("current", "ready", 17)
    stage.wait_for("newer", "ready", 18)
    worker.stop()
    desk.put(
        desk.registration("repaired", 17, SOUND),
        desk.registration("broken", 17, BROKEN),
        desk.registration("gone", 17, None),
        desk.registration("current", 17, None),
        desk.registration("newer", 17, None),
    )
    desk.put(desk.registration("crashed", 17, SOUND), dead_letter_reason="render_crashed")
    (ill,) = desk.put({"type": "photo.register"})
    foretold = {
        "repaired": "applies",
        "broken": "fails_again",
        "gone": "fails_again",
        ill: "fails_again",
        "current": "already_current",
        "newer": "superseded",
        "crashed": "uncertain",
    }
    shown = {wanted: desk.run("show", wanted, "--json").json for wanted in foretold}
    assert {wanted: one["forecast"]["replayed"] for wanted, one in shown.items()} == foretold
    broken = shown["broken"]
    assert broken["original"]["bytes"] == len(BROKEN)
    assert broken["event"]["photo_id"] == "broken"
    assert broken["attributes"]["dead_letter_worker"] == broken["worker"]
    assert broken["manifest"] is None
    picture = shown["repaired"]["original"]["picture"]
    assert picture == {"format": "jpeg", "width": 640, "height": 480}
    assert shown["current"]["manifest"]["state"] == "ready"
    assert "replayed: fails_again" in desk.run("show", "broken").out
    missing = desk.run("show", "nothing")
    assert (missing.code, missing.out) == (2, "")
    assert "no dead letter among 7 has the message id or photo id 'nothing'" in missing.err
    assert desk.listed()["total"] == 7


def test_why_fix_try_one_replay_the_rest(desk: Desk) -> None:
    stage = desk.stage
    worker = stage.worker().wait_until_running()
    photos = [f"album/{n}" for n in range(4)]
    for photo_id in photos:
        stage.register(photo_id, 17, BROKEN)
    for photo_id in photos:
        stage.wait_for(photo_id, "rejected", 17)
    desk.wait_for(4)
    assert desk.forecast(photos[0]) == "fails_again"

    stopped = desk.run("replay", "--canary", "1", "--json")
    assert stopped.code == 7, stopped.err
    report = stopped.json
    assert (report["replayed"], report["stopped_by_canary"]) == (1, True)
    assert report["canary"][0]["why"].startswith("corrupt_original: ")
    groups = desk.wait_for(4)["groups"]
    assert sum(group["replayed"] for group in groups) == 1

    for photo_id in photos:
        stage.upload(f"{photo_id}.jpg", SOUND)
    assert desk.forecast(photos[0]) == "applies"
    tried = desk.run("replay", "--canary", "2", "--limit", "2")
    assert tried.code == 0, tried.err
    assert tried.out.count("canary ok: album/") == 2
    assert desk.listed()["total"] == 2
    assert desk.run("replay").code == 0
    for photo_id in photos:
        manifest = stage.wait_for(photo_id, "ready", 17)
        assert manifest["rejection"] is None
        stage.assert_ready_is_true(manifest)
    assert desk.listed()["total"] == 0
    eventually(lambda: len(worker.lines("handled", outcome="registered")) == 4, "each once")


def test_what_fails_again_is_not_replayed_again_in_the_same_run(desk: Desk) -> None:
    stage = desk.stage
    worker = stage.worker().wait_until_running()
    desk.put(*(desk.registration(f"p{n}", 17, BROKEN) for n in range(3)))
    ran = desk.run("replay", "--rate", "1", "--json")
    assert (ran.code, ran.json["replayed"], ran.json["complete"]) == (0, 3, True)
    eventually(lambda: len(worker.lines("handled", reason="corrupt_original")) == 3, "they fail")
    groups = desk.wait_for(3)["groups"]
    assert [group["replayed"] for group in groups] == [3]
    assert desk.run("replay", "--max-replays", "1", "--json").json["looping"] == 3
    there = stage.pull(stage.dead_letters, 3)
    assert {each.attributes["replay_count"] for each in there} == {"1"}


def test_killed_between_publish_and_ack_a_replay_loses_nothing(desk: Desk) -> None:
    stage = desk.stage
    events = [desk.registration(f"p{n}", 17, None) for n in range(3)]
    desk.put(*events)
    desk.dies_at("Letterbox.ack", "replay")
    replayed = stage.pull(stage.subscription, 3)
    assert sorted(json.loads(m.data)["photo_id"] for m in replayed) == ["p0", "p1", "p2"]
    # Its leases run out, and the next run does it all again.
    eventually(lambda: desk.listed()["total"] == 3, "the letters are there again")
    assert desk.run("replay", "--json").json["replayed"] == 3
    assert len(stage.pull(stage.subscription, 3)) == 3
    assert desk.listed()["total"] == 0


def test_a_replay_keeps_data_attributes_and_ordering_key(desk: Desk) -> None:
    stage = desk.stage
    event = desk.registration("p", 17, None) | {"unknown": "é"}
    letter = PubsubMessage(
        data=json.dumps(event).encode(),
        attributes={"tenant": "blue", "dead_letter_reason": "x", "googclient_y": "z"},
        ordering_key="p",
    )
    published = stage.publisher.publish(topic=stage.dead_letter_topic, messages=[letter])
    dry = desk.run("replay", "--dry-run", "--json").json
    assert (dry["matched"], dry["replayed"]) == (1, 0)
    assert desk.run("replay").out.splitlines() == ["replayed 1 of 1 dead letter looked at"]
    (message,) = stage.pull(stage.subscription, 1)
    assert (message.data, message.ordering_key) == (letter.data, "p")
    assert dict(message.attributes) == {
        "tenant": "blue",
        "replay_of": published.message_ids[0],
        "replay_count": "1",
    }


def test_a_purge_asks_archives_and_can_be_undone(desk: Desk, tmp_path: Path) -> None:
    stage, archive = desk.stage, tmp_path / "dead.jsonl"
    ids = desk.put(*(desk.registration(f"p{n}", 17, None) for n in range(3)))
    arguments = ("purge", "--archive", str(archive))
    refused = desk.run(*arguments)
    assert (refused.code, archive.exists()) == (2, False)
    assert "--yes" in refused.err
    terminal, stdin = pty.openpty()
    os.write(terminal, b"n\n")
    declined = desk.run(*arguments, stdin=stdin)
    assert "Delete 3 dead letters, to be kept in " in declined.err
    assert (declined.out, archive.exists()) == ("nothing was purged\n", False)
    assert desk.listed()["total"] == 3
    os.write(terminal, b"y\n")
    assert desk.run(*arguments, stdin=stdin).out == f"purged 3, archived in {archive}\n"
    for end in (terminal, stdin):
        os.close(end)
    assert desk.listed()["total"] == 0
    assert archived(archive) == set(ids)
    again = desk.run(*arguments, "--yes")
    assert (again.code, "exists already" in again.err) == (2, True)

    back = desk.run("replay", "--from", str(archive), "--photo-id", "p[01]", "--json")
    assert (back.json["seen"], back.json["replayed"]) == (3, 2)
    replayed = stage.pull(stage.subscription, 2)
    assert {message.attributes["replay_of"] for message in replayed} == set(ids[:2])


def test_a_purge_takes_only_what_is_meant(desk: Desk, tmp_path: Path) -> None:
    desk.put(desk.registration("keep", 17, None))
    desk.put(desk.registration("drop", 17, None), dead_letter_reason="original_missing")
    archive = tmp_path / "dead.jsonl"
    options = ("--reason", "original_missing", "--archive", str(archive), "--yes", "--json")
    assert desk.run("purge", *options).json == {"purged": 1, "archive": str(archive)}
    assert desk.listed()["groups"][0]["examples"][0]["photo_id"] == "keep"
    archive.unlink()
    assert desk.run("purge", *options).json == {"purged": 0, "archive": None}
    assert not archive.exists()


def test_a_purge_that_is_killed_before_its_ack_loses_nothing(desk: Desk, tmp_path: Path) -> None:
    ids = desk.put(*(desk.registration(f"p{n}", 17, None) for n in range(3)))
    archive = tmp_path / "dead.jsonl"
    desk.dies_at("Letterbox.ack", "purge", "--yes", "--archive", str(archive))
    assert archived(archive) == set(ids)
    assert {m.message_id for m in desk.stage.pull(desk.stage.dead_letters, 3)} == set(ids)


@pytest.mark.parametrize(
    "before", ["default_int_handler", "SIG_IGN"], ids=["foreground", "background"]
)
def test_an_interrupted_list_gives_back_at_once(desk: Desk, before: str) -> None:
    desk.put(*(desk.registration(f"p{n}", 17, None) for n in range(3)))
    # A shell without job control starts a background command with SIGINT turned off.
    change = f"signal.signal(signal.SIGINT, signal.{before})\n"
    change += DIES.format(method="Groups.add", signal="SIGINT")
    assert desk.run("list", change=change).code == 130
    assert desk.listed()["total"] == 3


def test_wrong_settings_say_what_to_do(desk: Desk, tmp_path: Path) -> None:
    unset = Desk(desk.stage)
    unset.environment = {
        name: value for name, value in desk.environment.items() if "WORKER_" not in name
    }
    for verb, missing in (
        (("list",), "WORKER_DEAD_LETTER_SUBSCRIPTION is not set"),
        (("replay",), "WORKER_TOPIC is not set"),
        (("replay", "--canary", "1"), "WORKER_RENDITIONS_BUCKET is not set"),
    ):
        ran = unset.run(*verb)
        assert (ran.code, missing in ran.err) == (3, True), ran.err
    elsewhere = ("--dead-letter-subscription", "projects/p/subscriptions/nowhere")
    for arguments in (
        *(("list", *elsewhere), ("show", "x", *elsewhere), ("purge", "--yes", *elsewhere)),
        *(("replay", *elsewhere), ("replay", "--topic", "projects/p/topics/nowhere")),
    ):
        ran = desk.run(*arguments)
        assert (ran.code, "nowhere" in ran.err) == (4, True), ran.err
    with_policy = desk.run("list", "--dead-letter-subscription", desk.stage.subscription)
    assert with_policy.code == 3
    assert "dead-letter policy" in with_policy.err
    for wrong in (["list", "--newer-than", "soon"], ["list", "--label", "album"], ["show"]):
        assert desk.run(*wrong).code == 2
    (tmp_path / "no.jsonl").write_text("{}\n")
    ran = desk.run("replay", "--from", str(tmp_path / "no.jsonl"))
    assert (ran.code, "line 1" in ran.err) == (2, True)
    assert ran.out == ""
    empty = desk.run("list")
    assert (empty.code, empty.out.splitlines()[0]) == (0, "no dead letters")
