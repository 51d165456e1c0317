"""The encoder by itself: the same pictures as libvips writes, and errors that say what it was."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.small_pictures import decoded, noise
from worker.photo.looks import Tuning
from worker.render.image import webp
from worker.render.image.pixels import Pixels
from worker.render.image.webp import Frame

import pyvips  # isort: skip


def frame(pixels: Pixels) -> Frame:
    return Frame(pixels.buffer, pixels.width, pixels.height, pixels.bands)


@pytest.mark.parametrize("method", [0, 2, 4])
@pytest.mark.parametrize("size", [(64, 48), (33, 17), (1, 1)])
@pytest.mark.parametrize("alpha", [False, True])
def test_it_writes_what_libvips_writes(method: int, size: tuple[int, int], *, alpha: bool) -> None:
    image = noise(*size)
    if alpha:
        image = image.bandjoin(pyvips.Image.xyz(*size).extract_band(0).cast("uchar"))
    ours = decoded(frame(Pixels(image)).encode(Tuning(quality=80, method=method)))
    theirs = decoded(image.webpsave_buffer(Q=80, effort=method, keep="none"))
    assert ours.bands == theirs.bands
    assert (ours - theirs).abs().max() == 0


def test_a_frame_can_be_encoded_again_in_another_way() -> None:
    picture = frame(Pixels(noise(64, 48)))
    fine, coarse = (picture.encode(Tuning(quality=q, method=0)) for q in (90, 10))
    assert len(fine) > len(coarse)
    assert decoded(coarse).width == 64


def test_pixels_are_not_needed_once_the_frame_is_made() -> None:
    pixels = Pixels(pyvips.Image.black(64, 48, bands=3).copy(interpretation="srgb"))
    picture = frame(pixels)
    memoryview(pixels.buffer)[:] = b"\xff" * (64 * 48 * 3)
    assert decoded(picture.encode(Tuning(quality=90, method=0))).max() < 5


def test_a_picture_larger_than_webp_can_hold_is_an_error_not_a_crash() -> None:
    wide = Frame(bytearray(16_384 * 8 * 3), 16_384, 8, 3)
    with pytest.raises(RuntimeError, match="error 5"):
        wide.encode(Tuning(quality=80, method=0))


_SHORT = """
import resource
from worker.system import sandbox
from worker.render.image import webp
from worker.photo.looks import Tuning
from worker.system import processes
from worker.errors import RenderOutOfMemory

pixels = bytearray(4000 * 3000 * 3)
limit = processes.memory_bytes("self", "VmData") + {spare} * (1 << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
try:
    webp.Frame(pixels, 4000, 3000, 3).encode(Tuning(quality=80, method=4))
except RenderOutOfMemory as error:
    print(error)
"""


@pytest.mark.parametrize("spare", [8, 20])
def test_no_memory_is_told_as_such(spare: int) -> None:
    """For the planes, and for what the encoder keeps beside them."""
    ended = subprocess.run(
        [sys.executable, "-c", _SHORT.format(spare=spare)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "memory limit was reached" in ended.stdout


def test_an_unknown_tuning_is_refused() -> None:
    with pytest.raises(ValueError, match="method=9"):
        frame(Pixels(noise(8, 8))).encode(Tuning(quality=80, method=9))


def test_the_version_is_named() -> None:
    assert webp.version().startswith("libwebp-1.")
