"""One child and its pipes: what it knows, what it answers, and how its end is told."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support import like_macos
from tests.support.small_pictures import corners, jpeg, noise
from tests.support.waiting import PATIENCE_SECONDS, eventually
from worker.errors import RenderCrashed, RenderOutOfMemory, RenderTimeout
from worker.photo.header import Header
from worker.photo.ladder import Ladder
from worker.photo.looks import Looks
from worker.render.protocol import (
    Answer,
    Bounds,
    Finished,
    MeasureRequest,
    Ready,
    Refused,
    RenderRequest,
    Request,
    RungWritten,
)
from worker.render.slot import Child

MIB = 1 << 20


def soon() -> float:
    return time.monotonic() + PATIENCE_SECONDS


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    child = Child(1 << 30, tmp_path)
    yield child
    child.close()


def bounds(**other: Any) -> Bounds:
    values = {"max_pixels": 40_000_000, "memory_bytes": 256 * MIB, "cpu_seconds": 60, **other}
    return Bounds(drawn_px=2560, **values)


def request(original: Path, *, effort: int = 0, **other: Any) -> RenderRequest:
    return RenderRequest(
        original=original,
        folder=original.parent,
        ladder=Ladder.parse("32,full"),
        looks=Looks(quality=80, effort=effort, full_effort=effort),
        placeholder=True,
        bounds=bounds(**other),
    )


def first_answer(child: Child, asked: Request) -> Answer:
    child.send(asked)
    return child.receive(soon())


def test_the_first_answer_names_the_codec(child: Child) -> None:
    ready = child.receive(soon())
    assert isinstance(ready, Ready)
    assert ready.codec.startswith("libvips-")
    assert child.alive


def test_a_request_is_answered_line_by_line(child: Child, tmp_path: Path) -> None:
    child.receive(soon())
    original = tmp_path / "original"
    original.write_bytes(jpeg(corners()))
    for _ in range(2):
        answers = [first_answer(child, request(original)), child.receive(soon())]
        assert all(isinstance(answer, RungWritten) for answer in answers)
        assert isinstance(child.receive(soon()), Finished)


def test_a_refusal_is_an_answer(child: Child, tmp_path: Path) -> None:
    child.receive(soon())
    original = tmp_path / "original"
    original.write_bytes(b"text")
    refused = first_answer(child, request(original))
    assert isinstance(refused, Refused)
    assert refused.reason == "unsupported_format"
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


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV, signal.SIGTRAP])
def test_a_crash_that_says_nothing_of_memory_is_a_crash(
    child: Child, number: signal.Signals
) -> None:
    child.receive(soon())
    os.kill(child.pid, number)
    with pytest.raises(RenderCrashed, match=number.name):
        child.receive(soon())


def test_a_library_that_aborts_for_want_of_memory_is_told_by_its_stderr_tail(
    child: Child, tmp_path: Path
) -> None:
    child.receive(soon())
    original = tmp_path / "original"
    # libvips copies the file by way of GLib, which aborts where there is no room for it.
    original.write_bytes(jpeg(corners()) + bytes(100 * MIB))
    child.send(request(original, memory_bytes=40 * MIB))
    with pytest.raises(RenderOutOfMemory, match=r"SIGABRT.*allocate"):
        child.receive(soon())


def test_a_library_that_reports_it_is_out_of_memory_too(child: Child, tmp_path: Path) -> None:
    child.receive(soon())
    original = tmp_path / "original"
    # Its coefficients take 144 MB, which libjpeg has words of its own for.
    original.write_bytes(bytes(corners(6000, 4000).jpegsave_buffer(interlace=True)))
    refused = first_answer(child, request(original, memory_bytes=0))
    assert isinstance(refused, Refused)
    assert refused.reason == "render_out_of_memory", refused
    assert isinstance(first_answer(child, request(original)), RungWritten)


def test_cpu_seconds_run_out_as_a_timeout(child: Child, tmp_path: Path) -> None:
    child.receive(soon())
    original = tmp_path / "original"
    original.write_bytes(jpeg(corners()))
    child.send(request(original, cpu_seconds=-0.9))
    while not isinstance(child.receive(soon()), Finished):
        pass
    original.write_bytes(jpeg(noise(400, 400).replicate(6, 6)))
    child.send(request(original, effort=6, cpu_seconds=-0.9))
    assert isinstance(child.receive(soon()), RungWritten)
    with pytest.raises(RenderTimeout, match="CPU"):
        child.receive(soon())


def test_a_header_is_read_without_a_render(child: Child, tmp_path: Path) -> None:
    child.receive(soon())
    original = tmp_path / "original"
    original.write_bytes(jpeg(corners(60, 40)))
    enough = bounds(max_pixels=2400, memory_bytes=MIB)
    header = first_answer(child, MeasureRequest(original=original, bounds=enough))
    assert isinstance(header, Header)
    assert (header.format, header.width, header.height, header.bands) == ("jpeg", 60, 40, 3)
    short = replace(enough, max_pixels=2399)
    refused = first_answer(child, MeasureRequest(original=original, bounds=short))
    assert isinstance(refused, Refused)
    assert refused.reason == "original_too_large"
    assert child.requests == 2


@pytest.mark.parametrize("poll", [select.poll, like_macos.Poll])
def test_a_child_that_died_idle_is_told_by_its_signal(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poll: object
) -> None:
    monkeypatch.setattr(select, "poll", poll)
    child.receive(soon())
    child.kill()
    eventually(lambda: not child.alive, "the child is dead")
    with pytest.raises(RenderCrashed, match="SIGKILL"):
        child.send(request(tmp_path / "original"))


def test_closing_reaps_and_may_be_repeated(child: Child) -> None:
    child.close()
    child.close()
    assert not child.alive
    assert not Path(f"/proc/{child.pid}").exists()


def test_the_parents_secrets_stay_with_the_parent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/secret.json")
    monkeypatch.setenv("WORKER_SUBSCRIPTION", "s")
    child = Child(1 << 30, tmp_path)
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
