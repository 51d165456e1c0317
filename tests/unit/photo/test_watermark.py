"""Where a watermark lies, and what the recipe says of it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from worker.photo.watermark import (
    MARGIN,
    POSITIONS,
    Corner,
    PictureFile,
    Placement,
    Watermark,
    place,
)

WIDE = (400, 100)
RUNG = (1000, 600)


def mark(position: Any, scale: float = 0.2) -> Watermark:
    return Watermark(sha256="0" * 64, opacity=1.0, position=position, scale=scale)


def placed(position: str, scale: float = 0.2, rung: tuple[int, int] = RUNG) -> Placement:
    placement = place(mark(position, scale), WIDE, rung)
    assert placement is not None
    return placement


@pytest.mark.parametrize(
    ("position", "at"),
    [
        ("north-west", (12, 12)),
        ("north", (400, 12)),
        ("north-east", (788, 12)),
        ("west", (12, 275)),
        ("centre", (400, 275)),
        ("east", (788, 275)),
        ("south-west", (12, 538)),
        ("south", (400, 538)),
        ("south-east", (788, 538)),
    ],
)
def test_it_lies_where_the_compass_points(position: str, at: tuple[int, int]) -> None:
    placement = placed(position)
    assert (placement.width, placement.height) == (200, 50)
    assert placement.corners == (Corner(left=at[0], top=at[1]),)


def test_tiles_cover_every_part_of_a_rung() -> None:
    placement = placed("tile")
    assert len(placement.corners) > 8
    gap = 10 * round(MARGIN * 600)
    for left in range(0, 1000, 250):
        near = [each.left for each in placement.corners if abs(each.left - left) < 200 + gap]
        assert near
    assert {each.top for each in placement.corners} == {0, 50 + gap, 2 * (50 + gap), 3 * (50 + gap)}


def test_a_thin_rung_has_not_a_tile_in_each_column() -> None:
    placement = place(mark("tile", 0.01), (1, 400), (16_383, 20))
    assert placement is not None
    assert len(placement.corners) < 16_383 / 10


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("rung", [(1000, 600), (200, 3), (3, 200), (16383, 16383)])
@pytest.mark.parametrize("aspect", [(1, 1), (400, 1), (1, 400)])
@pytest.mark.parametrize("scale", [0.01, 0.2, 1.0])
def test_it_is_never_larger_than_the_rung(
    position: str, rung: tuple[int, int], aspect: tuple[int, int], scale: float
) -> None:
    placement = place(mark(position, scale), aspect, rung)
    assert placement is not None
    assert 1 <= placement.width <= rung[0]
    assert 1 <= placement.height <= rung[1]
    assert placement.corners
    if position != "tile":
        (only,) = placement.corners
        assert 0 <= only.left <= rung[0] - placement.width
        assert 0 <= only.top <= rung[1] - placement.height


def test_a_tiny_rung_has_none() -> None:
    assert place(mark("south-east"), WIDE, (199, 150)) is None
    assert place(mark("south-east"), WIDE, (200, 150)) is not None


def test_the_recipe_names_its_bytes_and_not_its_file() -> None:
    one, other = (PictureFile(name=name, data=b"a logo") for name in ("one.png", "other.png"))
    digest = hashlib.sha256(b"a logo").hexdigest()
    assert one.sha256 == other.sha256 == digest
    assert str(replace(mark("east"), sha256=digest)) == f"{digest[:12]}@east opacity=1.0 scale=0.2"
    assert "a logo" not in repr(one)
