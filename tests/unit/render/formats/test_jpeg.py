"""JPEG skeletons: scans and previews, kinds that are not read, and pixels that are missing."""

from __future__ import annotations

import struct

import pytest

from tests.support.skeletons import segment
from tests.support.small_pictures import corners, jpeg, noise
from worker.errors import CorruptOriginal, OriginalTooLarge, UnsupportedFormat
from worker.render.formats.jpeg import MAX_SCANS, Skeleton, walk_jpeg

SCAN = segment(0xDA, b"\x01\x01\x00\x00\x3f\x00") + b"\x12\xff\x00\x34\xff\xd0\x56"
END = b"\xff\xd9"


def frame(code: int = 0xC2, width: int = 20, height: int = 30, bits: int = 8) -> bytes:
    return segment(code, struct.pack(">BHH", bits, height, width) + b"\x01\x01\x11\x00")


def test_scans_are_counted_and_previews_are_not() -> None:
    preview = segment(0xE1, b"Exif\0\0" + b"\xff\xd8" + SCAN * 300 + END)
    data = b"\xff\xd8" + preview + frame() + SCAN * 10 + END + SCAN * 500
    assert walk_jpeg(data) == Skeleton(
        width=20, height=30, scans=10, metadata_bytes=len(preview) - 4
    )
    assert walk_jpeg(jpeg(corners())).scans == 1


def test_the_walk_ends_at_too_many_scans() -> None:
    assert walk_jpeg(b"\xff\xd8" + frame() + SCAN * (MAX_SCANS + 5)).scans == MAX_SCANS + 1
    with pytest.raises(OriginalTooLarge, match="segments"):
        walk_jpeg(b"\xff\xd8" + segment(0xFE, b"") * 100_001)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (frame(bits=12), "12 bits"),
        (frame(0xC3, bits=16), "16 bits"),
        (frame(0xF7), "JPEG-LS"),
        (frame(0xC5), "hierarchical"),
        (frame(0xCB), "arithmetic"),
        (frame(height=0), "DNL"),
    ],
)
def test_a_kind_that_no_decoder_reads_is_unsupported_not_corrupt(head: bytes, message: str) -> None:
    with pytest.raises(UnsupportedFormat, match=message):
        walk_jpeg(b"\xff\xd8" + head + SCAN + END)


def test_the_first_frame_counts() -> None:
    data = b"\xff\xd8" + frame(0xC0) + frame(0xF7, 9, 9) + frame(0xC0, 9, 0, 12) + SCAN + END
    assert (walk_jpeg(data).width, walk_jpeg(data).height) == (20, 30)


def scan(*components: int, tail: bytes = b"\0\x3f\0") -> bytes:
    chosen = b"".join(bytes([component, 0]) for component in components)
    return segment(0xDA, bytes([len(components)]) + chosen + tail)


@pytest.mark.parametrize("code", [0xC0, 0xC1])
def test_the_end_of_a_sequential_scans_header_is_put_right(code: int) -> None:
    data = b"\xff\xd8" + frame(code) + scan(1, tail=b"\0\0\0") + b"\x12" + END
    place = data.index(b"\xff\xda") + len(scan(1)) - 3
    assert walk_jpeg(data).mends == [(place, b"\0\x3f\0")]
    assert walk_jpeg(data.replace(b"\0\0\0\x12", b"\0\x3f\0\x12")).mends == []


def test_a_progressive_scan_is_as_it_should_be() -> None:
    assert walk_jpeg(b"\xff\xd8" + frame() + scan(1, tail=b"\0\0\1") + END).mends == []


def restarts(width: int, height: int, interval: int, *numbers: int, factors: str = "11") -> bytes:
    """A scan with these restart markers, of one component or of three."""
    components = [(1, int(factors[:2], 16))] + [(n, 0x11) for n in (2, 3) if len(factors) > 2]
    content = b"".join(bytes([n, sampling, 0]) for n, sampling in components)
    return (
        b"\xff\xd8"
        + segment(0xC0, struct.pack(">BHHB", 8, height, width, len(components)) + content)
        + segment(0xDD, struct.pack(">H", interval))
        + scan(*(n for n, _ in components))
        + b"\x12"
        + b"".join(b"\xff" + bytes([0xD0 + n % 8]) + b"\x34" for n in numbers)
        + END
    )


@pytest.mark.parametrize(
    ("width", "height", "interval", "markers", "factors"),
    [
        (160, 160, 20, 19, "11"),
        (153, 153, 20, 19, "11"),
        (160, 160, 20, 19, "22"),  # a component alone fills no unit up
        (320, 320, 20, 19, "22+"),
        (321, 321, 20, 22, "22+"),
        (320, 160, 20, 19, "21+"),
        (160, 160, 400, 0, "11"),
    ],
)
def test_restart_markers_tell_that_rows_are_missing(
    width: int, height: int, interval: int, markers: int, factors: str
) -> None:
    walk_jpeg(restarts(width, height, interval, *range(markers), factors=factors))
    walk_jpeg(restarts(width, height, interval, *range(markers + 1), factors=factors))
    for wrong in (markers + 9, markers - 9):
        if wrong >= 0:
            with pytest.raises(CorruptOriginal, match="missing or there twice"):
                walk_jpeg(restarts(width, height, interval, *range(wrong), factors=factors))


def test_real_files_have_the_markers_that_they_should() -> None:
    image = noise(203, 117)
    for options in ({}, {"interlace": True}, {"optimize_coding": True}):
        for subsampling in ("on", "off"):
            for source in (image, image[0].copy(interpretation="b-w")):
                walk_jpeg(
                    bytes(
                        source.jpegsave_buffer(
                            restart_interval=5, subsample_mode=subsampling, **options
                        )
                    )
                )


def test_zeros_are_damage_where_a_table_says_so() -> None:
    data = jpeg(noise(200, 200))
    with pytest.raises(CorruptOriginal, match="zeros"):
        walk_jpeg(data[:3000] + bytes(2000) + data[5000:])
