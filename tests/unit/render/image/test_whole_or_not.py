"""Files that end oddly: what has all of its rows is a photo, what lacks some is none."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

from tests.support.skeletons import segment
from tests.support.small_pictures import corners, jpeg, noise
from worker.errors import CorruptOriginal, Permanent
from worker.photo.limits import Limits
from worker.render.image.decode import open_original

import pyvips  # isort: skip

LIMITS = Limits(max_original_bytes=sys.maxsize, max_original_pixels=20_000_000)
EOI = b"\xff\xd9"


def rendered(data: bytes) -> Any:
    return open_original(data, LIMITS).decode().image


def same(data: bytes, whole: bytes) -> bool:
    """By colour: a GIF has alpha if any of its frames has."""
    one, other = (rendered(each).extract_band(0, n=3) for each in (data, whole))
    return bytes(one.write_to_memory()) == bytes(other.write_to_memory())


def encoded(**options: Any) -> bytes:
    return bytes(noise(200, 120).jpegsave_buffer(**options))


PLAIN = encoded(Q=90)
PROGRESSIVE = encoded(interlace=True)
OPTIMISED = encoded(optimize_coding=True)
RESTARTS = encoded(restart_interval=5)
JPEGS = pytest.mark.parametrize("whole", [PLAIN, PROGRESSIVE, OPTIMISED, RESTARTS])


@JPEGS
@pytest.mark.parametrize("end", [b"", b"\xff", bytes(40), bytes(4000), bytes(4000) + EOI])
def test_a_jpeg_with_all_of_its_rows_needs_no_end(whole: bytes, end: bytes) -> None:
    assert same(whole[:-2] + end, whole)


@JPEGS
@pytest.mark.parametrize("end", [b"", b"\xff", bytes(40), bytes(4000), EOI])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_a_jpeg_that_lacks_rows_is_corrupt_whatever_its_end(
    whole: bytes, end: bytes, share: float
) -> None:
    if whole is PROGRESSIVE and end == EOI:
        return  # its last scan only adds detail
    with pytest.raises(CorruptOriginal):
        rendered(whole[: int(len(whole) * share)] + end)


def test_a_progressive_jpeg_cut_between_its_scans_is_corrupt() -> None:
    scans = [at for at in range(len(PROGRESSIVE)) if PROGRESSIVE.startswith(b"\xff\xda", at)]
    for at in scans:
        with pytest.raises(CorruptOriginal):
            rendered(PROGRESSIVE[:at])


def test_a_second_picture_behind_one_without_an_end_is_left_aside() -> None:
    assert same(PLAIN[:-2] + jpeg(corners()), PLAIN)
    with pytest.raises(CorruptOriginal):
        rendered(PLAIN[: len(PLAIN) // 2] + jpeg(corners()))


@pytest.mark.parametrize("tail", [b"\xff\xd0", b"\x12\x34\x56" * 9, bytes(20)])
def test_what_stands_behind_the_last_row_is_no_damage(tail: bytes) -> None:
    assert same(PLAIN[:-2] + tail + EOI, PLAIN)


@pytest.mark.parametrize("before", [b"\xc4", b"\xda", b"\xd9"])
def test_bytes_that_no_code_used_are_damage(before: bytes) -> None:
    """As after bytes were added or lost; libjpeg skips them and draws on."""
    at = PROGRESSIVE.rindex(b"\xff" + before)
    with pytest.raises(CorruptOriginal, match=f"extraneous bytes before marker 0x{before.hex()}"):
        rendered(PROGRESSIVE[:at] + b"\x55\x66\x77" * 9 + PROGRESSIVE[at:])


def test_zeros_before_restart_markers_are_a_webcams_padding() -> None:
    at, padded = 0, b""
    for marker in re.finditer(rb"\xff[\xd0-\xd7]", RESTARTS):
        padded += RESTARTS[at : marker.start()] + bytes(12)
        at = marker.start()
    assert same(padded + RESTARTS[at:], RESTARTS)
    lost = RESTARTS.index(b"\xff\xd3")
    with pytest.raises(CorruptOriginal):
        rendered(RESTARTS[: lost - 90] + bytes(90) + RESTARTS[lost:])


def test_the_same_bytes_before_the_first_scan_are_none() -> None:
    at = PLAIN.index(b"\xff\xc4")
    assert same(PLAIN[:at] + b"\x55\x66" + PLAIN[at:], PLAIN)


@pytest.mark.parametrize("code", [0xC0, 0xDA])
@pytest.mark.parametrize("cut", [2, 3, 4, 5, 7, 9])
def test_a_jpeg_cut_in_a_header_is_corrupt(code: int, cut: int) -> None:
    at = PLAIN.index(bytes([0xFF, code]))
    for data in (PLAIN[: at + cut], PLAIN[:at] + segment(code, bytes(cut)) + PLAIN[at:]):
        with pytest.raises(CorruptOriginal, match="header"):
            rendered(data)


def frames(**options: Any) -> bytes:
    image = noise(90, 60)
    both = pyvips.Image.arrayjoin([image, image.fliphor()], across=1).copy()
    both.set_type(pyvips.GValue.gint_type, "page-height", 60)
    return bytes(both.gifsave_buffer(**options))


GIF = frames()
SECOND = GIF.rindex(b"\x21\xf9")


@pytest.mark.parametrize("interlace", [False, True])
@pytest.mark.parametrize("bits", [1, 8])
def test_a_gif_is_its_first_frame_whatever_follows(interlace: bool, bits: int) -> None:  # noqa: FBT001
    whole = frames(interlace=interlace, bitdepth=bits)
    second = whole.rindex(b"\x21\xf9")
    for tail in (b"junk behind it", bytes(300), b"\0junk", whole[second:-40], b"\xff" * 9):
        assert same(whole[:second] + tail, whole)


@pytest.mark.parametrize("tail", [b"", bytes(300), bytes(300) + GIF[SECOND:], b"\0junk"])
def test_a_gif_whose_first_frame_is_cut_is_corrupt(tail: bytes) -> None:
    with pytest.raises(Permanent):
        rendered(GIF[: SECOND // 2] + tail)
