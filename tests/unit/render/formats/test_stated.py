"""Colour by numbers: which of several statements counts, and what nonsense comes to."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from worker.render.formats.stated import HLG, PQ, PngColour, Stated, by_numbers, hdr_profile

P3 = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
REC709 = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)


def gama(value: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(value * 100_000))


def chrm(points: tuple[float, ...]) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(point * 100_000) for point in points))


def stated(*chunks: tuple[bytes, bytes]) -> Stated | None:
    colour = PngColour()
    for kind, chunk in chunks:
        colour.take(kind, chunk)
    return colour.stated()


def test_of_several_chunks_the_highest_counts() -> None:
    cicp, srgb = (b"cICP", b"\x0c\x0d\0\1"), (b"sRGB", b"\0")
    wide = by_numbers(12, 13)
    assert wide is not None
    assert stated(gama(1.0), chrm(P3), srgb, cicp) == replace(wide, outranks=True)
    assert stated(gama(1.0), chrm(P3), srgb) is None  # it is sRGB
    linear = stated(gama(1.0))
    assert linear == Stated(gamma=1.0)
    assert not linear.outranks


def test_numbers_that_say_nothing_leave_it_to_the_next_chunk() -> None:
    for numbers in (b"\2\2\0\1", b"\xfa\x0d\0\1", b"\x0c\xfa\0\1", b"\x0c\x0d\1\1", b"\x0c\x0d"):
        assert stated((b"cICP", numbers), gama(1.0)) == Stated(gamma=1.0), numbers


def test_a_png_that_says_srgb_in_numbers_is_plain_and_outranks_its_profile() -> None:
    plain = stated((b"cICP", b"\x01\x0d\0\1"))
    assert plain is not None
    assert (plain.plain, plain.outranks) == (True, True)


def test_codes_of_16_to_235_are_told_by_the_range() -> None:
    for flag, narrow in ((0, True), (1, False)):
        colour = PngColour()
        colour.take(b"cICP", bytes([1, 13, 0, flag]))
        assert colour.narrow is narrow


@pytest.mark.parametrize("points", [(), REC709])
def test_the_usual_gamma_with_the_usual_primaries_is_srgb(points: tuple[float, ...]) -> None:
    assert stated(gama(0.45455), *([chrm(points)] if points else [])) is None


@pytest.mark.parametrize(
    "chunk",
    [
        gama(0),
        gama(40_000),
        (b"gAMA", b"\0"),
        (b"cHRM", bytes(32)),
        (b"cHRM", b"\xff" * 32),
        (b"cHRM", struct.pack(">8I", *([33_333, 33_333] * 4))),
        (b"cHRM", bytes(3)),
    ],
)
def test_nonsense_counts_as_nothing(chunk: tuple[bytes, bytes]) -> None:
    assert stated(chunk) is None


def test_the_matrix_of_a_gamut_is_the_published_one() -> None:
    wide = by_numbers(9, 16)
    assert wide is not None
    assert wide.matrix is not None
    published = (  # ITU-R BT.2087-0, annex 2, inverted
        (1.6605, -0.5876, -0.0728),
        (-0.1246, 1.1329, -0.0083),
        (-0.0182, -0.1006, 1.1187),
    )
    for row, expected in zip(wide.matrix, published, strict=True):
        assert row == pytest.approx(expected, abs=1e-4)


def profile(**tags: bytes) -> bytes:
    """The tags of a profile."""
    at = 132 + 12 * len(tags)
    table, body = b"", b""
    for name, tag in tags.items():
        table += struct.pack(">4sII", name.encode(), at + len(body), len(tag))
        body += tag
    return bytes(128) + struct.pack(">I", len(tags)) + table + body


def cicp(primaries: int, transfer: int) -> bytes:
    return b"cicp" + bytes([0, 0, 0, 0, primaries, transfer, 0, 1])


def test_a_profile_means_hdr_by_its_numbers_or_by_its_curves() -> None:
    assert hdr_profile(profile(cicp=cicp(9, 16)), None) == by_numbers(9, 16)
    assert hdr_profile(profile(cicp=cicp(9, 18)), None) == by_numbers(9, 18)
    ordinary = b"curv" + struct.pack(">II1024H", 0, 1024, *(n * n // 16 for n in range(1024)))
    assert hdr_profile(profile(rTRC=ordinary, cicp=cicp(1, 13)), None) is None
    assert hdr_profile(profile(rTRC=b"curv" + struct.pack(">IIH", 0, 1, 563)), None) is None


def test_numbers_beside_a_profile_of_tables_count_where_they_are_hdr() -> None:
    tables = profile(A2B0=b"mAB ")
    for transfer in (PQ, HLG):
        assert hdr_profile(tables, by_numbers(9, transfer)) == by_numbers(9, transfer)
    assert hdr_profile(tables, by_numbers(12, 13)) is None
    ordinary = profile(rTRC=b"curv" + struct.pack(">IIH", 0, 1, 563))
    assert hdr_profile(ordinary, by_numbers(9, PQ)) is None


def test_no_cut_of_a_profile_is_an_error() -> None:
    table = struct.pack(">II64H", 0, 64, *(n * 1000 for n in range(64)))
    whole = profile(rTRC=b"curv" + table, rXYZ=bytes(20), gXYZ=bytes(20), cicp=cicp(9, 16))
    for end in range(len(whole)):
        hdr_profile(whole[:end], None)
