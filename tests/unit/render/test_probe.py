"""Probe: what an original is, found out by a real child process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fakes import MemoryStore, Once, raising
from tests.support.pictures import corners_jpeg
from tests.support.scripted import script
from tests.support.small_pictures import corners, png
from tests.support.waiting import eventually
from worker.errors import (
    ObjectMissing,
    OriginalForbidden,
    Reason,
    RenderTimeout,
    SlotUnavailable,
    StorageUnavailable,
)
from worker.photo.limits import Limits
from worker.render.image import imaging
from worker.render.probe import Probe, Probed, ProbedPicture

GIB = 1 << 30


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def probe(store: MemoryStore) -> Iterator[Probe]:
    with Probe(store, memory_bytes=2 * GIB, limits=limits(1_000_000), timeout_seconds=60) as probe:
        yield probe


def limits(max_pixels: int) -> Limits:
    return Limits(max_original_bytes=1 << 20, max_original_pixels=max_pixels)


def probed(probe: Probe, store: MemoryStore, data: bytes) -> Probed:
    return probe(store.seed("originals", "a.jpg", data))


def test_a_sound_picture_is_read_as_displayed(probe: Probe, store: MemoryStore) -> None:
    found = probed(probe, store, corners_jpeg(64, 96, orientation=6))
    assert found == Probed(picture=ProbedPicture(format="jpeg", width=64, height=96), refused=None)
    assert probe.codec == imaging.codec()


def test_whatever_is_wrong_has_its_reason_and_the_next_is_read(
    probe: Probe, store: MemoryStore
) -> None:
    sound = corners_jpeg(640, 480)
    for data, reason in (
        (sound[: len(sound) // 2], Reason.CORRUPT_ORIGINAL),
        (sound[:20], Reason.CORRUPT_ORIGINAL),
        (b"#!/bin/sh", Reason.UNSUPPORTED_FORMAT),
        (b"", Reason.CORRUPT_ORIGINAL),
        (corners_jpeg(1200, 900), Reason.ORIGINAL_TOO_LARGE),
    ):
        found = probed(probe, store, data)
        assert found.refused is not None
        assert found.refused.reason is reason
        assert str(found.refused)
    header = ProbedPicture(format="jpeg", width=640, height=480)
    assert probed(probe, store, sound) == Probed(picture=header, refused=None)


def test_pixels_that_cannot_be_decoded_leave_the_header_known(
    probe: Probe, store: MemoryStore
) -> None:
    sound = png(corners(640, 480))
    begin = sound.index(b"IDAT") + 4
    damaged = sound[:begin] + bytes(64) + sound[begin + 64 :]
    found = probed(probe, store, damaged)
    assert found.picture == ProbedPicture(format="png", width=640, height=480)
    assert found.refused is not None
    assert found.refused.reason is Reason.CORRUPT_ORIGINAL


def test_a_child_that_died_idle_is_replaced(probe: Probe, store: MemoryStore) -> None:
    assert probe._child is not None
    os.kill(probe._child.pid, signal.SIGKILL)
    eventually(lambda: probe._child is None or not probe._child.alive, "it is dead")
    assert probed(probe, store, corners_jpeg(64, 48)).refused is None


SCRIPT = """
for request in requests():
    kind = open(request["original"]).read()
    if kind == "slow":
        time.sleep(4)
    if kind == "deadly":
        os.kill(os.getpid(), 9)
    if kind == "list":
        print("[]", flush=True)
    if kind == "deep":
        print("[" * 60000, flush=True)
    if kind == "more":
        say("Header", **HEADER, more=1)
    say("Header", **{**HEADER, "width": 7 if kind == "sound" else 8})
    if kind == "full":
        say("Unavailable", message="[Errno 28] No space left on device")
    else:
        say("Done")
"""


@pytest.fixture
def scripted(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Probe]:
    script(monkeypatch, tmp_path, SCRIPT)
    with Probe(store, memory_bytes=GIB, limits=limits(10**6), timeout_seconds=0.7) as probe:
        yield probe


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (b"slow", Reason.RENDER_TIMEOUT),
        (b"deadly", Reason.RENDER_CRASHED),
        (b"list", Reason.RENDER_CRASHED),
        (b"deep", Reason.RENDER_CRASHED),
        (b"more", Reason.RENDER_CRASHED),
    ],
)
def test_a_child_that_fails_is_told_and_the_next_answer_is_the_nexts(
    scripted: Probe, store: MemoryStore, kind: bytes, reason: Reason
) -> None:
    for _ in range(2):
        found = probed(scripted, store, kind)
        assert found.refused is not None
        assert (found.refused.reason, found.picture) == (reason, None)
        found = probed(scripted, store, b"sound")
        assert found == Probed(
            picture=ProbedPicture(format="jpeg", width=7, height=60), refused=None
        )


def test_a_full_disk_is_not_the_originals_fault(scripted: Probe, store: MemoryStore) -> None:
    with pytest.raises(SlotUnavailable, match="No space"):
        probed(scripted, store, b"full")


def test_a_killed_probe_leaves_a_folder_that_the_next_removes(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    code = (
        "import os\nfrom tests.support.fakes import MemoryStore\n"
        "from worker.render.probe import Probe\n"
        "from worker.photo.limits import Limits\n"
        "limits = Limits(max_original_bytes=1, max_original_pixels=1)\n"
        "Probe(MemoryStore(), memory_bytes=1 << 30, limits=limits, timeout_seconds=60)\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False, timeout=60, cwd=_ROOT)
    assert list(tmp_path.iterdir())
    with Probe(store, memory_bytes=GIB, limits=limits(1), timeout_seconds=60):
        assert len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.iterdir())


_ROOT = Path(__file__).parents[3]


def test_a_child_that_hangs_is_told(store: MemoryStore) -> None:
    with Probe(store, memory_bytes=2 * GIB, limits=limits(10**6), timeout_seconds=60) as probe:
        child = probe._child
        assert child is not None
        os.kill(child.pid, signal.SIGSTOP)
        probe._timeout_seconds = 0.05
        found = probed(probe, store, corners_jpeg(64, 48))
    assert found.refused is not None
    assert found.refused.reason is Reason.RENDER_TIMEOUT
    assert not child.alive


def test_a_child_that_does_not_come_up_leaves_nothing_behind(store: MemoryStore) -> None:
    with pytest.raises(RenderTimeout):
        Probe(store, memory_bytes=2 * GIB, limits=limits(10**6), timeout_seconds=0.0)


def test_an_original_that_cannot_be_downloaded_now(probe: Probe, store: MemoryStore) -> None:
    store.before = Once("download", "a.jpg", raising(StorageUnavailable("503")))
    with pytest.raises(StorageUnavailable):
        probed(probe, store, corners_jpeg(64, 48))
    assert probed(probe, store, corners_jpeg(64, 48)).refused is None


def test_an_original_that_is_refused_before_its_bytes(probe: Probe, store: MemoryStore) -> None:
    store.before = Once("download", "a.jpg", raising(OriginalForbidden("under another's key")))
    refused = probed(probe, store, corners_jpeg(64, 48)).refused
    assert refused is not None
    assert refused.reason is Reason.ORIGINAL_FORBIDDEN
    assert "limit is 1,048,576" in str(probed(probe, store, bytes(1 << 21)).refused)


def test_another_upload_meanwhile_is_no_longer_the_original(
    probe: Probe, store: MemoryStore
) -> None:
    first = store.seed("originals", "a.jpg", corners_jpeg(64, 48))
    store.seed("originals", "a.jpg", corners_jpeg(64, 48))
    with pytest.raises(ObjectMissing, match=r"a\.jpg is gone"):
        probe(first)
