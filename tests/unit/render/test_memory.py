"""Predictions grow with what is decoded, held and encoded; a script measures reality."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.photo.header import Header
from worker.photo.ladder import DEFAULT_LADDER, Ladder
from worker.photo.looks import Looks
from worker.photo.recipe import Recipe
from worker.render.memory import header_bytes, largest_pixels, limit_bytes, peak_bytes

MIB = 1 << 20
RECIPE = Recipe(ladder=DEFAULT_LADDER, looks=Looks(quality=80, effort=4, full_effort=2), codec="")
PHOTO = Header(format="jpeg", width=6000, height=4000, bands=3, bits=8)


def looking(**looks: int) -> Recipe:
    return dataclasses.replace(RECIPE, looks=dataclasses.replace(RECIPE.looks, **looks))  # type: ignore[arg-type]


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
    searching = looking(full_effort=3)
    fine = looking(full_effort=3, quality=95)
    peaks = [peak_bytes(PHOTO, 6 * MIB, recipe) for recipe in (RECIPE, searching, fine)]
    assert peaks == sorted(set(peaks))


def test_the_highest_qualities_take_more_at_low_efforts_too() -> None:
    peaks = [peak_bytes(PHOTO, 12 * MIB, looking(quality=quality)) for quality in (80, 100)]
    assert peaks == sorted(set(peaks))


@pytest.mark.parametrize("effort", range(3, 7))
def test_what_is_noise_takes_more_to_search(effort: int) -> None:
    recipe = looking(full_effort=effort)
    plain, busy = (peak_bytes(PHOTO, size * MIB, recipe) for size in (3, 18))
    assert busy > plain + 5 * PHOTO.pixels


@given(quality=st.integers(1, 100), effort=st.integers(0, 6), full_effort=st.integers(0, 6))
def test_every_recipe_is_predicted_and_none_takes_less_than_its_picture(
    quality: int, effort: int, full_effort: int
) -> None:
    recipe = looking(quality=quality, effort=effort, full_effort=full_effort)
    for header in (PHOTO, dataclasses.replace(PHOTO, bands=4, has_alpha=True)):
        frame = 2.5 if header.has_alpha else 1.5
        assert peak_bytes(header, MIB, recipe) > header.pixels * (header.bands + frame)


def test_a_turned_or_mirrored_picture_is_there_twice() -> None:
    copied = dataclasses.replace(PHOTO, copied=True)
    assert peak(copied) > 6 * PHOTO.pixels + 6 * MIB
    assert peak(copied) > peak(PHOTO)


def test_a_decoder_is_gone_before_there_are_two_pictures() -> None:
    webp = dataclasses.replace(PHOTO, format="webp")
    assert peak(dataclasses.replace(webp, copied=True)) == peak(webp)


def test_a_panorama_beyond_webps_size_is_there_a_second_time() -> None:
    panorama = dataclasses.replace(PHOTO, width=16384, height=4000)
    clamped = peak(panorama) - peak(dataclasses.replace(panorama, width=16383))
    assert clamped > 3 * 16383 * 3900 // 2
    assert peak(panorama) > 3 * 16384 * 4000 + 3 * 16383 * 3900


@pytest.mark.parametrize("turned", [False, True])
def test_what_is_read_row_by_row_keeps_rows_of_its_stored_width(*, turned: bool) -> None:
    """A decoder reads a wide picture ahead by many bytes, and a tall one by few."""
    wide = dataclasses.replace(PHOTO, width=60_000, height=1000, turned=turned)
    tall = dataclasses.replace(PHOTO, width=1000, height=60_000, turned=turned)
    more, less = (tall, wide) if turned else (wide, tall)
    ladder = dataclasses.replace(RECIPE, ladder=Ladder.parse("320"))
    rows = peak_bytes(more, MIB, ladder) - 3 * PHOTO.pixels
    assert rows > 600 * 60_000 * 3
    assert peak_bytes(less, MIB, ladder) < peak_bytes(more, MIB, ladder)


@pytest.mark.parametrize(("chroma", "bits"), [("444", 8), ("420", 16), ("", 8)])
def test_finer_planes_of_an_avif_take_more(chroma: str, bits: int) -> None:
    usual = dataclasses.replace(PHOTO, format="avif", chroma="420")
    finer = dataclasses.replace(usual, chroma=chroma, bits=bits)
    assert peak(finer) > peak(usual) + PHOTO.pixels
    assert limit_bytes(finer, 0) > limit_bytes(usual, 0) > 0


def test_parts_of_a_tiff_are_held_whole() -> None:
    strips = dataclasses.replace(PHOTO, format="tiff", part_rows=8)
    one = dataclasses.replace(strips, part_rows=4000)
    assert peak(one, 60 * MIB) - peak(strips, 60 * MIB) > 59 * MIB
    assert peak(dataclasses.replace(strips, part_rows=0), 60 * MIB) == peak(one, 60 * MIB)
    tiles = dataclasses.replace(strips, part_rows=128, tiled=True, bits=32)
    tall = dataclasses.replace(tiles, part_rows=4096)
    assert peak(tall, 60 * MIB) - peak(tiles, 60 * MIB) > 3600 * 6000 * 3 * 4


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
