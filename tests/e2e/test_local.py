"""`photo-worker local` as its user runs it: on the embedded broker, with nothing but Python."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conversions import AS_ANYBODY
from tests.support.pictures import corners_jpeg, webp_size
from tests.support.waiting import eventually


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "my photos"
    (folder / "trip").mkdir(parents=True)
    (folder / "one.jpg").write_bytes(corners_jpeg(900, 600))
    (folder / "trip" / "two.jpg").write_bytes(corners_jpeg(600, 900, 6))
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def bare_environment(tmp_path: Path) -> dict[str, str]:
    """No Java, no Docker, no Google Cloud CLI, no emulator in sight."""
    empty = tmp_path / "bin"
    empty.mkdir()
    hidden = ("PUBSUB_EMULATOR_HOST", "STORAGE_EMULATOR_HOST", "JAVA_HOME", "DOCKER_HOST")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in hidden and not name.startswith(("WORKER_", "CLOUDSDK_"))
    }
    return kept | {"PATH": str(empty), "TMPDIR": str(tmp_path)}


def run_local(
    environment: dict[str, str], *arguments: str, as_anybody: bool = False
) -> subprocess.CompletedProcess[str]:
    before = [sys.executable, "-c", AS_ANYBODY] if as_anybody else []
    return subprocess.run(
        [*before, sys.executable, "-m", "worker", "local", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_bare_machine_shows_a_table_and_ends_with_0(
    photos: Path, bare_environment: dict[str, str]
) -> None:
    assert shutil.which("java", path=bare_environment["PATH"]) is None
    ended = run_local(bare_environment, str(photos), "--exit-when-idle")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "embedded broker" in ended.stdout
    assert "one.jpg" in ended.stdout
    assert "trip/two.jpg" in ended.stdout
    assert "2 ready, 0 rejected" in ended.stdout
    assert not list(Path(bare_environment["TMPDIR"]).glob("photo-worker-*"))


def test_a_photo_that_failed_makes_it_7(photos: Path, bare_environment: dict[str, str]) -> None:
    whole = (photos / "one.jpg").read_bytes()
    (photos / "half.jpg").write_bytes(whole[: len(whole) // 2])
    ended = run_local(bare_environment, str(photos), "--exit-when-idle", "--json")
    assert ended.returncode == 7, ended.stdout + ended.stderr
    shown = {each["photo_id"]: each for each in json.loads(ended.stdout)["photos"]}
    assert shown["half.jpg"]["status"] == "rejected"
    assert shown["half.jpg"]["reason"] == "corrupt_original"
    assert shown["one.jpg"]["status"] == "ready"
    assert shown["one.jpg"]["bytes_out"] > 0
    assert (shown["trip/two.jpg"]["width"], shown["trip/two.jpg"]["height"]) == (600, 900)
    assert shown["trip/two.jpg"]["rungs"] == ["320", "512", "768", "full"]


@pytest.fixture
def unreadable(photos: Path) -> Iterator[Path]:
    """With a file and a folder that may not be read, and a broken link."""
    (photos / "secret.jpg").write_bytes(b"")
    (photos / "secret.jpg").chmod(0)
    (photos / "locked").mkdir()
    (photos / "locked" / "inside.jpg").write_bytes(b"")
    (photos / "locked").chmod(0)
    (photos / "broken.jpg").symlink_to("nowhere")
    yield photos
    (photos / "locked").chmod(0o700)


def test_what_cannot_be_read_is_told_and_the_others_go_on(
    unreadable: Path, bare_environment: dict[str, str]
) -> None:
    ended = run_local(
        bare_environment, str(unreadable), "--exit-when-idle", "--json", as_anybody=True
    )
    assert ended.returncode == 7, ended.stdout + ended.stderr
    shown = {each["photo_id"]: each for each in json.loads(ended.stdout)["photos"]}
    assert {name: each["reason"] for name, each in shown.items()} == {
        "one.jpg": None,
        "trip/two.jpg": None,
        "secret.jpg": "unreadable",
        "locked": "unreadable",
        "broken.jpg": "unreadable",
    }
    assert shown["secret.jpg"]["message"] == "cannot be read: Permission denied"
    assert shown["one.jpg"]["status"] == shown["trip/two.jpg"]["status"] == "ready"


def test_register_tells_what_cannot_be_read_and_publishes_the_others(
    session: Session, unreadable: Path, bare_environment: dict[str, str]
) -> None:
    command = [sys.executable, "-m", "worker", "register", str(unreadable), "--json"]
    ended = subprocess.run(
        [sys.executable, "-c", AS_ANYBODY, *command],
        env=session.exported(bare_environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 7, ended.stderr
    assert [each["photo_id"] for each in json.loads(ended.stdout)] == ["one.jpg", "trip/two.jpg"]
    for name in ("secret.jpg", "locked"):
        assert f"{unreadable / name} cannot be read: Permission denied" in ended.stderr
    assert f"{unreadable / 'broken.jpg'} cannot be read: No such file" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_photo_that_is_not_there_is_a_usage_fault(bare_environment: dict[str, str]) -> None:
    ended = run_local(bare_environment, "/no/such/photo.jpg", "--exit-when-idle")
    assert ended.returncode == 2
    assert "/no/such/photo.jpg" in ended.stderr


def test_an_unknown_broker_is_a_usage_fault(photos: Path, bare_environment: dict[str, str]) -> None:
    ended = run_local(bare_environment, str(photos), "--broker", "kafka")
    assert ended.returncode == 2
    assert "embedded" in ended.stderr


class Session:
    """A session that stays up until it is told to stop."""

    def __init__(self, environment: dict[str, str], photos: Path, log: Path) -> None:
        self._log = log
        with log.open("wb") as file:
            self.running = subprocess.Popen(
                [sys.executable, "-m", "worker", "local", str(photos), "--broker", "embedded"],
                env=environment,
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def text(self) -> str:
        return self._log.read_text()

    def line(self, label: str) -> str:
        """What stands behind a label in the output."""
        found = [line for line in self.text().splitlines() if line.startswith(label)]
        return found[0].removeprefix(label).strip() if found else ""

    def exported(self, environment: dict[str, str]) -> dict[str, str]:
        """An environment as it is once the session's `env` was sourced."""
        source = Path(self.text().split("source ")[1].split()[0])
        exports = dict(
            line.removeprefix("export ").split("=", 1) for line in source.read_text().splitlines()
        )
        return environment | {name: value.strip("'") for name, value in exports.items()}

    def snapshot(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.line('gallery ')}photos.json", timeout=10) as answer:
            snapshot: dict[str, Any] = json.load(answer)
            return snapshot


@pytest.fixture
def session(photos: Path, bare_environment: dict[str, str], tmp_path: Path) -> Iterator[Session]:
    session = Session(bare_environment, photos, tmp_path / "local.log")
    try:
        eventually(lambda: "Ctrl-C" in session.text(), "the session is idle")
        yield session
    finally:
        if session.running.poll() is None:
            session.running.terminate()
            session.running.wait(60)


def test_the_gallery_serves_what_the_manifests_name(session: Session) -> None:
    snapshot = session.snapshot()
    assert snapshot["done"] is True
    assert {photo["photo_id"] for photo in snapshot["photos"]} == {"one.jpg", "trip/two.jpg"}
    eventually(
        lambda: all(photo["render_seconds"] for photo in session.snapshot()["photos"]),
        "the worker's log tells of each render",
    )
    for photo in session.snapshot()["photos"]:
        assert 0 < photo["render_seconds"] < photo["seconds"]
        for rendition in photo["manifest"]["renditions"]:
            url = f"{session.line('gallery ')}objects/{rendition['object']}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                assert webp_size(answer.read()) == (rendition["width"], rendition["height"])


def test_other_verbs_work_beside_a_session(
    session: Session, bare_environment: dict[str, str], tmp_path: Path
) -> None:
    environment = session.exported(bare_environment)
    (tmp_path / "three.jpg").write_bytes(corners_jpeg(500, 500))

    def verb(*arguments: str) -> Any:
        ended = subprocess.run(
            [sys.executable, "-m", "worker", *arguments, "--json"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    def status(photo_id: str) -> str:
        photos = {each["photo_id"]: each["status"] for each in session.snapshot()["photos"]}
        return str(photos.get(photo_id))

    (published,) = verb("register", str(tmp_path / "three.jpg"), "--label", "album=x")
    assert published["photo_id"] == "three.jpg"
    eventually(lambda: status("three.jpg") == "ready", "it is ready")
    verb("deregister", "three.jpg")
    eventually(lambda: status("three.jpg") == "deregistered", "it is deregistered")
    planned = verb("plan")
    assert planned["render_slots"] >= 1
    assert planned["resources"] == "checked"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopping_leaves_nothing_behind(session: Session, number: int, tmp_path: Path) -> None:
    children = _descendants(session.running.pid)
    assert len(children) >= 3
    session.running.send_signal(number)
    assert session.running.wait(30) == 0, session.text()
    eventually(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in children),
        "every process that it started has ended",
        seconds=10,
    )
    assert "Traceback" not in session.text()
    assert list(tmp_path.glob("photo-worker-*")) == []


def test_a_closed_terminal_ends_the_session(
    photos: Path, bare_environment: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "terminal.log"
    command = [sys.executable, "-m", "worker", "local", str(photos), "--broker", "embedded"]
    with log.open("wb") as file:
        terminal = subprocess.Popen(
            [sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])", *command],
            env=bare_environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            start_new_session=True,
        )
    try:
        eventually(lambda: "Ctrl-C" in log.read_text(), "the session is idle")
        children = _descendants(terminal.pid)
    finally:
        terminal.kill()
        terminal.wait()
    assert len(children) >= 5
    eventually(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in children),
        "every process that it started has ended",
    )
    assert list(tmp_path.glob("photo-worker-*")) == []


def test_servers_and_worker_end_with_a_session_that_was_killed(session: Session) -> None:
    children = _descendants(session.running.pid)
    assert len(children) >= 5
    session.running.kill()
    session.running.wait()
    eventually(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in children),
        "nothing outlives the session",
    )


def test_the_next_session_removes_the_folder_of_one_that_was_killed(
    session: Session, photos: Path, bare_environment: dict[str, str], tmp_path: Path
) -> None:
    (left,) = tmp_path.glob("photo-worker-local-*")
    beside = run_local(bare_environment, str(photos), "--exit-when-idle")
    assert beside.returncode == 0, beside.stderr
    assert left.exists(), "a session that runs keeps its folder"
    session.running.kill()
    session.running.wait()
    assert left.exists()
    after = run_local(bare_environment, str(photos), "--exit-when-idle")
    assert after.returncode == 0, after.stderr
    assert list(tmp_path.glob("photo-worker-*")) == []


def _descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *_descendants(int(child))]
    return found
