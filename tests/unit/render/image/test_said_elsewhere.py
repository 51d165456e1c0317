"""What files say in unusual places: which bands are alpha, and how a PNG is turned."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.skeletons import SHORT, chunk, tiff
from tests.support.small_pictures import corners, noise, png
from worker.errors import UnsupportedFormat
from worker.photo.limits import Limits
from worker.render.image.decode import open_original

LIMITS = Limits(max_original_bytes=sys.maxsize, max_original_pixels=20_000_000)

LOSSLESS = (
    Path(__file__).parents[5]
    / "shared"
    / "cases"
    / "jpeg-lossless-colour"
    / "lossless-colour-jfif.jpg"
)


def rendered(data: bytes) -> Any:
    return open_original(data, LIMITS).decode().image


def with_extra(image: Any, *kinds: int, values: tuple[int, ...] = (90, 200)) -> bytes:
    """A TIFF with a band of one value for each of these kinds of extra samples."""
    for value in values[: len(kinds)]:
        image = image.bandjoin(value * (257 if image.format == "ushort" else 1))
    data = bytearray(image.tiffsave_buffer())
    at = data.index(struct.pack("<HHI", 338, SHORT, len(kinds))) + 8
    data[at : at + 4] = struct.pack(f"<{len(kinds)}H", *kinds).ljust(4, b"\0")
    return bytes(data)


COLOUR = noise(40, 30)
DEEP = COLOUR.colourspace("rgb16")
GREY = COLOUR[0].copy(interpretation="b-w")


@pytest.mark.parametrize("image", [COLOUR, DEEP, GREY])
def test_a_band_that_says_nothing_of_alpha_is_left_out(image: Any) -> None:
    found, plain = rendered(with_extra(image, 0)), rendered(bytes(image.tiffsave_buffer()))
    assert found.bands == 3
    assert found.write_to_memory() == plain.write_to_memory()


@pytest.mark.parametrize("image", [COLOUR, DEEP, GREY])
def test_a_band_that_says_it_is_alpha_is(image: Any) -> None:
    for data in (with_extra(image, 2), with_extra(image, 0, 2, values=(7, 90))):
        found = rendered(data)
        assert found.bands == 4
        assert (found[3].min(), found[3].max()) == (90, 90)


def test_colours_that_are_multiplied_with_alpha_are_divided_by_it() -> None:
    half = (COLOUR * 0.5).rint().cast("uchar").copy(interpretation="srgb")
    found = rendered(with_extra(half, 1, values=(128,)))
    assert abs(found[1].avg() - COLOUR[1].avg()) < 3


def test_a_spot_colour_is_no_alpha() -> None:
    cmyk = corners().icc_transform("cmyk", input_profile="srgb")
    found, plain = rendered(with_extra(cmyk, 0)), rendered(bytes(cmyk.tiffsave_buffer()))
    assert found.write_to_memory() == plain.write_to_memory()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_png_is_turned_wherever_its_exif_stands(orientation: int) -> None:
    plain = png(corners())
    block = chunk(b"eXIf", tiff([(0x112, SHORT, orientation)]))
    first, last = plain.index(b"IDAT") - 4, plain.index(b"IEND") - 4
    before, behind = (
        open_original(plain[:at] + block + plain[at:], LIMITS) for at in (first, last)
    )
    assert (behind.header.width, behind.header.turned) == (
        before.header.width,
        before.header.turned,
    )
    expected = before.decode().image.write_to_memory()
    assert behind.decode().image.write_to_memory() == expected


@pytest.mark.skipif(not LOSSLESS.is_file(), reason="no folder of odd files")
def test_a_lossless_jpeg_whose_colours_no_decoder_converts_is_unsupported() -> None:
    with pytest.raises(UnsupportedFormat, match="color conversion"):
        rendered(LOSSLESS.read_bytes())


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"BM\x36\x48\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", "a BMP"),
        (b"\xff\x0a\x0fA", "a JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL"),
    ],
)
def test_a_picture_that_is_not_read_is_named(data: bytes, what: str) -> None:
    with pytest.raises(UnsupportedFormat, match=what):
        rendered(data + bytes(60))
