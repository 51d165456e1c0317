"""Decoding: damage is told from what phones write every day, HDR from SDR, drawings from pixels."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any, Never

import PIL.Image
import pytest

from tests.support.skeletons import ASCII, LONG, SHORT, segment, tiff
from tests.support.small_pictures import CORNERS, RED, corners, decoded, jpeg, noise, png
from worker.errors import (
    CorruptOriginal,
    OriginalTooLarge,
    RenderOutOfMemory,
    UnsupportedFormat,
)
from worker.photo.header import Header
from worker.photo.ladder import Ladder
from worker.photo.limits import Limits
from worker.photo.looks import Looks
from worker.render.formats.tiff import directories
from worker.render.image import heif
from worker.render.image.decode import open_original
from worker.render.image.drawing import SVG_EDGE_PX
from worker.render.image.imaging import Picture
from worker.render.image.vips import pyvips

LIMITS = Limits(max_original_bytes=1 << 30, max_original_pixels=30_000_000)

HEIC = Path(__file__).parents[5] / "shared" / "odd" / "immich-IMG_2682.heic"


def pixels(data: bytes) -> Any:
    return open_original(data, LIMITS).decode().image


def header(data: bytes) -> Header:
    return open_original(data, LIMITS).header


def test_a_header_says_what_predicts_the_cost() -> None:
    assert header(jpeg(corners())) == Header(format="jpeg", width=60, height=40, bands=3, bits=8)
    progressive = bytes(corners().jpegsave_buffer(interlace=True))
    assert header(progressive).progressive
    deep = header(png(corners().colourspace("rgb16").bandjoin(65535).copy(interpretation="rgb16")))
    assert (deep.bands, deep.bits, deep.has_alpha) == (4, 16, True)
    assert deep.decoded_bytes == 60 * 40 * 8
    turned = corners().copy()
    turned.set_type(pyvips.GValue.gint_type, "orientation", 8)
    assert header(jpeg(turned)) == Header(
        format="jpeg", width=40, height=60, bands=3, bits=8, turned=True, copied=True
    )


def sos_of_a_samsung(data: bytes) -> bytes:
    """A baseline scan that says it ends at coefficient 0 (libvips#2309)."""
    at = data.rindex(b"\xff\xda")
    end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    assert data[end - 3 : end] == b"\0\x3f\0"
    return data[: end - 2] + b"\0" + data[end - 1 :]


MPF = segment(0xE2, b"MPF\0" + bytes(60))


@pytest.mark.parametrize(
    "data",
    [
        sos_of_a_samsung(jpeg(corners())),
        jpeg(corners()) + b"\0\0\x01\x0a\x0e\0\0\0Image_UTC_Data1763769600000SEFHSEFT",
        jpeg(corners())[:2] + MPF + jpeg(corners())[2:] + jpeg(corners()),
        jpeg(corners()) + b"PK\x03\x04" + bytes(100),
        jpeg(corners())[:-2] + bytes(16) + b"\xff\xd9",
        b"\xff\xd8" + segment(0xFE, b"a comment" * 7000) + jpeg(corners())[2:],
    ],
    ids=["samsung", "trailer", "gain-map", "zip", "padding", "comment"],
)
def test_what_phones_and_tools_write_passes(data: bytes) -> None:
    found = pixels(data)
    for point, color in zip(((9, 9), (50, 9), (9, 30), (50, 30)), CORNERS, strict=True):
        assert max(abs(a - b) for a, b in zip(found(*point), color, strict=True)) < 30


WHOLE = jpeg(noise(200, 200))
SAMSUNG = sos_of_a_samsung(WHOLE)


@pytest.mark.parametrize(
    "data",
    [
        WHOLE[:3000] + bytes(2000) + WHOLE[5000:],
        WHOLE[: len(WHOLE) // 2] + b"\xff\xd9",
        WHOLE[: len(WHOLE) // 2] + bytes(len(WHOLE) // 2),
        WHOLE[:4000] + b"\xff\xd8\xff\xe0" + WHOLE[4004:],
        WHOLE[:-40],
        SAMSUNG[:3000] + WHOLE[7000:],
    ],
    ids=["zeroed", "ended", "zero-filled", "overwritten", "last-bytes", "samsung"],
)
def test_a_damaged_jpeg_makes_no_photo(data: bytes) -> None:
    with pytest.raises(CorruptOriginal):
        pixels(data)


def test_a_png_with_a_wrong_checksum_makes_no_photo() -> None:
    data = bytearray(png(noise(64, 64)))
    data[data.index(b"IDAT") + 100] ^= 1
    with pytest.raises(CorruptOriginal):
        pixels(bytes(data))


def strips(share: float) -> bytes:
    """A TIFF whose directory comes first, of 60 x 40 RGB, with a share of its pixels."""
    size = 60 * 40 * 3
    tags = [
        (256, SHORT, 60),
        (257, SHORT, 40),
        (258, SHORT, 8),
        (259, SHORT, 1),
        (262, SHORT, 2),
        (273, LONG, -1),
        (277, SHORT, 3),
        (278, SHORT, 40),
        (279, LONG, size),
    ]
    return tiff(list(tags), tail=bytes(int(size * share)))


def test_a_tiff_without_all_of_its_strips_makes_no_photo() -> None:
    assert pixels(strips(1)).avg() == 0
    with pytest.raises(CorruptOriginal):
        pixels(strips(0.9))


def tiled(**options: Any) -> bytes:
    return bytes(noise(300, 200).tiffsave_buffer(tile=True, tile_width=64, **options))


@pytest.mark.parametrize("compression", ["none", "lzw", "deflate", "packbits", "jpeg"])
def test_a_tiff_without_all_of_its_tiles_makes_no_photo(compression: str) -> None:
    data = tiled(compression=compression)
    assert pixels(data).width == 300
    size = len(data)
    places = tiff_numbers(data, 324)
    last = places.index(max(places))
    for damaged in (
        data[: size // 2],
        # The last tile lies where the file ends.
        with_number(data, 324, last, size - 8),
    ):
        with pytest.raises(CorruptOriginal):
            pixels(damaged)


@pytest.mark.parametrize("compression", ["lzw", "deflate"])
def test_a_tile_that_cannot_be_unpacked_makes_no_photo(compression: str) -> None:
    data = tiled(compression=compression)
    at = tiff_numbers(data, 324)[5] + 10
    with pytest.raises(CorruptOriginal):
        pixels(data[:at] + bytes(400) + data[at + 400 :])


def tiff_numbers(data: bytes, tag: int) -> list[int]:
    return next(directories(data, 1)).numbers(tag, 1000)


def with_number(data: bytes, tag: int, index: int, value: int) -> bytes:
    at = next(directories(data, 1)).place(tag) + 4 * index
    return data[:at] + struct.pack("<I", value) + data[at + 4 :]


def test_a_text_that_does_not_end_is_no_damage() -> None:
    # "ASCII value does not end in null byte": a warning of libtiff, and of no consequence.
    size = 60 * 40
    tags = [(256, SHORT, 60), (257, SHORT, 40), (258, SHORT, 8), (259, SHORT, 1), (262, SHORT, 1)]
    tags += [(273, LONG, -1), (277, SHORT, 1), (278, SHORT, 40), (279, LONG, size)]
    assert pixels(tiff([*tags, (305, ASCII, b"a program")], tail=bytes(size))).avg() == 0


def test_the_page_that_is_no_preview_is_decoded() -> None:
    size = 60 * 40

    def page(reduced: int, width: int) -> list[tuple[int, int, int | bytes]]:
        return [
            (254, LONG, reduced), (256, SHORT, width), (257, SHORT, 40), (258, SHORT, 8),
            (259, SHORT, 1), (262, SHORT, 1), (273, LONG, -1), (277, SHORT, 1), (278, SHORT, 40),
            (279, LONG, width * 40),
        ]  # fmt: skip

    opened = open_original(tiff(page(1, 20), page(0, 60), tail=bytes(size)), LIMITS)
    assert (opened.header.width, opened.header.pages) == (60, 2)
    assert opened.decode().width == 60


def test_eight_bits_of_lab_are_its_colours() -> None:
    for image in (corners(), corners().bandjoin(255).copy(interpretation="srgb")):
        lab = image.extract_band(0, n=3).colourspace("lab")
        light, *signed = (lab[band] for band in range(3))
        stored = (light * 255 / 100).bandjoin([each.rint() % 256 for each in signed])
        if image.hasalpha():
            stored = stored.bandjoin(image[3])
        data = bytes(stored.rint().cast("uchar").copy(interpretation="srgb").tiffsave_buffer())
        at = next(directories(data, 1)).place(262)
        found = pixels(data[:at] + struct.pack("<H", 8) + data[at + 2 :])
        assert abs(found - image).max() < 8
        assert found.interpretation == "srgb"


def test_extra_channels_are_dropped_and_too_many_are_refused() -> None:
    two_alphas = bytes(corners().bandjoin([255, 7]).tiffsave_buffer())
    assert pixels(two_alphas).bands == 4
    with pytest.raises(UnsupportedFormat, match="bands"):
        pixels(bytes(corners().bandjoin([1, 2, 3, 4]).tiffsave_buffer()))


def test_floating_point_is_linear_light() -> None:
    linear = corners().colourspace("scrgb")
    grey = (corners().colourspace("b-w") / 255).cast("float")
    for image in (linear, grey):
        assert 20 < pixels(bytes(image.tiffsave_buffer())).avg() < 250


def test_floating_point_grey_keeps_its_alpha() -> None:
    grey = (corners().colourspace("b-w") / 255).cast("float")
    clear = grey.bandjoin(0.5).copy(interpretation="b-w")
    found = pixels(bytes(clear.tiffsave_buffer()))
    assert found.bands == 4
    assert abs(found.extract_band(3) - 127).max() <= 1
    plain = pixels(bytes(grey.tiffsave_buffer()))
    assert abs(found.extract_band(0, n=3) - plain).max() <= 1


def gif(screen: tuple[int, int], frame: tuple[int, int, int, int]) -> bytes:
    """A frame of one red, without compression, on a screen that may be larger."""
    bits = "".join(f"{code:03b}"[::-1] for _ in range(frame[2] * frame[3]) for code in (4, 1))
    bits += f"{5:03b}"[::-1]
    packed = bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8))
    blocks = b"".join(
        bytes([len(packed[at : at + 255])]) + packed[at : at + 255]
        for at in range(0, len(packed), 255)
    )
    palette = bytes([255, 255, 255, *RED, 0, 0, 0, 0, 0, 0])
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x81, 0, 0) + palette
    return head + struct.pack("<BHHHHB", 0x2C, *frame, 0) + b"\x02" + blocks + b"\0;"


@pytest.mark.parametrize("frame", [(20, 10, 30, 20), (0, 0, 100, 79), (90, 70, 10, 10)])
def test_around_a_small_gif_frame_it_is_clear(frame: tuple[int, int, int, int]) -> None:
    opened = open_original(gif((100, 80), frame), LIMITS)
    assert (opened.header.width, opened.header.bands, opened.header.has_alpha) == (100, 4, True)
    image = opened.decode().image
    left, top, width, height = frame
    assert image(left, top) == [*RED, 255]
    assert image(left + width - 1, top + height - 1) == [*RED, 255]
    assert image((left + width) % 100, (top + height) % 80)[3] == 0
    assert image[3].avg() == pytest.approx(255 * width * height / 8000)


def test_a_gif_frame_that_fills_the_screen_needs_no_alpha() -> None:
    assert pixels(gif((30, 20), (0, 0, 30, 20))).bands == 3
    assert (header(gif((20, 20), (10, 10, 30, 30))).width) == 40


def avif(image: Any, primaries: int, transfer: int) -> bytes:
    """An AVIF with these colour numbers."""
    image = image.copy()
    room = pyvips.Image.profile_load("p3")
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", room)
    data = bytes(image.heifsave_buffer(compression="av1", Q=95, bitdepth=10, keep="icc"))
    at = data.index(b"colrrICC") + 4
    numbers = b"nclx" + struct.pack(">HHHB", primaries, transfer, 6, 0x80)
    return data[:at] + numbers + data[at + len(numbers) :]


def test_colour_numbers_are_obeyed() -> None:
    grey = corners().colourspace("b-w").colourspace("srgb").colourspace("rgb16")
    plain = pixels(avif(grey, 1, 13))
    assert abs(plain - pixels(avif(grey, 12, 13))).max() <= 2  # grey is grey in every gamut
    red = pyvips.Image.black(32, 32).new_from_image([200, 60, 60]).copy(interpretation="srgb")
    narrow, wide = (pixels(avif(red.colourspace("rgb16"), n, 13))(9, 9) for n in (1, 12))
    assert wide[0] > narrow[0] + 8
    assert wide[1] < narrow[1] - 4


def test_how_an_avif_is_coded_stands_in_the_header() -> None:
    deep = header(avif(corners().colourspace("rgb16"), 1, 13))
    assert (deep.chroma, deep.coded_bits, deep.bits) == ("444", 10, 16)
    plain = header(bytes(noise(64, 64).heifsave_buffer(compression="av1", Q=50)))
    assert (plain.chroma, plain.coded_bits, plain.bits) == ("420", 8, 8)


def test_colours_that_were_multiplied_with_alpha_are_divided_by_it() -> None:
    half = PIL.Image.new("RGBA", (64, 64), (*RED, 128))
    out = io.BytesIO()
    half.save(out, "AVIF", quality=100, subsampling="4:4:4", alpha_premultiplied=True)
    *colour, alpha = pixels(out.getvalue())(9, 9)
    assert alpha == pytest.approx(128, abs=2)
    assert colour == pytest.approx(RED, abs=6)


def grey_level(share: float, transfer: int) -> float:
    """What a flat grey of that code comes out as."""
    image = (pyvips.Image.black(32, 32) + [65535 * share] * 3).cast("ushort")
    return float(pixels(avif(image.copy(interpretation="rgb16"), 9, transfer))(9, 9)[1])


@pytest.mark.parametrize(("transfer", "white"), [(16, 0.5807), (18, 0.75)])
def test_diffuse_white_of_hdr_is_nearly_white(transfer: int, white: float) -> None:
    level = grey_level(white, transfer)
    assert 225 < level < 250
    assert grey_level(1.0, transfer) > level  # room above it for what is brighter


SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" width="24" height="12">
<rect width="12" height="12" fill="#dc1e1e"/></svg>"""


def test_a_drawing_is_drawn_large_and_keeps_what_is_clear() -> None:
    picture = Picture(SVG, LIMITS)
    assert (picture.format, picture.width, picture.height) == ("svg", SVG_EDGE_PX, 1000)
    picture.decode()
    encoding = Looks(quality=90, effort=0, full_effort=0)
    for size, encoded in picture.renditions(Ladder.parse("320,1600,2560,full"), encoding):
        image = decoded(encoded)
        assert max(size.width, size.height) <= SVG_EDGE_PX
        assert image(image.width // 4, 5)[3] == 255
        assert image(image.width // 4, 5)[0] > 200
        assert image(image.width * 3 // 4, 5)[3] == 0


@pytest.mark.parametrize(
    ("size", "drawn"),
    [
        ("width='100mm' height='50mm'", (2000, 1000)),
        ("width='10cm' height='2in'", (2000, 1016)),
        ("width='100pt' height='10pc'", (1667, 2000)),
        ("width='100mm' height='100'", (2000, 529)),
        ("width='10em' height='5em'", (2000, 1000)),
        ("width='3ex' height='6ex'", (1000, 2000)),
        ("viewBox='0 0 100 50' style='width:200px;height:100px'", (2000, 1000)),
    ],
)
def test_a_drawing_of_any_unit_is_drawn(size: str, drawn: tuple[int, int]) -> None:
    data = f"<svg xmlns='http://www.w3.org/2000/svg' {size}><rect width='50%' height='100%'/></svg>"
    image = pixels(data.encode())
    assert (image.width, image.height) == drawn
    assert image(image.width // 2 - 2, image.height - 2)[3] == 255
    assert image(image.width // 2 + 2, image.height - 2)[3] == 0


@pytest.mark.parametrize(
    ("size", "sheet", "drawn"),
    [
        ("width='24' height='12' style='width:12px;height:24px'", "", (1000, 2000)),
        (
            "width='24' height='24' style='width:100%;height:auto' viewBox='0 0 50 40'",
            "",
            (2000, 1600),
        ),
        ("style='width:24px;height:48px' viewBox='0 0 24 24'", "", (1000, 2000)),
        ("width='2em' height='16px' style='font-size:20px'", "", (2000, 800)),
        ("width='24' height='12'", "svg{width:1px;height:4px}", (500, 2000)),
        ("width='24' height='12' style='width:48000px'", "", (2000, 1)),
    ],
)
def test_a_drawing_has_the_shape_that_its_style_says(
    size: str, sheet: str, drawn: tuple[int, int]
) -> None:
    data = (
        f"<svg xmlns='http://www.w3.org/2000/svg' {size}><defs><style>{sheet}</style></defs>"
        "<rect width='100%' height='100%'/></svg>"
    ).encode()
    found = header(data)
    image = pixels(data)
    assert (found.width, found.height) == (image.width, image.height) == drawn


@pytest.mark.parametrize(
    "style", ["width:100%;height:100%", "width:0;height:0", "width:1e29px;height:1px"]
)
def test_a_drawing_whose_style_has_no_shape_is_not_drawn(style: str) -> None:
    data = SVG.replace(b'height="12"', f'height="12" style="{style}"'.encode())
    assert header(data).width == SVG_EDGE_PX
    with pytest.raises(UnsupportedFormat, match="drawn"):
        pixels(data)


def test_a_root_too_long_for_an_outline_is_drawn_as_stated() -> None:
    long = SVG.replace(b'height="12"', b'height="12" class="' + b"a " * 50_000 + b'"')
    assert pixels(long).width == SVG_EDGE_PX


def test_the_shape_is_found_without_reading_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    load = pyvips.Image.svgload_buffer

    def watched(data: bytes, **options: object) -> object:
        seen.append(data)
        return load(data, **options)

    monkeypatch.setattr(pyvips.Image, "svgload_buffer", watched)
    header(SVG)
    assert seen
    assert not any(b"rect" in data for data in seen)


def test_styles_are_read_after_a_font_of_the_web() -> None:
    style = b"<style>@import url('https://example.org/a?b@1;2'); rect{fill:#00ff00}</style>"
    styled = SVG.replace(b"<rect", style + b"<rect").replace(b'fill="#dc1e1e"', b"")
    assert pixels(styled)(500, 500) == [0, 255, 0, 255]


def test_a_style_sheet_of_its_own_is_no_other_document() -> None:
    head = b"<?xml-stylesheet href='#s' type='text/css'?>"
    styled = SVG.replace(b"<rect", b"<style id='s'>rect{fill:#00ff00}</style><rect")
    assert pixels(head + styled)(500, 500) == [0, 255, 0, 255]


def test_the_surfaces_of_a_drawing_are_foreseen() -> None:
    nested = SVG.replace(b"<rect", b"<g opacity='.5'><g opacity='.5'><rect").replace(
        b"</svg>", b"</g></g></svg>"
    )
    more = header(nested).document_bytes - header(SVG).document_bytes
    assert more == pytest.approx(2 * 2000 * 1000 * 4, rel=0.01)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("SVG rendering failed glib: rendering error:", RenderOutOfMemory),
        ("SVG rendering failed glib: exceeded more than 500000 referenced", OriginalTooLarge),
    ],
)
def test_a_drawing_that_is_not_drawn_lacks_memory_or_asks_for_too_much(
    words: str, reason: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> Never:
        raise pyvips.Error("unable to write to memory", f"svgload_buffer: {words}")

    opened = open_original(SVG, LIMITS)
    monkeypatch.setattr("worker.render.image.drawing.Pixels", fails)
    with pytest.raises(reason):
        opened.decode()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("Out of Memory"), RenderOutOfMemory),
        (MemoryError(), RenderOutOfMemory),
        (OSError("broken data stream"), CorruptOriginal),
        (RuntimeError("Memory allocation error: Security limit exceeded"), OriginalTooLarge),
        (SyntaxError("Unsupported codec"), UnsupportedFormat),
    ],
)
def test_only_a_shortage_of_libheif_is_one(error: Exception, reason: type[Exception]) -> None:
    with pytest.raises(reason), heif._translated():
        raise error


def test_a_line_is_no_drawing() -> None:
    with pytest.raises(UnsupportedFormat, match="line"):
        header(b"<svg xmlns='http://www.w3.org/2000/svg' width='90000' height='1'/>")


def test_pixels_are_counted_before_a_library_sees_them() -> None:
    bomb = png(corners())
    at = bomb.index(b"IHDR") + 4
    with pytest.raises(OriginalTooLarge, match="60000x60000"):
        header(bomb[:at] + struct.pack(">II", 60_000, 60_000) + bomb[at + 8 :])


@pytest.mark.skipif(not HEIC.is_file(), reason="no HEIC at hand")
def test_a_heic_is_upright_in_srgb() -> None:
    opened = open_original(HEIC.read_bytes(), LIMITS)
    assert opened.header == Header(
        format="heic", width=4032, height=3024, bands=3, bits=8, chroma="420", coded_bits=8
    )
    assert (opened.exif.camera, opened.exif.taken_at) == ("Apple iPhone 7", "2019-03-21T11:04:22")
    image = opened.decode().image
    assert (image.width, image.height, image.bands) == (4032, 3024, 3)
    assert (image.format, image.interpretation) == ("uchar", "srgb")


@pytest.mark.skipif(not HEIC.is_file(), reason="no HEIC at hand")
def test_a_turned_heic_is_turned_once() -> None:
    data = bytearray(HEIC.read_bytes())
    at = data.index(b"irot") + 4
    data[at] = 1  # a quarter to the left
    opened = open_original(bytes(data), LIMITS)
    assert (opened.header.width, opened.header.height) == (3024, 4032)
    image = opened.decode().image
    assert (image.width, image.height) == (3024, 4032)
    plain = open_original(HEIC.read_bytes(), LIMITS).decode().image
    assert abs(image.rot90() - plain).avg() < 2


def _png(*chunks: tuple[bytes, bytes]) -> bytes:
    whole = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        checksum = zlib.crc32(kind + data).to_bytes(4, "big")
        whole += len(data).to_bytes(4, "big") + kind + data + checksum
    return whole


@pytest.mark.parametrize(
    ("depth", "kind", "pixels", "words"),
    [
        (7, 2, bytes(200), "Invalid bit depth in IHDR"),
        (8, 3, bytes(72), "Missing PLTE before IDAT"),
        (8, 2, b"\x09" * 200, "bad adaptive filter value"),
        (8, 2, bytes(30), "Not enough image data"),
    ],
    ids=["depth", "no-palette", "filter", "short"],
)
def test_a_refusal_has_the_decoders_own_words(
    depth: int, kind: int, pixels: bytes, words: str
) -> None:
    header = struct.pack(">IIBBBBB", 8, 8, depth, kind, 0, 0, 0)
    data = _png((b"IHDR", header), (b"IDAT", zlib.compress(pixels)), (b"IEND", b""))
    with pytest.raises(CorruptOriginal, match=words) as refused:
        open_original(data, LIMITS).decode()
    assert "unable to" not in str(refused.value)
    # The next one's reason is its own.
    with pytest.raises(CorruptOriginal) as next_refused:
        open_original(jpeg(corners())[:300], LIMITS).decode()
    assert words not in str(next_refused.value)
