"""Skeletons: what is counted, what is too much, and where a file ends too early."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import pytest

from tests.support.skeletons import chunk, png, segment
from tests.support.small_pictures import corners
from worker.errors import CorruptOriginal, OriginalTooLarge, UnsupportedFormat
from worker.render.formats.skeleton import MAX_PAGES, MAX_PROFILE_BYTES, Anatomy, dissect
from worker.render.image.vips import pyvips


def encoded(form: str, **options: Any) -> bytes:
    return bytes(getattr(corners(), form)(**options))


def frames(form: str, **options: Any) -> bytes:
    image = corners(60, 40)
    three = image.join(image.fliphor(), "vertical").join(image.rot180(), "vertical").copy()
    three.set_type(pyvips.GValue.gint_type, "page-height", 40)
    return bytes(getattr(three, form)(**options))


WHOLE = {
    "jpeg": encoded("jpegsave_buffer"),
    "png": encoded("pngsave_buffer"),
    "webp": encoded("webpsave_buffer"),
    "gif": encoded("gifsave_buffer"),
    "avif": encoded("heifsave_buffer", compression="av1"),
    "tiff": encoded("tiffsave_buffer"),
}


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "gif"])
def test_the_size_is_found_without_a_decoder(name: str) -> None:
    anatomy = dissect(name, WHOLE[name])
    assert (anatomy.width, anatomy.height, anatomy.pages) == (60, 40, 1)


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"Q": 1}])
def test_every_kind_of_webp_states_its_size(options: dict[str, Any]) -> None:
    alpha = bytes(corners().bandjoin(9).webpsave_buffer(**options))
    for data in (alpha, encoded("webpsave_buffer", **options)):
        assert (dissect("webp", data).width, dissect("webp", data).height) == (60, 40)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("gif", frames("gifsave_buffer")),
        ("webp", frames("webpsave_buffer")),
        ("tiff", frames("tiffsave_buffer", page_height=40)),
        ("png", png(chunk(b"acTL", struct.pack(">II", 3, 0)))),
    ],
)
def test_pages_and_frames_are_counted(name: str, data: bytes) -> None:
    assert dissect(name, data).pages == 3


@pytest.mark.parametrize("name", ["png", "webp", "gif", "avif"])
def test_a_file_that_ends_early_is_corrupt(name: str) -> None:
    whole = WHOLE[name]
    for end in {len(whole) // 3, len(whole) // 2, len(whole) * 9 // 10, len(whole) - 2}:
        with pytest.raises(CorruptOriginal):
            dissect(name, whole[:end])


@pytest.mark.parametrize("name", WHOLE)
def test_what_follows_a_whole_picture_is_not_its_business(name: str) -> None:
    assert dissect(name, WHOLE[name] + b"\0\0garbage" * 50) == dissect(name, WHOLE[name])


def test_a_gif_may_lack_its_trailer_but_no_block() -> None:
    assert dissect("gif", WHOLE["gif"][:-1]).pages == 1
    with pytest.raises(CorruptOriginal):
        dissect("gif", WHOLE["gif"][:-2])


def test_a_gif_frame_larger_than_its_screen_counts() -> None:
    frame = struct.pack("<BHHHHB", 0x2C, 10, 0, 20_000, 30_000, 0) + b"\x02\x01\x00\x00"
    gif = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + frame + b";"
    anatomy = dissect("gif", gif)
    assert (anatomy.width, anatomy.height) == (20_010, 30_000)


def test_a_gif_without_a_frame_is_corrupt() -> None:
    with pytest.raises(CorruptOriginal, match="frame"):
        dissect("gif", b"GIF89a" + bytes(7) + b";")


def gif(*parts: bytes, screen: tuple[int, int] = (20, 20)) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", *screen, 0, 0, 0) + b"".join(parts)


def gif_frame(left: int, top: int, width: int, height: int) -> bytes:
    return struct.pack("<BHHHHB", 0x2C, left, top, width, height, 0) + b"\x02\x01\x00\x00"


def test_a_gif_whose_blocks_end_in_zeros_was_interrupted() -> None:
    frame = gif_frame(0, 0, 20, 20)
    dissect("gif", gif(frame, b"\0\0", frame, b";"))  # some writers end their blocks twice
    for tail in (bytes(500), bytes(3), b"\x05 of another file"):
        with pytest.raises(CorruptOriginal, match="no block"):
            dissect("gif", gif(frame, tail))


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ((0, 0, 20, 20), None),
        ((0, 0, 30, 20), None),
        ((5, 0, 15, 20), (5, 0, 15, 20)),
        ((0, 0, 20, 10), (0, 0, 20, 10)),
        ((10, 10, 30, 30), (10, 10, 30, 30)),
    ],
)
def test_what_a_first_gif_frame_leaves_open_is_known(
    frame: tuple[int, int, int, int], expected: tuple[int, int, int, int] | None
) -> None:
    assert dissect("gif", gif(gif_frame(*frame), gif_frame(0, 0, 1, 1), b";")).frame == expected


def test_a_png_of_apples_own_kind_is_not_read() -> None:
    with pytest.raises(UnsupportedFormat, match="CgBI"):
        dissect("png", png(chunk(b"CgBI", b"\x50\0\x20\6")))


def test_what_a_jpeg_needs_mended_is_passed_on() -> None:
    scan = segment(0xDA, b"\x01\x01\x00\x00\x00\x00")
    frame = segment(0xC0, b"\x08" + struct.pack(">HH", 30, 20) + b"\x01\x01\x11\x00")
    data = b"\xff\xd8" + frame + scan + b"\x12\xff\xd9"
    place = data.index(scan) + len(scan) - 3
    assert dissect("jpeg", data) == Anatomy(width=20, height=30, mends=[(place, b"\0\x3f\0")])


def test_too_many_frames_are_refused() -> None:
    frame = struct.pack("<BHHHHB", 0x2C, 0, 0, 1, 1, 0) + b"\x02\x00"
    with pytest.raises(OriginalTooLarge, match="frames"):
        dissect("gif", b"GIF89a" + bytes(7) + frame * (MAX_PAGES + 1) + b";")
    with pytest.raises(OriginalTooLarge, match="frames"):
        dissect("png", png(chunk(b"acTL", struct.pack(">II", MAX_PAGES + 1, 0))))


def profile(size: int) -> bytes:
    return chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(size)))


def test_a_profile_is_measured_inflated() -> None:
    assert dissect("png", png(profile(500))).profile_bytes == 500
    with pytest.raises(OriginalTooLarge, match="profile"):
        dissect("png", png(profile(MAX_PROFILE_BYTES + 1)))


@pytest.mark.parametrize(
    "text",
    [
        chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(9 << 20))),
        chunk(b"iTXt", b"key\0\1\0en\0key\0" + zlib.compress(bytes(9 << 20))),
        chunk(b"eXIf", bytes(9 << 20)),
    ],
)
def test_metadata_is_measured_inflated(text: bytes) -> None:
    dissect("png", png(text))
    with pytest.raises(OriginalTooLarge, match="metadata"):
        dissect("png", png(text, text))
