"""The ThumbHash against the public reference implementation, and the average colour.

The golden vectors came from the npm package `thumbhash` 0.1.1 (`rgbaToThumbHash`), fed with
pictures made by the formulas below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from worker.render.image.placeholder import MAX_EDGE_PX, average_color, thumbhash

if TYPE_CHECKING:
    from collections.abc import Callable

    Formula = Callable[[int, int], tuple[int, int, int, int]]


class Golden(NamedTuple):
    """A picture by its formula, and the reference's hash of it."""

    name: str
    width: int
    height: int
    formula: Formula
    reference: str

    @property
    def rgba(self) -> bytes:
        return paint(self.width, self.height, self.formula)


def paint(width: int, height: int, formula: Formula) -> bytes:
    return b"".join(bytes(formula(x, y)) for y in range(height) for x in range(width))


EXACT = [
    Golden(
        "landscape noise",
        32,
        24,
        lambda x, y: ((x * 7 + y * 3) % 256, (x * x + y * 5) % 256, (x * y + 40) % 256, 255),
        "5e180a1d8c4055885478898698678887706a0b8867",
    ),
    Golden(
        "portrait noise",
        21,
        31,
        lambda x, y: (
            (x * x * 3 + y) % 256,
            (x * 11 + y * y) % 256,
            (x * 5 + y * 9 + x * y) % 256,
            255,
        ),
        "9dd70515063083467568646795766a79108b0f82ad",
    ),
    Golden(
        "square noise",
        16,
        16,
        lambda x, y: (
            (x * x + y * 17) % 256,
            (x * 23 + y * y * 3) % 256,
            (x * y * 7 + 11) % 256,
            255,
        ),
        "9d08061f06437575308388537a6868589687f6aa83b60603",
    ),
    Golden(
        "landscape curve",
        100,
        67,
        lambda x, y: (x * x * 255 // 9801, y * y * 255 // 4356, x * y * 255 // 6534, 255),
        "93f80d1d9a9087879088877988787888c8070cf968",
    ),
    Golden(
        "portrait curve",
        50,
        100,
        lambda x, y: (
            255 - x * x * 200 // 2401,
            (y * y + x * y) * 180 // 14652 + 40,
            (x * x + y * y) * 255 // 12202,
            255,
        ),
        "9eb90e3c187a08889878878778885f8ff5c677",
    ),
    Golden(
        "panorama curve",
        100,
        20,
        lambda x, y: (x * x * 255 // 9801, x * y * 255 // 1881, 200 - y * y * 200 // 361, 255),
        "17260e718e90878799876888828009fb74",
    ),
    Golden(
        "tower curve",
        7,
        90,
        lambda x, y: (y * y * 255 // 7921, x * x * y * 255 // 3204, 90 + x * x * 4, 255),
        "96450e4910919097778778876b90e906a5",
    ),
    Golden(
        # 7 * 7 / 14 is 3.5: JavaScript rounds it up to 4.
        "half a step",
        14,
        7,
        lambda x, y: ((x * x + y * 29) % 256, (x * 31 + y * y) % 256, (x * y * 13) % 256, 255),
        "da080a1c8a01a365408988958884393b7f0d42",
    ),
    Golden(
        "landscape with alpha",
        30,
        20,
        lambda x, y: (
            (x * 9 + y * 2) % 256,
            (x * x + y * 7) % 256,
            (x * y + 90) % 256,
            (x * 13 + y * 29) % 256,
        ),
        "5f0786138407103856878501840fa29847957849758407",
    ),
    Golden(
        "portrait with alpha",
        18,
        33,
        lambda x, y: (
            (x * x + y * 5) % 256,
            (y * y + x * 3) % 256,
            (x * y * 2 + 17) % 256,
            255 - (x * x + y * y) * 255 // 1313,
        ),
        "1a18860b062a22300736589e4035a1f47a788f77768777",
    ),
    Golden(
        "one clear pixel",
        16,
        16,
        lambda x, y: (
            (x * x * 3 + y * 8) % 256,
            (x * 20 + y * y) % 256,
            (x * y * 5 + 30) % 256,
            0 if (x, y) == (3, 7) else 255,
        ),
        "1df88515040f026331926569682b5a0f993462fb7787dfa909",
    ),
    Golden(
        "all clear",
        12,
        9,
        lambda _x, _y: (0, 0, 0, 0),
        "00088204800000000000000000000000000000000000000000",
    ),
    Golden(
        "all clear over a colour",
        9,
        12,
        lambda _x, _y: (250, 120, 3, 0),
        "00088204000000000000000000000000000000000000000000",
    ),
]

# Many terms of these are zero but for rounding, and zero is stored as 7.5: the reference stores 7
# or 8 as the noise of its sums falls, which another order of summing cannot repeat. Ours is always
# 8, as rounding half up has it.
ON_THE_HALF = [
    Golden(
        "linear across",
        40,
        30,
        lambda x, _y: (x * 255 // 39, x * 255 // 39, 255 - x * 255 // 39, 255),
        "df070ad58080878778888887888887888078080000",
    ),
    Golden(
        "linear both ways",
        33,
        33,
        lambda x, y: (x * 7, y * 7, (x + y) * 3, 255),
        "5a080e0f1870777770787888887888788877070787708f08",
    ),
    Golden(
        "one pixel",
        1,
        1,
        lambda _x, _y: (200, 90, 30, 255),
        "9adb36e73608f708888788708f7088f80888808008088800",
    ),
    Golden(
        "one pixel, half clear",
        1,
        1,
        lambda _x, _y: (10, 20, 230, 128),
        "55e1adad058808f78887707ff8f7877f7ff808f78887707ff8",
    ),
]

# The reference blows the rounding errors of a flat channel up to full swing and then states a scale
# of zero, so that a reader multiplies them away. Ours are zero, and the same on every machine.
SOLID = Golden(
    "solid",
    16,
    12,
    lambda _x, _y: (30, 144, 255, 255),
    "e31201058078690d867777738777778cd78f78bf87",
)


def by_name(golden: Golden) -> str:
    return golden.name


def nibbles(packed: bytes) -> list[int]:
    return [half for byte in packed for half in (byte & 15, byte >> 4)]


@pytest.mark.parametrize("golden", EXACT, ids=by_name)
def test_a_thumbhash_equals_the_reference(golden: Golden) -> None:
    assert thumbhash(golden.width, golden.height, golden.rgba).hex() == golden.reference


@pytest.mark.parametrize("golden", ON_THE_HALF, ids=by_name)
def test_a_term_of_zero_rounds_up_where_the_reference_leaves_it_to_noise(golden: Golden) -> None:
    reference = bytes.fromhex(golden.reference)

    ours = thumbhash(golden.width, golden.height, golden.rgba)

    head = 6 if reference[2] & 0x80 else 5
    assert ours[:head] == reference[:head]
    pairs = list(zip(nibbles(ours[head:]), nibbles(reference[head:]), strict=True))
    assert {pair for pair in pairs if pair[0] != pair[1]} <= {(8, 7)}


def test_a_solid_picture_has_no_noise_in_it() -> None:
    reference = bytes.fromhex(SOLID.reference)

    ours = thumbhash(SOLID.width, SOLID.height, SOLID.rgba)

    assert ours[:5] == reference[:5]
    assert ours[5:] == bytes(len(reference) - 5)


def test_a_grey_picture_equals_the_reference_up_to_its_flat_colour_channels() -> None:
    greys = [(x * x + y * y * 3) % 256 for y in range(16) for x in range(12)]
    rgba = b"".join(bytes((grey, grey, grey, 255)) for grey in greys)

    assert thumbhash(12, 16, rgba).hex() == "1b080a0500957840682886488999a6770000000000"


def test_the_largest_picture_is_taken_and_one_more_pixel_is_not() -> None:
    edge = MAX_EDGE_PX
    assert thumbhash(edge, edge, bytes(edge * edge * 4))
    with pytest.raises(ValueError, match="1 to 100 px an edge, not 101 x 1"):
        thumbhash(edge + 1, 1, bytes((edge + 1) * 4))
    with pytest.raises(ValueError, match="not 1 x 101"):
        thumbhash(1, edge + 1, bytes((edge + 1) * 4))
    with pytest.raises(ValueError, match="not 0 x 5"):
        thumbhash(0, 5, b"")


@pytest.mark.parametrize("count", [0, 2 * 3 * 3, 2 * 3 * 4 - 1, 2 * 3 * 4 + 4])
def test_bytes_that_are_not_the_stated_picture_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"2 x 3 px are 24 bytes of RGBA, not {count}"):
        thumbhash(2, 3, bytes(count))


@pytest.mark.parametrize(
    ("pixels", "color"),
    [
        ([(122, 139, 156, 255)], "#7a8b9c"),
        ([(0, 0, 0, 255), (255, 255, 255, 255)], "#808080"),  # 127.5: half up
        ([(0, 2, 4, 255), (1, 3, 5, 255)], "#010305"),
        ([(255, 0, 0, 255), (0, 255, 0, 0)], "#ff0000"),
        ([(200, 0, 0, 255), (0, 100, 0, 51)], "#a71100"),  # 5 to 1
        ([(255, 255, 255, 0)] * 3, "#000000"),
    ],
)
def test_each_pixel_counts_by_its_alpha(
    pixels: list[tuple[int, int, int, int]], color: str
) -> None:
    assert average_color(b"".join(map(bytes, pixels))) == color


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_color_needs_whole_pixels(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} bytes are not a picture of RGBA pixels"):
        average_color(bytes(count))
