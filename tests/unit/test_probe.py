"""Probe: what an original is, found out by a real child process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.fakes import MemoryStore, Once, raising
from tests.pictures import corners_jpeg
from tests.unit.small_pictures import corners, png
from worker import imaging
from worker.errors import Reason, RenderTimeout, StorageUnavailable
from worker.probe import Header, Probe, Probed

GIB = 1 << 30


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def probe(store: MemoryStore) -> Iterator[Probe]:
    with Probe(store, memory_bytes=2 * GIB, max_pixels=1_000_000, timeout_seconds=60) as probe:
        yield probe


def probed(probe: Probe, store: MemoryStore, data: bytes) -> Probed:
    return probe(store.seed("originals", "a.jpg", data))


def test_a_sound_picture_is_read_as_displayed(probe: Probe, store: MemoryStore) -> None:
    found = probed(probe, store, corners_jpeg(64, 96, orientation=6))
    assert found == Probed(header=Header(format="jpeg", width=64, height=96), refused=None)
    assert probe.codec == imaging.codec()


def test_whatever_is_wrong_has_its_reason_and_the_next_is_read(
    probe: Probe, store: MemoryStore
) -> None:
    sound = corners_jpeg(640, 480)
    for data, reason in (
        (sound[: len(sound) // 2], Reason.CORRUPT_ORIGINAL),
        (sound[:20], Reason.CORRUPT_ORIGINAL),
        (b"#!/bin/sh", Reason.UNSUPPORTED_FORMAT),
        (b"", Reason.UNSUPPORTED_FORMAT),
        (corners_jpeg(1200, 900), Reason.ORIGINAL_TOO_LARGE),
    ):
        found = probed(probe, store, data)
        assert found.refused is not None
        assert found.refused.reason is reason
        assert str(found.refused)
    header = Header(format="jpeg", width=640, height=480)
    assert probed(probe, store, sound) == Probed(header=header, refused=None)


def test_pixels_that_cannot_be_decoded_leave_the_header_known(
    probe: Probe, store: MemoryStore
) -> None:
    sound = png(corners(640, 480))
    begin = sound.index(b"IDAT") + 4
    damaged = sound[:begin] + bytes(64) + sound[begin + 64 :]
    found = probed(probe, store, damaged)
    assert found.header == Header(format="png", width=640, height=480)
    assert found.refused is not None
    assert found.refused.reason is Reason.CORRUPT_ORIGINAL


def test_a_child_that_dies_is_told(probe: Probe, store: MemoryStore) -> None:
    os.kill(probe._child.pid, signal.SIGKILL)
    found = probed(probe, store, corners_jpeg(64, 48))
    assert found.refused is not None
    assert (found.refused.reason, found.header) == (Reason.RENDER_CRASHED, None)


def test_a_child_that_hangs_is_told(store: MemoryStore) -> None:
    with Probe(store, memory_bytes=2 * GIB, max_pixels=10**6, timeout_seconds=60) as probe:
        os.kill(probe._child.pid, signal.SIGSTOP)
        probe._timeout_seconds = 0.05
        found = probed(probe, store, corners_jpeg(64, 48))
        child = probe._child
    assert found.refused is not None
    assert found.refused.reason is Reason.RENDER_TIMEOUT
    assert not child.alive


def test_a_child_that_does_not_come_up_leaves_nothing_behind(store: MemoryStore) -> None:
    with pytest.raises(RenderTimeout):
        Probe(store, memory_bytes=2 * GIB, max_pixels=10**6, timeout_seconds=0.0)


def test_an_original_that_cannot_be_downloaded_now(probe: Probe, store: MemoryStore) -> None:
    store.before = Once("download", "a.jpg", raising(StorageUnavailable("503")))
    with pytest.raises(StorageUnavailable):
        probed(probe, store, corners_jpeg(64, 48))
    assert probed(probe, store, corners_jpeg(64, 48)).refused is None
