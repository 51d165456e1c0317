"""The child's own judgement: what a picture is not to blame for."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.small_pictures import jpeg, noise
from tests.support.waiting import PATIENCE_SECONDS
from worker.errors import CorruptOriginal, RenderCrashed, RenderOutOfMemory
from worker.photo.ladder import Ladder, RungSize
from worker.photo.looks import Looks
from worker.render.child import _blameless
from worker.render.image.vips import pyvips, translated
from worker.render.protocol import (
    Answer,
    Bounds,
    Finished,
    MeasureRequest,
    Refused,
    RenderRequest,
    Request,
    RungWritten,
    Unavailable,
)
from worker.render.slot import Child


def renditions() -> Iterator[tuple[RungSize, bytes]]:
    """One, and then an encoder that fails."""
    yield RungSize(rung="320", width=1, height=1), b"webp"
    raise CorruptOriginal("webpsave: unable to encode")


def test_what_fails_after_the_decode_is_tried_again() -> None:
    blameless = _blameless(renditions())
    assert next(blameless)[1] == b"webp"
    with pytest.raises(RenderCrashed, match="after the decode: webpsave"):
        next(blameless)


@pytest.mark.parametrize(
    "complaint",
    ["webpsave: unable to encode wbuffer_write: write failed", "heif: Insufficient memory"],
)
def test_an_encoder_without_memory_is_not_a_corrupt_original(complaint: str) -> None:
    with pytest.raises(RenderOutOfMemory), translated():
        raise pyvips.Error("unable to call webpsave_buffer", complaint)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for an original, and for little else."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(tmp_path)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no file system can be mounted here")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


BOUNDS = Bounds(max_pixels=40_000_000, memory_bytes=256 << 20, cpu_seconds=60, drawn_px=2560)


def last_answer(child: Child, request: Request) -> Answer:
    child.send(request)
    while isinstance(answer := child.receive(time.monotonic() + PATIENCE_SECONDS), RungWritten):
        pass
    return answer


def request(folder: Path) -> RenderRequest:
    return RenderRequest(
        original=folder / "original",
        folder=folder,
        ladder=Ladder.exactly("full"),
        looks=Looks(quality=90, effort=0, full_effort=0),
        placeholder=True,
        bounds=BOUNDS,
    )


def test_a_full_disk_is_no_fault_of_the_picture(full_disk: Path) -> None:
    (full_disk / "original").write_bytes(jpeg(noise(400, 400), quality=50))
    filler = full_disk / "filler"
    with filler.open("wb") as file, pytest.raises(OSError, match="No space"):
        file.write(bytes(1 << 20))
    child = Child(1 << 30, full_disk)
    try:
        child.receive(time.monotonic() + PATIENCE_SECONDS)
        answer = last_answer(child, request(full_disk))
        assert isinstance(answer, Unavailable)
        assert "No space" in answer.message
        filler.unlink()
        assert isinstance(last_answer(child, request(full_disk)), Finished)
    finally:
        child.close()


def test_an_original_that_cannot_be_read_is_no_fault_of_the_picture(tmp_path: Path) -> None:
    child = Child(1 << 30, tmp_path)
    measure = MeasureRequest(original=tmp_path / "original", bounds=BOUNDS)
    try:
        child.receive(time.monotonic() + PATIENCE_SECONDS)
        for asked in (request(tmp_path), measure):
            answer = last_answer(child, asked)
            assert isinstance(answer, Unavailable)
            assert "No such file" in answer.message
    finally:
        child.close()


def test_a_rendition_beyond_the_childs_own_limit_is_the_pictures(tmp_path: Path) -> None:
    (tmp_path / "original").write_bytes(jpeg(noise(400, 400)))
    child = Child(1 << 30, tmp_path)
    try:
        child.receive(time.monotonic() + PATIENCE_SECONDS)
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (4096, 4096))
        refused = last_answer(child, request(tmp_path))
    finally:
        child.close()
    assert isinstance(refused, Refused)
    assert refused.reason == "render_crashed"
    assert "File too large" in refused.message
