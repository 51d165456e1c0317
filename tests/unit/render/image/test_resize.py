"""Resizing by itself: tile by tile it makes the same bytes as in strips, in less memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.small_pictures import noise
from worker.photo.ladder import WEBP_MAX_PX, RungSize
from worker.render.image.pixels import Pixels
from worker.render.image.resize import resize

import pyvips  # isort: skip


@pytest.mark.parametrize("edge", [WEBP_MAX_PX, 2000, 333])
def test_what_is_wide_is_resized_in_tiles_to_the_same_bytes(edge: int) -> None:
    wide = Pixels(noise(17_000, 40))
    size = RungSize(rung="full", width=edge, height=max(1, 40 * edge // 17_000))
    plainly = wide.image.resize(size.width / wide.width, vscale=size.height / wide.height)
    assert bytes(resize(wide, size).buffer) == bytes(plainly.write_to_memory())


def test_what_is_transparent_too() -> None:
    fading = Pixels(noise(900, 700).bandjoin(pyvips.Image.xyz(900, 700)[0].cast("uchar")))
    image = fading.image.premultiply().resize(0.5, vscale=0.5).unpremultiply()
    halved = resize(fading, RungSize(rung="450", width=450, height=350))
    assert bytes(halved.buffer) == bytes(image.rint().cast("uchar").write_to_memory())


_PEAK = """
import pyvips
from worker.render.image import imaging
from worker.system import sandbox
from worker.photo.ladder import RungSize
from worker.render.image.pixels import Pixels
from worker.render.image.resize import resize
from worker.system import processes

wide = Pixels(pyvips.Image.black(60_000, 400, bands=4).copy(interpretation="srgb"))
before = processes.memory_bytes("self", "VmHWM")
resize(wide, RungSize(rung="full", width=16_383, height=109))
print((processes.memory_bytes("self", "VmHWM") - before) >> 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_panorama_with_alpha_is_not_turned_into_floats_at_once() -> None:
    told = subprocess.run(
        [sys.executable, "-c", _PEAK], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(told.stdout) < 100, "60,000 x 400 pixels are 366 MiB of floats"
