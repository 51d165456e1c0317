"""PNG: every pixel as it was, and nothing else in the file."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from tests.support.small_pictures import corners, noise
from worker.render.image import png
from worker.render.image.pixels import Pixels

import pyvips  # isort: skip


def chunks(data: bytes) -> list[bytes]:
    found, at = [], 8
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        found.append(data[at + 4 : at + 8])
        at += size + 12
    return found


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("image", [noise(67, 45), corners(60, 40)], ids=["noise", "flat"])
def test_it_loses_nothing(image: Any, *, alpha: bool, drawn: bool) -> None:
    if alpha:
        ramp = pyvips.Image.xyz(image.width, image.height)[0].cast("uchar")
        image = image.bandjoin(ramp).copy(interpretation="srgb")
    data = png.encode(Pixels(image), drawn=drawn)
    found = pyvips.Image.new_from_buffer(data, "")
    assert (found.bands, found.format) == (image.bands, "uchar")
    assert (found - image).abs().max() == 0
    # libvips states a resolution, the same for all.
    assert set(chunks(data)) == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}
    assert data[28] == 0  # not interlaced
