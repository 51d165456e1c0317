"""TIFF directories: pages, and what the manifest keeps of EXIF."""

from __future__ import annotations

import struct

import pytest

from tests.support.skeletons import ASCII, LONG, SHORT, tiff
from worker.errors import CorruptOriginal, OriginalTooLarge
from worker.render.formats.tiff import Exif, directories, read_exif

MAKE, MODEL, EXIF, TAKEN_AT, OFFSET = 0x10F, 0x110, 0x8769, 0x9003, 0x9011


def exif(
    maker: bytes = b"",
    model: bytes = b"",
    taken_at: bytes = b"",
    offset: bytes = b"",
    order: str = "<",
) -> bytes:
    first = [(MAKE, ASCII, maker + b"\0"), (MODEL, ASCII, model + b"\0")]
    details = [(TAKEN_AT, ASCII, taken_at + b"\0\0\0\0"), (OFFSET, ASCII, offset + b"\0\0\0\0")]
    # The second directory stands in for the one that the tag points to.
    second_at = 8 + 2 + 12 * 3 + 4
    return b"Exif\0\0" + tiff([*first, (EXIF, LONG, second_at)], details, order=order)


@pytest.mark.parametrize("order", ["<", ">"])
def test_time_and_camera_are_read(order: str) -> None:
    block = exif(b"Apple", b"iPhone 7", b"2019:03:21 11:04:22", b"+07:00", order)
    assert read_exif(block) == Exif(taken_at="2019-03-21T11:04:22+07:00", camera="Apple iPhone 7")


@pytest.mark.parametrize(
    ("maker", "model", "camera"),
    [
        (b"NIKON CORPORATION", b"NIKON D90", "NIKON D90"),
        (b"Canon", b"Canon EOS 5D", "Canon EOS 5D"),
        (b"SONY", b"ILCE-7M3", "SONY ILCE-7M3"),
        (b"", b"Pixel 9  ", "Pixel 9"),
        (b"SAMSUNG ", b"", "SAMSUNG"),
        (b"    ", b"\x01\x02", None),
        (b"Evil\x1b[31m\n", b"\xff\xfe<b>", "Evil [31m <b>"),
        (b"A" * 300, b"B", ("A" * 80)),
        (b"", b"", None),
    ],
)
def test_a_camera_is_a_short_clean_line(maker: bytes, model: bytes, camera: str | None) -> None:
    assert read_exif(exif(maker, model)).camera == camera


@pytest.mark.parametrize("text", [b"0000:00:00 00:00:00", b"    :  :     :  :  ", b"yesterday"])
def test_a_camera_without_a_clock_states_no_time(text: bytes) -> None:
    assert read_exif(exif(taken_at=text)).taken_at is None


@pytest.mark.parametrize(
    "text", [b"2019:99:99 88:99:77", b"2019:02:31 10:00:00", b"2019:00:00 00:00:00"]
)
def test_a_day_that_never_was_is_no_time(text: bytes) -> None:
    assert read_exif(exif(taken_at=text)).taken_at is None


def test_an_offset_that_none_has_is_left_out() -> None:
    block = exif(taken_at=b"2019:02:03 10:00:00", offset=b"+99:99")
    assert read_exif(block).taken_at == "2019-02-03T10:00:00"


@pytest.mark.parametrize("block", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"nonsense"])
def test_a_damaged_block_says_nothing(block: bytes) -> None:
    assert read_exif(block) == Exif()


def test_no_cut_of_a_block_is_an_error() -> None:
    block = exif(b"Apple", b"iPhone 7", b"2019:03:21 11:04:22", b"+07:00")
    for end in range(len(block)):
        read_exif(block[:end])


def test_pages_are_counted() -> None:
    assert len(list(directories(tiff(*[[(0x100, SHORT, 1)]] * 3), 10))) == 3


@pytest.mark.parametrize(
    "data",
    [
        b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x100, 3, 1, 1) + struct.pack("<I", 8),
        b"II*\0\x08\0\0\0\0\0\0\0\0\0",
        b"II*\0\x08\0\0\0\xff\xff" + bytes(100),
        b"II*\0\xff\0\0\0" + bytes(100),
        b"II*\0",
    ],
    ids=["loop", "empty", "too-long", "outside", "short"],
)
def test_a_chain_without_an_end_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptOriginal):
        list(directories(data, 10))


def test_too_many_pages_are_too_large() -> None:
    with pytest.raises(OriginalTooLarge, match="more than 10 pages"):
        list(directories(tiff(*[[(0x100, SHORT, 1)]] * 11), 10))


DATE_TIME, DIGITIZED, DIGITIZED_OFFSET = 0x132, 0x9004, 0x9012


_Entry = tuple[int, int, int | bytes]


def dated(plain: bytes, *details: tuple[int, bytes]) -> bytes:
    """An EXIF block with a DateTime and these tags of its second directory."""
    entries: list[_Entry] = [(tag, ASCII, value + b"\0\0\0\0") for tag, value in details]
    first: list[_Entry] = [
        (DATE_TIME, ASCII, plain + b"\0\0\0\0"),
        (0x8769, LONG, -1),
    ]
    head = tiff(first)
    body = tiff(entries)[8:] if entries else b""
    moved = bytearray(body)
    for number in range(len(entries)):
        at = 2 + 12 * number + 8
        (place,) = struct.unpack_from("<I", body, at)
        struct.pack_into("<I", moved, at, place - 8 + len(head))
    return b"Exif\0\0" + head + bytes(moved)


ZEROS = b"0000:00:00 00:00:00"
CHANGED, SCANNED = b"2018:03:04 05:06:07", b"2019:02:03 04:05:06"


@pytest.mark.parametrize(
    ("plain", "details", "expected"),
    [
        (CHANGED, [(DIGITIZED, SCANNED)], "2019-02-03T04:05:06"),
        (CHANGED, [(TAKEN_AT, ZEROS), (DIGITIZED, SCANNED)], "2019-02-03T04:05:06"),
        (CHANGED, [(TAKEN_AT, b"    :  :     :  :  ")], "2018-03-04T05:06:07"),
        (CHANGED, [], "2018-03-04T05:06:07"),
        (ZEROS, [(TAKEN_AT, ZEROS), (DIGITIZED, ZEROS)], None),
        (ZEROS, [(DIGITIZED, SCANNED), (OFFSET, b"+05:00")], "2019-02-03T04:05:06"),
        (
            ZEROS,
            [(DIGITIZED, SCANNED), (DIGITIZED_OFFSET, b"+02:00")],
            "2019-02-03T04:05:06+02:00",
        ),
    ],
)
def test_the_first_date_that_is_one_counts_with_its_own_offset(
    plain: bytes, details: list[tuple[int, bytes]], expected: str | None
) -> None:
    assert read_exif(dated(plain, *details)).taken_at == expected
