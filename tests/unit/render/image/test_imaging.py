"""Pictures in this process: upright, sRGB, 8 bit, alpha kept, metadata gone, facts stated."""

from __future__ import annotations

import base64
from typing import Any

import pi_heif
import pytest

from tests.support.small_pictures import (
    BLUE,
    CORNERS,
    GREEN,
    RED,
    WHITE,
    corners,
    decoded,
    jpeg,
    noise,
    png,
)
from worker.errors import CorruptOriginal, OriginalTooLarge, UnsupportedFormat
from worker.photo.header import PictureFacts
from worker.photo.ladder import Ladder
from worker.photo.limits import Limits
from worker.photo.looks import Looks
from worker.render.formats.formats import sniff
from worker.render.image import webp
from worker.render.image.imaging import Picture, codec

import pyvips  # isort: skip

LIMITS = Limits(max_original_bytes=1 << 30, max_original_pixels=30_000_000)
FINE = Looks(quality=90, effort=0, full_effort=0)


def render(data: bytes, ladder: str = "32,full") -> tuple[dict[str, Any], PictureFacts]:
    """Every rendition decoded again, and the facts."""
    picture = Picture(data, LIMITS)
    picture.decode()
    renditions = {}
    for size, encoded in picture.renditions(Ladder.parse(ladder), FINE):
        image = decoded(encoded)
        assert (image.width, image.height) == (size.width, size.height)
        renditions[size.rung] = image
    return renditions, picture.facts()


def corner_colors(image: Any) -> list[list[float]]:
    """The colours well inside the four corners: upper left, upper right, lower left, right."""
    x, y = image.width // 4, image.height // 4
    far_x, far_y = image.width - 1 - x, image.height - 1 - y
    return [image.getpoint(*point) for point in ((x, y), (far_x, y), (x, far_y), (far_x, far_y))]


def assert_close(found: list[list[float]], expected: list[tuple[int, ...]]) -> None:
    for pixel, color in zip(found, expected, strict=True):
        assert all(abs(a - b) < 30 for a, b in zip(pixel, color, strict=False)), (found, expected)


def tagged(image: Any, orientation: int) -> Any:
    image = image.copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    return image


# What a reader must see, corner by corner, for each orientation tag over the same stored pixels.
UPRIGHT = {
    1: [RED, GREEN, BLUE, WHITE],
    2: [GREEN, RED, WHITE, BLUE],
    3: [WHITE, BLUE, GREEN, RED],
    4: [BLUE, WHITE, RED, GREEN],
    5: [RED, BLUE, GREEN, WHITE],
    6: [BLUE, RED, WHITE, GREEN],
    7: [WHITE, GREEN, BLUE, RED],
    8: [GREEN, WHITE, RED, BLUE],
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(orientation: int) -> None:
    data = jpeg(tagged(corners(60, 40), orientation))
    renditions, facts = render(data)
    turned = orientation >= 5
    assert (facts.width, facts.height) == ((40, 60) if turned else (60, 40))
    for rung, size in (("full", (60, 40)), ("32", (32, 21))):
        image = renditions[rung]
        assert (image.width, image.height) == (size[::-1] if turned else size)
        assert_close(corner_colors(image), list(UPRIGHT[orientation]))


@pytest.mark.parametrize("orientation", [0, 9])
def test_a_senseless_orientation_is_none(orientation: int) -> None:
    renditions, _ = render(jpeg(tagged(corners(), orientation)))
    assert_close(corner_colors(renditions["full"]), list(CORNERS))


def test_alpha_is_kept_and_invisible_colour_does_not_bleed() -> None:
    # A border that falls between two pixels of the resized rung, so that one mixes both sides.
    solid = pyvips.Image.black(41, 80).new_from_image([255, 0, 0, 255])
    clear = pyvips.Image.black(39, 80).new_from_image([0, 255, 0, 0])
    image = solid.join(clear, "horizontal").copy(interpretation="srgb")
    renditions, _ = render(png(image))
    for rendition in renditions.values():
        assert rendition.bands == 4
        assert rendition.hasalpha()
        assert rendition.getpoint(rendition.width // 4, 5)[3] > 240
        assert rendition.getpoint(rendition.width * 3 // 4, 5)[3] < 15
    row = [renditions["32"].getpoint(x, 16) for x in range(32)]
    mixed = [pixel for pixel in row if 60 < pixel[3] < 200]
    assert mixed
    assert all(green < 60 < red for red, green, _, _ in mixed)  # green was never visible


def test_alpha_does_not_darken_from_rung_to_rung() -> None:
    opaque = noise(1600, 1200)
    ladder = "100,200,400,800,full"
    plain, _ = render(png(opaque), ladder)
    with_alpha, _ = render(png(opaque.addalpha()), ladder)
    for rung, image in with_alpha.items():
        for band in range(3):
            assert abs(image[band].avg() - plain[rung][band].avg()) < 0.5, rung


def test_an_opaque_picture_has_no_alpha() -> None:
    renditions, _ = render(png(corners()))
    assert {image.bands for image in renditions.values()} == {3}


def grey_scale() -> Any:
    return corners().colourspace("b-w")


def sixteen_bit() -> Any:
    return corners().colourspace("rgb16")


def cmyk(*, with_profile: bool) -> Any:
    image = corners().icc_transform("cmyk", input_profile="srgb").copy()
    if not with_profile:
        image.remove("icc-profile-data")
    return image


PRINTED = ((223, 47, 42), (118, 179, 45), (48, 65, 141), (248, 248, 248))
"""The corners as ink can show them: a press has no such green and blue."""


def sixteen_bit_alpha() -> Any:
    return sixteen_bit().bandjoin(65535).copy(interpretation="rgb16")


@pytest.mark.parametrize(
    ("data", "colors"),
    [
        (png(sixteen_bit()), CORNERS),
        (png(sixteen_bit_alpha()), CORNERS),
        (png(grey_scale().colourspace("grey16")), None),
        (png(grey_scale()), None),
        (jpeg(grey_scale()), None),
        (jpeg(cmyk(with_profile=True)), PRINTED),
        (jpeg(cmyk(with_profile=False)), PRINTED),
        (
            bytes(corners().icc_transform("p3", input_profile="srgb").jpegsave_buffer(Q=95)),
            CORNERS,
        ),
        (bytes(corners().tiffsave_buffer()), CORNERS),
        (bytes(corners().webpsave_buffer(Q=95)), CORNERS),
        (bytes(corners().gifsave_buffer()), CORNERS),
        (bytes(corners().heifsave_buffer(compression="av1", Q=95)), CORNERS),
    ],
    ids=[
        "16-bit",
        "16-bit-alpha",
        "16-bit-grey",
        "grey-png",
        "grey-jpeg",
        "cmyk",
        "cmyk-without-profile",
        "p3",
        "tiff",
        "webp",
        "gif",
        "avif",
    ],
)
def test_whatever_comes_in_goes_out_as_8_bit_srgb(data: bytes, colors: Any) -> None:
    renditions, facts = render(data)
    for image in renditions.values():
        assert (image.format, image.interpretation) == ("uchar", "srgb")
    if colors is None:
        colors = [[grey] * 3 for (grey, *_) in corner_colors(grey_scale())]
    assert_close(corner_colors(renditions["full"]), list(colors))
    assert (facts.width, facts.height) == (60, 40)
    assert facts.format == sniff(data)


def with_metadata() -> bytes:
    image = corners(60, 40).copy()
    image.set_type(pyvips.GValue.gstr_type, "exif-ifd0-Make", "Secret Camera")
    image.set_type(pyvips.GValue.gstr_type, "exif-ifd2-DateTimeOriginal", "2026:05:01 12:34:56")
    image.set_type(pyvips.GValue.gstr_type, "exif-ifd2-OffsetTimeOriginal", "+07:00")
    image.set_type(pyvips.GValue.gstr_type, "exif-ifd3-GPSLatitude", "21/1 1/1 30/1")
    image.set_type(pyvips.GValue.blob_type, "xmp-data", b"<x:xmpmeta>secret</x:xmpmeta>")
    return bytes(image.icc_transform("p3", input_profile="srgb").jpegsave_buffer(Q=90))


def test_no_metadata_leaves_the_original() -> None:
    data = with_metadata()
    header = pyvips.Image.new_from_buffer(data, "")
    there = ("exif-data", "xmp-data", "icc-profile-data", "exif-ifd3-GPSLatitude")
    assert all(header.get_typeof(field) for field in there)
    picture = Picture(data, LIMITS)
    picture.decode()
    for _, encoded in picture.renditions(Ladder.parse("32,full"), FINE):
        for mark in (b"EXIF", b"Exif", b"XMP ", b"ICCP", b"GPS", b"ecret"):
            assert mark not in encoded
        image = decoded(encoded)
        assert not [field for field in image.get_fields() if field.startswith(("exif", "icc"))]


def test_the_capture_time_is_stated_with_its_offset() -> None:
    assert render(with_metadata())[1].taken_at == "2026-05-01T12:34:56+07:00"
    assert render(jpeg(corners()))[1].taken_at is None


@pytest.mark.parametrize("text", ["0000:00:00 00:00:00", "    :  :     :  :  ", "yesterday"])
def test_a_camera_without_a_clock_states_no_time(text: str) -> None:
    image = corners().copy()
    image.set_type(pyvips.GValue.gstr_type, "exif-ifd2-DateTimeOriginal", text)
    assert render(jpeg(image))[1].taken_at is None


def test_the_placeholder_is_there() -> None:
    flat = pyvips.Image.black(50, 30).new_from_image([10, 20, 200]).copy(interpretation="srgb")
    _, facts = render(png(flat))
    assert 5 <= len(base64.b64decode(facts.thumbhash, validate=True)) <= 25
    red, green, blue = (int(facts.color[at : at + 2], 16) for at in (1, 3, 5))
    assert (red < 30, green < 40, blue > 180) == (True, True, True)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (32, 20)])
def test_a_tiny_picture_is_only_full(size: tuple[int, int]) -> None:
    renditions, facts = render(png(noise(*size)))
    assert list(renditions) == ["full"]
    assert (facts.width, facts.height) == size


def test_a_strip_is_clamped_to_what_webp_holds() -> None:
    renditions, facts = render(png(noise(20, 20_000)), "320,2560,full")
    sizes = {rung: (image.width, image.height) for rung, image in renditions.items()}
    assert sizes == {"2560": (3, 2560), "320": (1, 320), "full": (16, 16383)}
    assert (facts.width, facts.height) == (20, 20_000)


def test_an_animation_is_its_first_frame() -> None:
    frames = corners().join(corners().invert(), "vertical").copy()
    frames.set_type(pyvips.GValue.gint_type, "page-height", 40)
    renditions, facts = render(bytes(frames.gifsave_buffer()))
    assert (facts.width, facts.height) == (60, 40)
    assert_close(corner_colors(renditions["full"]), list(CORNERS))


def test_a_damaged_profile_does_not_cost_sound_pixels() -> None:
    image = corners().copy()
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", b"no profile at all" * 20)
    renditions, _ = render(jpeg(image))
    assert_close(corner_colors(renditions["full"]), list(CORNERS))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("encode", [jpeg, png])
def test_a_picture_that_ends_early_is_corrupt(share: float, encode: Any) -> None:
    data = encode(noise(100, 100))
    with pytest.raises(CorruptOriginal):
        render(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00" * 100, b"text", b"%PDF-1.7", b"<svg/>", b"BM" + bytes(60), b"\xff\xd8", b"#VIPS"],
)
def test_an_unknown_format_is_refused_by_its_first_bytes(data: bytes) -> None:
    with pytest.raises(UnsupportedFormat):
        Picture(data, LIMITS)


def test_a_known_head_on_nonsense_is_corrupt() -> None:
    for head in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\x00"):
        with pytest.raises(CorruptOriginal):
            render(head + b"nonsense" * 10)


def test_pixels_are_counted_before_they_are_decoded() -> None:
    data = png(pyvips.Image.black(6000, 5001))
    with pytest.raises(OriginalTooLarge, match="6000x5001"):
        Picture(data, LIMITS)
    Picture(png(pyvips.Image.black(6000, 5000)), LIMITS)


def test_steps_come_in_order() -> None:
    picture = Picture(jpeg(corners()), LIMITS)
    with pytest.raises(RuntimeError, match="decode"):
        list(picture.renditions(Ladder.parse("full"), FINE))
    with pytest.raises(RuntimeError, match="renditions"):
        picture.facts()


def test_the_codec_is_named_by_its_version() -> None:
    libvips = f"libvips-{pyvips.version(0)}.{pyvips.version(1)}.{pyvips.version(2)}"
    assert codec() == f"{libvips} {webp.version()} libheif-{pi_heif.libheif_version()}"
