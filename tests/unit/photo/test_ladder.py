"""Ladders: how they are read, and the arithmetic of fitting."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.photo.ladder import DEFAULT_LADDER, FULL, WEBP_MAX_PX, Ladder

edges = st.integers(min_value=1, max_value=WEBP_MAX_PX)
sides = st.integers(min_value=1, max_value=70_000)
ladders = st.lists(edges, max_size=12).map(
    lambda found: Ladder.parse(",".join(map(str, [*found, 1])))
)


def test_the_default_ladder_is_the_contracts() -> None:
    assert str(DEFAULT_LADDER) == "320,512,768,1024,1280,1600,2048,2560,full"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("320,full", "320,full"),
        ("full", "full"),
        ("320", "320,full"),
        ("full,512,320", "320,512,full"),
        (" 320 , 512 ,full ", "320,512,full"),
        ("320,320,full,full", "320,full"),
        ("16383", "16383,full"),
        ("0320", "320,full"),
    ],
)
def test_ladders_that_are_read(text: str, read: str) -> None:
    assert str(Ladder.parse(text)) == read


@pytest.mark.parametrize(
    "text", ["", ",", "0", "-1", "16384", "320,", "320;512", "large", "3.5", "\u0661", "FULL", "²"]
)
def test_ladders_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither 'full' nor"):
        Ladder.parse(text)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((6000, 4000), {"320": (320, 213), "1024": (1024, 683), "full": (6000, 4000)}),
        ((4000, 6000), {"320": (213, 320), "1024": (683, 1024), "full": (4000, 6000)}),
        ((1024, 100), {"320": (320, 31), "full": (1024, 100)}),  # a rung as large is left out
        ((1025, 100), {"320": (320, 31), "1024": (1024, 100), "full": (1025, 100)}),
        ((320, 320), {"full": (320, 320)}),
        ((1, 1), {"full": (1, 1)}),
        ((20, 20_000), {"320": (1, 320), "1024": (1, 1024), "full": (16, 16_383)}),
        ((16_384, 16_384), {"320": (320, 320), "1024": (1024, 1024), "full": (16_383, 16_383)}),
    ],
)
def test_sizes_of_known_pictures(
    size: tuple[int, int], expected: dict[str, tuple[int, int]]
) -> None:
    sizes = Ladder.parse("320,1024,full").sizes(*size)
    assert {one.rung: (one.width, one.height) for one in sizes} == expected


@given(text=st.text(max_size=30))
def test_any_text_is_a_ladder_that_reads_itself_or_is_refused(text: str) -> None:
    try:
        ladder = Ladder.parse(text)
    except ValueError:
        return
    assert Ladder.parse(str(ladder)) == ladder
    assert ladder.rungs[-1].name == FULL


@given(ladder=ladders, width=sides, height=sides)
def test_no_rendition_is_enlarged_or_leaves_its_box(
    ladder: Ladder, width: int, height: int
) -> None:
    boxes = {rung.name: rung.edge_px or WEBP_MAX_PX for rung in ladder.rungs}
    for size in ladder.sizes(width, height):
        assert 1 <= size.width <= width
        assert 1 <= size.height <= height
        assert max(size.width, size.height) <= boxes[size.rung] <= WEBP_MAX_PX


@given(ladder=ladders, width=sides, height=sides)
def test_a_resized_rung_fills_its_box(ladder: Ladder, width: int, height: int) -> None:
    for size in ladder.sizes(width, height):
        if size.rung != FULL:
            assert max(size.width, size.height) == int(size.rung)


@given(ladder=ladders, width=sides, height=sides)
def test_the_aspect_is_right_within_half_a_pixel(ladder: Ladder, width: int, height: int) -> None:
    for size in ladder.sizes(width, height):
        scale = Fraction(max(size.width, size.height), max(width, height))
        for got, side in ((size.width, width), (size.height, height)):
            assert abs(got - side * scale) <= Fraction(1, 2) or (got == 1 and side * scale < 1)


@given(ladder=ladders, width=sides, height=sides)
def test_full_is_there_once_and_last_and_names_are_unique(
    ladder: Ladder, width: int, height: int
) -> None:
    sizes = ladder.sizes(width, height)
    names = [size.rung for size in sizes]
    assert names[-1] == FULL
    assert len(set(names)) == len(names)
    full = sizes[-1]
    assert max(full.width, full.height) == min(max(width, height), WEBP_MAX_PX)
    areas = [size.width * size.height for size in sizes]
    assert areas == sorted(areas)


@given(ladder=ladders, width=sides, height=sides)
def test_turning_a_picture_turns_its_renditions(ladder: Ladder, width: int, height: int) -> None:
    upright = [(size.rung, size.width, size.height) for size in ladder.sizes(width, height)]
    turned = [(size.rung, size.height, size.width) for size in ladder.sizes(height, width)]
    assert upright == turned


@pytest.mark.parametrize(
    ("text", "size", "rungs"),
    [
        ("64,256", (24, 24), {"64": (24, 24)}),
        ("64,256", (256, 128), {"64": (64, 32), "256": (256, 128)}),
        ("64,256", (4000, 3000), {"64": (64, 48), "256": (256, 192)}),
        ("64,256", (100, 80), {"64": (64, 51), "256": (100, 80)}),
        ("full", (100, 80), {"full": (100, 80)}),
        ("64,full", (100, 80), {"64": (64, 51), "full": (100, 80)}),
    ],
)
def test_a_ladder_of_just_these_rungs(
    text: str, size: tuple[int, int], rungs: dict[str, tuple[int, int]]
) -> None:
    """The smallest rung that is too large becomes the picture in its own size."""
    ladder = Ladder.exactly(text)
    assert str(ladder) == text
    assert {each.rung: (each.width, each.height) for each in ladder.sizes(*size)} == rungs


def test_the_default_ladder_survives_being_read_exactly() -> None:
    assert Ladder.exactly(str(DEFAULT_LADDER)) == DEFAULT_LADDER
    with pytest.raises(ValueError, match="rung 'x'"):
        Ladder.exactly("x")
