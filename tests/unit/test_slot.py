"""One child and its pipes: what it knows, what it answers, and how its end is told."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.small_pictures import corners, jpeg
from tests.waiting import PATIENCE_SECONDS, eventually
from worker.errors import RenderCrashed, RenderTimeout
from worker.slot import Child


def soon() -> float:
    return time.monotonic() + PATIENCE_SECONDS


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child(1 << 30)
    yield child
    child.close()


def request(original: Path, folder: Path) -> dict[str, Any]:
    return {
        "original": str(original),
        "folder": str(folder),
        "ladder": "32,full",
        "quality": 80,
        "effort": 0,
        "full_effort": 0,
        "max_pixels": 1_000_000,
    }


def test_the_first_answer_names_the_codec(child: Child) -> None:
    assert child.receive(soon())["ready"]["codec"].startswith("libvips-")
    assert child.alive


def test_a_request_is_answered_line_by_line(child: Child, tmp_path: Path) -> None:
    child.receive(soon())
    original = tmp_path / "original"
    original.write_bytes(jpeg(corners()))
    for _ in range(2):
        child.send(request(original, tmp_path))
        answers = [child.receive(soon()) for _ in range(3)]
        assert [next(iter(answer)) for answer in answers] == ["rendered", "rendered", "facts"]
        assert {"facts", "cost"} == set(answers[-1])


def test_a_refusal_is_an_answer(child: Child, tmp_path: Path) -> None:
    child.receive(soon())
    original = tmp_path / "original"
    original.write_bytes(b"text")
    child.send(request(original, tmp_path))
    assert child.receive(soon())["refused"]["reason"] == "unsupported_format"
    assert child.alive


def test_nothing_by_the_deadline_is_a_timeout(child: Child) -> None:
    child.receive(soon())
    with pytest.raises(RenderTimeout):
        child.receive(time.monotonic() + 0.01)
    with pytest.raises(RenderTimeout):
        child.receive(time.monotonic() - 1)


def test_a_killed_child_is_told_by_its_signal(child: Child) -> None:
    child.receive(soon())
    child.kill()
    with pytest.raises(RenderCrashed, match="SIGKILL"):
        child.receive(soon())
    assert not child.alive


def test_an_abort_hints_at_memory(child: Child) -> None:
    child.receive(soon())
    os.kill(child.pid, signal.SIGABRT)
    with pytest.raises(RenderCrashed, match=r"SIGABRT.*memory"):
        child.receive(soon())


def test_sending_to_a_dead_child_is_a_crash(child: Child, tmp_path: Path) -> None:
    child.receive(soon())
    child.kill()
    eventually(lambda: not child.alive, "it is dead")
    with pytest.raises(RenderCrashed):
        child.send(request(tmp_path, tmp_path))


def test_closing_reaps_and_may_be_repeated(child: Child) -> None:
    child.close()
    child.close()
    assert not child.alive
    assert not Path(f"/proc/{child.pid}").exists()


def test_the_parents_secrets_stay_with_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/secret.json")
    monkeypatch.setenv("WORKER_SUBSCRIPTION", "s")
    child = Child(1 << 30)
    try:
        child.receive(soon())
        known = Path(f"/proc/{child.pid}/environ").read_bytes()
    finally:
        child.close()
    assert b"secret" not in known
    assert b"WORKER_" not in known
    assert b"MALLOC_ARENA_MAX=2" in known


def test_a_child_leads_a_session_of_its_own(child: Child) -> None:
    assert os.getsid(child.pid) == child.pid
