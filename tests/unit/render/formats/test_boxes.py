"""The boxes of AVIF and HEIC: what is the primary picture's, and whether all of it is there."""

from __future__ import annotations

import struct

import pytest

from tests.support.skeletons import box, full_box, heif
from worker.errors import CorruptOriginal, OriginalTooLarge, UnsupportedFormat
from worker.render.formats.boxes import Boxes, walk_boxes
from worker.render.formats.skeleton import dissect


@pytest.mark.parametrize("extent", [(0, 100_000), (1 << 31, 4), (200, 1 << 31)])
def test_an_item_outside_the_file_is_corrupt(extent: tuple[int, int]) -> None:
    walk_boxes(heif())
    with pytest.raises(CorruptOriginal, match="the file ends"):
        walk_boxes(heif(extent=extent))


def test_a_box_that_is_cut_is_corrupt_and_a_cut_appendix_is_not() -> None:
    whole = heif()
    with pytest.raises(CorruptOriginal, match="mdat"):
        walk_boxes(whole[:-1])
    walk_boxes(whole + box(b"sefd", bytes(50))[:-10])


@pytest.mark.parametrize(("sizes", "per_extent"), [(0, 0), (0x4400, 8)])
def test_extents_without_end_are_refused_at_the_first(sizes: int, per_extent: int) -> None:
    item = struct.pack(">HHH", 1, 0, 2000) + bytes(per_extent * 2000)
    table = full_box(b"iloc", struct.pack(">HH", sizes, 1), item)
    with pytest.raises(CorruptOriginal, match="2,000 extents"):
        walk_boxes(box(b"ftyp", b"heic", bytes(4)) + full_box(b"meta", table))


@pytest.mark.parametrize("kind", [b"E\xeaif", b"\xff\xff\xff\xff"])
def test_an_item_whose_type_is_no_text_is_corrupt(kind: bytes) -> None:
    """pi_heif looks it up as text, and crashes."""
    walk_boxes(heif(kinds=(b"hvc1", b"Exif")))
    with pytest.raises(CorruptOriginal, match="no readable name"):
        walk_boxes(heif(kinds=(b"hvc1", kind)))


def test_a_content_type_that_is_no_text_is_corrupt() -> None:
    entry = full_box(
        b"infe", struct.pack(">HH4s", 2, 0, b"mime"), b"\0application/xml\0", version=2
    )
    walk_boxes(box(b"ftyp", b"heic", bytes(4)) + _with_entry(entry))
    with pytest.raises(CorruptOriginal, match="no readable name"):
        walk_boxes(box(b"ftyp", b"heic", bytes(4)) + _with_entry(entry.replace(b"xml", b"\xe9ml")))


def _with_entry(entry: bytes) -> bytes:
    return full_box(b"meta", full_box(b"iinf", struct.pack(">H", 1), entry))


def nclx(primaries: int, transfer: int) -> bytes:
    return box(b"colr", b"nclx", struct.pack(">HHHB", primaries, transfer, 6, 128))


def test_colour_numbers_are_those_of_the_primary_item() -> None:
    both = nclx(12, 16) + nclx(9, 18)
    assert walk_boxes(heif(properties=both)).nclx == (12, 16)
    assert walk_boxes(heif(properties=both, has=[2])).nclx == (9, 18)
    assert walk_boxes(heif(properties=both, has=[])).nclx is None  # a thumbnail's, a gain map's
    assert walk_boxes(heif()).nclx is None


def test_a_grid_is_of_the_colours_of_its_tiles() -> None:
    tiles = box(b"dimg", struct.pack(">HHH", 2, 1, 1))
    mine = box(b"dimg", struct.pack(">HHH", 1, 1, 1))
    assert walk_boxes(heif(properties=nclx(12, 16), references=mine)).nclx == (12, 16)
    assert walk_boxes(heif(properties=nclx(12, 16), has=[], references=tiles)).nclx is None


def test_multiplied_colours_are_known() -> None:
    assert walk_boxes(heif(references=box(b"prem", struct.pack(">HHH", 1, 1, 2)))).premultiplied
    assert not walk_boxes(heif(references=box(b"auxl", struct.pack(">HHH", 2, 1, 1)))).premultiplied
    assert not walk_boxes(heif(references=box(b"prem", struct.pack(">HHH", 3, 1, 2)))).premultiplied


@pytest.mark.parametrize(
    ("flags", "chroma", "bits"),
    [
        (0b0000_1100, "420", 8),
        (0b0100_1000, "422", 10),
        (0b0110_0000, "444", 12),
        (0b0001_1100, "400", 8),
    ],
)
def test_how_an_avif_is_coded_is_read(flags: int, chroma: str, bits: int) -> None:
    found = walk_boxes(heif(properties=box(b"av1C", bytes([0x81, 4, flags, 0])), kinds=[b"av01"]))
    assert (found.chroma, found.coded_bits) == (chroma, bits)


def test_how_a_heic_is_coded_is_read() -> None:
    hvcc = bytes([1]) + bytes(15) + bytes([0xFC | 2, 0xF8 | 2, 0xF8 | 2]) + bytes(4)
    found = walk_boxes(heif(properties=box(b"hvcC", hvcc)))
    assert (found.chroma, found.coded_bits) == ("422", 10)


def test_zeros_in_hevc_are_an_interrupted_copy() -> None:
    sound = b"\x00\x00\x01\x26" * 25
    walk_boxes(heif(extent=(-1, 100), data=sound))
    damaged = sound[:20] + bytes(64) + sound[84:]
    with pytest.raises(CorruptOriginal, match="zeros"):
        walk_boxes(heif(extent=(-1, 100), data=damaged))
    for kinds in ([b"av01"], [b"Exif"], [b"grid", b"hvc1"]):
        walk_boxes(heif(extent=(-1, 100), data=damaged, kinds=kinds))


@pytest.mark.parametrize("kind", [b"Exif", b"mime"])
def test_metadata_and_profiles_are_measured(kind: bytes) -> None:
    data = bytes(17 << 20)
    walk_boxes(heif(extent=(-1, len(data)), data=data, kinds=[kind]))
    with pytest.raises(OriginalTooLarge, match="metadata"):
        dissect("heic", heif(extent=(-1, len(data)), data=data, kinds=[kind]))
    profile = box(b"colr", b"prof", bytes(9_000_000))
    with pytest.raises(OriginalTooLarge, match="profile"):
        dissect("avif", heif(properties=profile))


def test_no_cut_and_no_flip_of_the_tables_is_a_bug() -> None:
    whole = heif(
        properties=nclx(1, 13) + box(b"hvcC", bytes(30)),
        references=box(b"dimg", struct.pack(">HHHH", 1, 2, 1, 9)),
    )
    for at in range(len(whole)):
        for data in (whole[:at], whole[:at] + b"\xff" + whole[at + 1 :]):
            try:
                assert isinstance(walk_boxes(data), Boxes)
            except CorruptOriginal:
                continue


def test_a_film_without_a_still_picture_is_unsupported_not_corrupt() -> None:
    film = box(b"moov", bytes(20))
    walk_boxes(heif() + film)
    for meta in (b"", full_box(b"meta", box(b"hdlr", bytes(20)))):
        with pytest.raises(UnsupportedFormat, match="still picture"):
            walk_boxes(box(b"ftyp", b"avis", bytes(4)) + meta + film)
