"""How a TIFF is stored: which page, whether all of it is there, and what is not read rightly."""

from __future__ import annotations

import struct

import pytest

from tests.support.skeletons import ASCII, LONG, SHORT, tiff
from tests.support.small_pictures import corners
from worker.errors import CorruptOriginal, OriginalTooLarge, UnsupportedFormat
from worker.render.formats.skeleton import dissect
from worker.render.formats.tiff_layout import survey_tiff

SUBFILE_TYPE, BITS, COMPRESSION, PHOTOMETRIC, PLACE, SAMPLES = 254, 258, 259, 262, 273, 277
SIZE, PLANES, TILE_WIDTH, TILE_PLACE, TILE_SIZE, FORMAT = 279, 284, 322, 324, 325, 339

Entry = tuple[int, int, int | bytes]


def stored(*changes: tuple[int, int], tail: bytes = b"pixels", tiled: bool = False) -> bytes:
    """A page with these tags instead of ordinary ones."""
    place, size = (TILE_PLACE, TILE_SIZE) if tiled else (PLACE, SIZE)
    tags = {BITS: 8, COMPRESSION: 1, PHOTOMETRIC: 2, SAMPLES: 3, place: -1, size: 6}
    if tiled:
        tags[TILE_WIDTH] = 16
    tags |= dict(changes)
    entries: list[Entry] = [
        (tag, LONG if tag in {place, size} else SHORT, value) for tag, value in tags.items()
    ]
    return tiff(entries, tail=tail)


@pytest.mark.parametrize("tiled", [False, True])
def test_a_strip_or_tile_must_be_in_the_file(*, tiled: bool) -> None:
    assert survey_tiff(stored(tiled=tiled), 9).tiled == tiled
    with pytest.raises(CorruptOriginal, match="the file ends at byte"):
        survey_tiff(stored(tail=b"pixel", tiled=tiled), 9)


def test_places_that_are_not_in_the_file_are_corrupt() -> None:
    data = bytearray(bytes(corners(64, 64).tiffsave_buffer(tile=True, tile_width=16)))
    at = data.index(struct.pack("<HH", TILE_PLACE, LONG)) + 4
    data[at : at + 4] = struct.pack("<I", 1 << 19)
    with pytest.raises(CorruptOriginal, match="values"):
        survey_tiff(bytes(data), 9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([(COMPRESSION, 50000)], "Zstandard"),
        ([(COMPRESSION, 34712)], "JPEG 2000"),
        ([(COMPRESSION, 7), (BITS, 16)], "JPEG of 16 bits"),
        ([(COMPRESSION, 6)], "JPEG of the old kind"),
        ([(COMPRESSION, 4321)], "number 4321"),
        ([(BITS, 32)], "32 bits"),
        ([(BITS, 12)], "12 bits"),
        ([(BITS, 16), (FORMAT, 2)], "signed numbers of 16"),
        ([(BITS, 64), (FORMAT, 3)], "floating point numbers of 64"),
        ([(BITS, 32), (FORMAT, 6)], "32 bits"),
        ([(BITS, 4)], "4 bits each"),
        ([(PHOTOMETRIC, 6)], "YCbCr"),
        ([(PHOTOMETRIC, 6), (COMPRESSION, 5)], "YCbCr"),
        ([(PHOTOMETRIC, 32844)], "32844"),
        ([(PHOTOMETRIC, 8), (COMPRESSION, 7)], "CIELAB"),
    ],
)
def test_what_is_not_read_rightly_is_named(changes: list[tuple[int, int]], message: str) -> None:
    with pytest.raises(UnsupportedFormat, match=message):
        survey_tiff(stored(*changes), 9)


@pytest.mark.parametrize(
    "changes",
    [
        [(BITS, 16)],
        [(BITS, 16), (FORMAT, 3)],
        [(BITS, 32), (FORMAT, 3)],
        [(BITS, 8), (FORMAT, 4)],
        [(BITS, 16), (PHOTOMETRIC, 8), (FORMAT, 2)],
        [(BITS, 1), (SAMPLES, 1), (PHOTOMETRIC, 0), (COMPRESSION, 4)],
        [(BITS, 4), (SAMPLES, 1), (PHOTOMETRIC, 3)],
        [(PHOTOMETRIC, 6), (COMPRESSION, 7)],
        [(PHOTOMETRIC, 5), (SAMPLES, 4), (COMPRESSION, 32946)],
        [(COMPRESSION, 50001)],
        [(PLANES, 2)],
    ],
)
def test_what_is_read_passes(changes: list[tuple[int, int]]) -> None:
    assert survey_tiff(stored(*changes), 9).pages == 1


def test_planes_in_tiles_are_not_read() -> None:
    with pytest.raises(UnsupportedFormat, match="tiles of their own"):
        survey_tiff(stored((PLANES, 2), tiled=True), 9)
    survey_tiff(stored((PLANES, 2), (SAMPLES, 1), tiled=True), 9)


def page(reduced: int) -> list[Entry]:
    return [(SUBFILE_TYPE, LONG, reduced), (PHOTOMETRIC, SHORT, 1)]


@pytest.mark.parametrize(
    ("kinds", "chosen"), [([0, 1], 0), ([1, 0, 0], 1), ([1, 1, 2], 2), ([1, 1], 0), ([5, 1, 4], 2)]
)
def test_a_preview_is_not_the_picture(kinds: list[int], chosen: int) -> None:
    layout = survey_tiff(tiff(*map(page, kinds)), 9)
    assert (layout.page, layout.pages) == (chosen, len(kinds))


def test_metadata_and_profiles_are_measured() -> None:
    xmp, profile = (700, 1, bytes(17 << 20)), (34675, 7, bytes(9_000_000))
    for entry, what in ((xmp, "metadata"), (profile, "profile")):
        data = bytearray(
            tiff([(256, SHORT, 1), (PHOTOMETRIC, SHORT, 1), (entry[0], ASCII, entry[2])])
        )
        at = data.index(struct.pack("<HH", entry[0], ASCII))
        data[at + 2] = entry[1]
        with pytest.raises(OriginalTooLarge, match=what):
            dissect("tiff", bytes(data))


@pytest.mark.parametrize("order", ["<", ">"])
def test_eight_bits_of_lab_are_passed_off_as_rgb(order: str) -> None:
    data = tiff([(BITS, SHORT, 8), (PHOTOMETRIC, SHORT, 8), (SAMPLES, SHORT, 3)], order=order)
    layout = survey_tiff(data, 9)
    ((place, value),) = layout.mends
    assert layout.lab
    assert (data[place : place + 2], value) == (
        struct.pack(order + "H", 8),
        struct.pack(order + "H", 2),
    )


def test_numbers_without_a_meaning_are_unsupported() -> None:
    with pytest.raises(UnsupportedFormat, match="no photometric"):
        survey_tiff(tiff([(BITS, SHORT, 8), (PLACE, LONG, -1), (SIZE, LONG, 6)], tail=b"pixels"), 9)
