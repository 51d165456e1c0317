"""Predictions grow with what is decoded, held and encoded; a script measures reality."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.footprint import header_bytes, largest_pixels, limit_bytes, peak_bytes
from worker.header import Header
from worker.ladder import DEFAULT_LADDER, Ladder
from worker.recipe import Recipe

MIB = 1 << 20
RECIPE = Recipe(ladder=DEFAULT_LADDER, quality=80, effort=4, full_effort=2, codec="")
PHOTO = Header(format="jpeg", width=6000, height=4000, bands=3, bits=8)


def peak(header: Header, original_bytes: int = 6 * MIB) -> int:
    return peak_bytes(header, original_bytes, RECIPE)


@pytest.mark.parametrize(
    "change",
    [
        {"progressive": True, "bands": 4},
        {"has_alpha": True, "bands": 4},
        {"width": 6001},
        {"format": "avif"},
        {"format": "webp"},
    ],
)
def test_what_costs_memory_is_counted(change: dict[str, object]) -> None:
    assert peak(dataclasses.replace(PHOTO, **change)) > peak(PHOTO)  # type: ignore[arg-type]


def test_deep_pictures_take_more_in_decoders_that_hold_them() -> None:
    avif = dataclasses.replace(PHOTO, format="avif")
    interlaced = dataclasses.replace(PHOTO, format="png", progressive=True)
    for header in (avif, interlaced):
        assert peak(dataclasses.replace(header, bits=16)) > peak(header)


def test_efforts_that_search_take_more_and_high_qualities_again() -> None:
    searching = dataclasses.replace(RECIPE, full_effort=3)
    fine = dataclasses.replace(searching, quality=95)
    peaks = [peak_bytes(PHOTO, MIB, recipe) for recipe in (RECIPE, searching, fine)]
    assert peaks == sorted(set(peaks))


def test_a_turned_picture_is_there_twice_while_it_is_decoded() -> None:
    progressive = dataclasses.replace(PHOTO, progressive=True)
    assert peak(dataclasses.replace(progressive, turned=True)) > peak(progressive)


def test_a_panorama_beyond_webps_size_is_there_a_second_time() -> None:
    panorama = dataclasses.replace(PHOTO, width=16384, height=4000)
    clamped = peak(panorama) - peak(dataclasses.replace(panorama, width=16383))
    assert clamped > 3 * 16383 * 3900


def test_a_ladder_of_large_rungs_takes_more() -> None:
    many = Ladder.parse(",".join(str(edge) for edge in range(5000, 6000, 100)))
    assert peak_bytes(PHOTO, MIB, dataclasses.replace(RECIPE, ladder=many)) > peak(PHOTO, MIB)


def test_a_small_picture_in_a_large_file_counts_the_file_twice() -> None:
    tiny = dataclasses.replace(PHOTO, width=10, height=10)
    assert peak(tiny, 60 * MIB) >= header_bytes(60 * MIB) >= 120 * MIB


def test_what_is_set_aside_and_never_touched_raises_the_limit_only() -> None:
    webp = dataclasses.replace(PHOTO, format="webp")
    assert limit_bytes(webp, 100) > 100 + 4 * webp.pixels
    assert limit_bytes(PHOTO, 100) == 100


@given(memory_bytes=st.integers(64 * MIB, 1 << 34), progressive=st.booleans())
def test_the_largest_picture_fits_and_a_tenth_more_does_not(
    memory_bytes: int, *, progressive: bool
) -> None:
    pixels = largest_pixels(memory_bytes, RECIPE, progressive=progressive)

    def needs(pixels: float) -> int:
        width = round((pixels * 1.5) ** 0.5)
        header = Header(
            format="jpeg",
            width=width,
            height=width * 2 // 3,
            bands=3,
            bits=8,
            progressive=progressive,
        )
        return peak_bytes(header, int(pixels) // 2, RECIPE)

    assert needs(pixels) <= memory_bytes * 1.001
    assert needs(pixels * 1.1 + 1000) > memory_bytes
