"""Watermarks laid over pictures, and backgrounds put behind them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.support.small_pictures import noise, png
from worker.errors import CorruptOriginal, OriginalTooLarge, UnsupportedFormat
from worker.photo.watermark import POSITIONS, Watermark
from worker.render.image.overlay import Overlay, on_background, read_overlay
from worker.render.image.pixels import Pixels

import pyvips  # isort: skip

RED = (255, 0, 0)
SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 1">'
    b'<path fill="red" d="M0 0h4v1H0z"/></svg>'
)


def plain(width: int, height: int, *colour: int) -> Any:
    image = pyvips.Image.black(width, height).new_from_image(list(colour)).cast("uchar")
    return image.copy(interpretation="srgb").copy_memory()


LOGO = png(plain(40, 10, *RED))


def mark(position: Any = "centre", *, opacity: float = 1.0) -> Watermark:
    sha256 = hashlib.sha256(LOGO).hexdigest()
    return Watermark(sha256=sha256, opacity=opacity, position=position, scale=0.2)


def laid(image: Any, data: bytes = LOGO, *, opacity: float = 1.0, position: str = "centre") -> Any:
    pixels = Pixels(image)
    Overlay(data, mark(position, opacity=opacity)).lay_over(pixels)
    return pixels.image.copy_memory()


def changed(before: Any, after: Any) -> tuple[int, int, int, int]:
    """Left, top, width and height of what differs."""
    return tuple((before - after).abs().bandor().find_trim(threshold=0, background=0))


@pytest.mark.parametrize("data", [LOGO, SVG], ids=["png", "svg"])
@pytest.mark.parametrize(
    ("position", "left", "top"),
    [
        ("north-west", 4, 4),
        ("centre", 160, 90),
        ("south-east", 316, 176),
    ],
)
def test_it_lies_where_it_should_and_nowhere_else(
    data: bytes, position: str, left: int, top: int
) -> None:
    before = plain(400, 200, 255, 255, 255)
    after = laid(before, data, position=position)
    assert changed(before, after) == (left, top, 80, 20)
    assert after.getpoint(left + 40, top + 10) == list(RED)


@pytest.mark.parametrize("position", POSITIONS)
def test_what_is_around_it_keeps_every_bit(position: str) -> None:
    before = noise(431, 257)
    after = laid(before, position=position)
    assert (after.width, after.height, after.bands) == (431, 257, 3)
    same = ((before - after).abs().bandor() == 0).avg() / 255
    assert same > (0.6 if position == "tile" else 0.95)


def test_opacity_lets_the_picture_through() -> None:
    after = laid(plain(400, 200, 0, 0, 200), opacity=0.25)
    assert after.getpoint(200, 100) == pytest.approx([64, 0, 150], abs=2)


def test_transparency_of_the_picture_is_kept() -> None:
    before = plain(400, 200, 10, 20, 30, 0)
    after = laid(before, opacity=0.5)
    assert after.bands == 4
    assert after.getpoint(5, 5) == [10, 20, 30, 0]
    assert after.getpoint(200, 100) == pytest.approx([255, 0, 0, 128], abs=2)


def test_transparency_of_the_watermark_counts() -> None:
    half = plain(20, 10, *RED, 255).join(plain(20, 10, *RED, 0), "horizontal")
    after = laid(plain(400, 200, 255, 255, 255), png(half.copy(interpretation="srgb")))
    assert after.getpoint(175, 100) == list(RED)
    assert after.getpoint(225, 100) == [255, 255, 255]


def test_a_tiny_rung_has_none() -> None:
    before = plain(150, 100, 255, 255, 255)
    assert (laid(before) - before).abs().max() == 0


def test_a_watermark_larger_than_needed_is_kept_smaller() -> None:
    before = plain(400, 200, 255, 255, 255)
    after = laid(before, png(plain(3000, 750, *RED)))
    assert changed(before, after) == (160, 90, 80, 20)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"no picture at all", UnsupportedFormat),
        (LOGO[:60], CorruptOriginal),
        (png(plain(5000, 4000, *RED)), OriginalTooLarge),
    ],
)
def test_what_is_no_watermark_is_refused(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        Overlay(data, mark("tile"))


def test_another_file_in_its_place_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "watermark"
    file.write_bytes(png(plain(40, 10, 0, 0, 0)))
    with pytest.raises(CorruptOriginal, match="has been changed"):
        read_overlay(file, mark())


def test_a_background_shows_where_there_was_nothing() -> None:
    half = plain(4, 2, 200, 0, 0, 128).join(plain(4, 2, 9, 9, 9, 0), "horizontal")
    image = on_background(Pixels(half.copy(interpretation="srgb")), "#0000ff").image
    assert image.bands == 3
    assert image.getpoint(1, 1) == pytest.approx([100, 0, 127], abs=2)
    assert image.getpoint(6, 1) == [0, 0, 255]


def test_an_opaque_picture_has_no_background() -> None:
    pixels = Pixels(plain(4, 2, 1, 2, 3))
    assert on_background(pixels, "#ffffff") is pixels
