"""At which size an SVG is drawn, by what its root element states."""

from __future__ import annotations

import time

import pytest

from worker.errors import UnsupportedFormat
from worker.render.formats.svg_size import EDGE_PX, stated_size, unit_px


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ({"width": "20", "height": "10"}, (20, 10)),
        ({"width": "1in", "height": "72pt"}, (96, 96)),
        ({"width": "10mm", "height": "1cm"}, (37.795, 37.795)),
        ({"width": "10em", "height": "1e1EX"}, (160, 80)),
        ({"viewBox": "0 0 30 40"}, (30, 40)),
        ({"viewBox": " 0,0, 30.5 , 4e1 "}, (30.5, 40)),
        ({"width": "100%", "height": "100%", "viewBox": "-5 -5 30 40"}, (30, 40)),
        ({"width": "60", "viewBox": "0 0 30 40"}, (60, 80)),
        ({"height": "20", "viewBox": "0 0 30 40"}, (15, 20)),
        ({"width": "7", "height": "9", "viewBox": "nonsense"}, (7, 9)),
        ({"width": "100Q", "height": "50Q", "viewBox": "0 0 30 40"}, (30, 40)),
    ],
)
def test_the_size_is_what_a_browser_finds(
    root: dict[str, str], expected: tuple[float, float]
) -> None:
    assert stated_size(root) == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize(
    "root",
    [
        {},
        {"width": "20"},
        {"width": "100%", "height": "50%"},
        {"width": "-1", "height": "5"},
        {"viewBox": "0 0 0 9"},
        {"width": "0", "height": "0"},
        {"viewBox": "0 0 -3 -3"},
        {"width": "1e999", "height": "x"},
        {"width": "100Q", "height": "50Q"},
        {"width": "1e400", "height": "1e400"},
        {"width": "1e-320", "height": "1e-320"},
        {"viewBox": "0 0 1e400 1e400"},
        {"viewBox": "0 0 1e-320 1"},
        {"width": "1" * 65, "height": "9"},
        {"viewBox": "0 0 " + "1" * 250 + " 9"},
    ],
)
def test_without_a_size_it_is_refused(root: dict[str, str]) -> None:
    with pytest.raises(UnsupportedFormat, match="size"):
        stated_size(root)


@pytest.mark.parametrize(
    "root",
    [
        {"width": "1" * 200_000 + "x", "height": "1"},
        {"width": " " * 200_000 + "x", "height": "1"},
        {"viewBox": "0 0 " + "1" * 100_000 + " " + "1" * 100_000 + "x"},
    ],
)
def test_no_length_takes_long(root: dict[str, str]) -> None:
    started = time.process_time()
    with pytest.raises(UnsupportedFormat):
        stated_size(root)
    assert time.process_time() - started < 1  # a search that goes back takes minutes


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ({"viewBox": "0 0 100 50", "width": "7", "height": "7"}, EDGE_PX / 100),
        ({"width": "40", "height": "80"}, EDGE_PX / 80),
        ({}, EDGE_PX),
        ({"viewBox": "0 0 1e400 1e400"}, EDGE_PX),
    ],
)
def test_a_unit_is_so_many_pixels(root: dict[str, str], expected: float) -> None:
    assert unit_px(root) == pytest.approx(expected)
