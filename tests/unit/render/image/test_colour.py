"""Colours that no plain profile states: right within 3 of 255 of LittleCMS or of the standards."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from PIL import ImageCms

from tests.support.skeletons import chunk
from tests.support.small_pictures import jpeg, noise, png
from worker.photo.limits import Limits
from worker.render.image.decode import open_original
from worker.render.image.vips import pyvips

LIMITS = Limits(max_original_bytes=1 << 30, max_original_pixels=30_000_000)
CASES = Path(__file__).parents[5] / "shared" / "cases"
CLOSE = 3

SWATCHES = (
    (0.02, 0.02, 0.02),
    (0.5, 0.5, 0.5),
    (0.6, 0.2, 0.1),
    (0.1, 0.5, 0.2),
    (0.15, 0.2, 0.6),
    (0.7, 0.6, 0.1),
)
"""Linear light of sRGB's primaries, below the knee."""

P3 = ((0.8225, 0.1774, 0), (0.0332, 0.9669, 0), (0.0171, 0.0724, 0.9108))
REC2020 = ((0.6274, 0.3293, 0.0433), (0.0691, 0.9195, 0.0114), (0.0164, 0.0880, 0.8956))
ADOBE = ((0.7151, 0.2849, 0), (0, 1, 0), (0, 0.0412, 0.9588))
"""From sRGB's primaries (SMPTE EG 432-1, ITU-R BT.2087, Adobe RGB 1998)."""


def pixels(data: bytes) -> Any:
    return open_original(data, LIMITS).decode().image


def srgb(light: float) -> float:
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


def pq(light: float) -> float:
    """Diffuse white, 1, is 203 nits."""
    power = (light * 203 / 10_000) ** 0.1593017578125
    return float(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)


def hlg(light: float) -> float:
    """Of scene light, 1 at its peak."""
    if light <= 1 / 12:
        return float((3 * light) ** 0.5)
    logarithm = pyvips.Image.black(1, 1).linear(1, 12 * light - 0.28466892).log().avg()
    return float(0.17883277 * logarithm + 0.55991073)


def in_gamut(matrix: Sequence[Sequence[float]], colour: Sequence[float]) -> tuple[float, ...]:
    return tuple(sum(a * b for a, b in zip(row, colour, strict=True)) for row in matrix)


def strip(code: Callable[[Sequence[float]], Sequence[float]], *, deep: bool = False) -> Any:
    """The swatches side by side, 16 pixels each, as codes."""
    peak, kind = (65535, "ushort") if deep else (255, "uchar")
    tiles = [
        (pyvips.Image.black(16, 16) + [peak * each for each in code(colour)]).rint().cast(kind)
        for colour in SWATCHES
    ]
    return pyvips.Image.arrayjoin(tiles).copy(interpretation="rgb16" if deep else "srgb")


def with_chunks(image: Any, *chunks: bytes) -> bytes:
    """A PNG with these chunks behind its header."""
    data = png(image)
    return data[:33] + b"".join(chunks) + data[33:]


def assert_swatches(found: Any, close: float = CLOSE) -> None:
    for n, colour in enumerate(SWATCHES):
        wanted = [255 * srgb(each) for each in colour]
        assert list(found(16 * n + 8, 8))[:3] == pytest.approx(wanted, abs=close), colour


def cicp(primaries: int, transfer: int, full: int = 1) -> bytes:
    return chunk(b"cICP", bytes([primaries, transfer, 0, full]))


def as_pq(colour: Sequence[float]) -> list[float]:
    return [pq(each) for each in in_gamut(REC2020, colour)]


def as_hlg(colour: Sequence[float]) -> list[float]:
    """BT.2100, table 5: the opto-optical transfer works on luminance, at 1,000 nits."""
    screen = [each * 203 / 1000 for each in in_gamut(REC2020, colour)]
    luminance = 0.2627 * screen[0] + 0.6780 * screen[1] + 0.0593 * screen[2]
    return [hlg(each * luminance ** (1 / 1.2 - 1)) for each in screen]


def as_p3(colour: Sequence[float]) -> list[float]:
    return [srgb(each) for each in in_gamut(P3, colour)]


def as_srgb(colour: Sequence[float]) -> list[float]:
    return [srgb(each) for each in colour]


ICC_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ICCP = chunk(b"iCCP", b"x\0\0" + zlib.compress(ICC_SRGB))
GAMMA_1 = chunk(b"gAMA", struct.pack(">I", 100_000))
CHRM_P3 = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    ("code", "chunks"),
    [
        (as_pq, [cicp(9, 16)]),
        (as_hlg, [cicp(9, 18)]),
        (as_p3, [cicp(12, 13)]),
        (as_p3, [cicp(12, 13), ICCP]),
        (as_p3, [cicp(12, 13), GAMMA_1]),
        (as_srgb, [cicp(1, 13), GAMMA_1]),
        (as_srgb, [ICCP, GAMMA_1]),
        (as_srgb, [chunk(b"sRGB", b"\0"), GAMMA_1, CHRM_P3]),
        (lambda colour: colour, [GAMMA_1]),
        (lambda colour: [each ** (1 / 1.8) for each in colour], [chunk(b"gAMA", b"\0\0\xd9\x03")]),
        (lambda colour: in_gamut(P3, colour), [GAMMA_1, CHRM_P3]),
        (as_p3, [CHRM_P3]),
    ],
    ids=[
        "pq",
        "hlg",
        "p3",
        "p3-before-icc",
        "p3-before-gamma",
        "srgb-before-gamma",
        "icc-before-gamma",
        "srgb-chunk-before-gamma",
        "linear",
        "mac",
        "linear-p3",
        "primaries",
    ],
)
def test_a_png_has_the_colours_that_its_chunks_state(
    code: Callable[[Sequence[float]], Sequence[float]], chunks: list[bytes], *, deep: bool
) -> None:
    # Eight bits are too few for the dark swatch in linear light, by a level of 4.
    assert_swatches(pixels(with_chunks(strip(code, deep=deep), *chunks)), CLOSE if deep else 4)


@pytest.mark.parametrize("deep", [False, True])
def test_narrow_codes_of_a_png_are_widened(*, deep: bool) -> None:
    def narrow(colour: Sequence[float]) -> list[float]:
        # BT.2100, table 9: those of 16 bits are 256 times those of 8.
        return [(16 + 219 * srgb(each)) / (255.99609375 if deep else 255) for each in colour]

    assert_swatches(pixels(with_chunks(strip(narrow, deep=deep), cicp(1, 13, full=0))))


def test_alpha_and_grey_are_kept() -> None:
    half = strip(as_p3).bandjoin(128)
    found = pixels(with_chunks(half, cicp(12, 13)))
    assert_swatches(found)
    assert found(8, 8)[3] == 128
    grey = (pyvips.Image.black(16, 16) + 255 * pq(0.5)).rint().cast("uchar")
    data = with_chunks(grey.copy(interpretation="b-w"), cicp(9, 16))
    assert list(pixels(data)(8, 8)) == pytest.approx([255 * srgb(0.5)] * 3, abs=CLOSE)


def icc(columns: Sequence[Sequence[float]], curve: bytes, **more: bytes) -> bytes:
    """A profile of a screen by colorants (XYZ for D50) and one curve."""
    numbers = [
        b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(each * 65536) for each in column))
        for column in (*columns, (0.9642, 1, 0.8249))
    ]
    named = (*zip((b"rXYZ", b"gXYZ", b"bXYZ", b"wtpt"), numbers, strict=True),)
    tags = dict(named) | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    text = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + bytes(78)
    tags |= {b"desc": text, b"cprt": b"text\0\0\0\0x\0"}
    tags |= {name.encode(): tag for name, tag in more.items()}
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, tag in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    head = struct.pack(
        ">I4xI4s4s4s12x4s", start + len(body), 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"acsp"
    )
    head = head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


ICC_2020 = ((0.6735, 0.2790, -0.0019), (0.1657, 0.6753, 0.0300), (0.1250, 0.0456, 0.7968))
ICC_ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))


def table(light: Callable[[float], float]) -> bytes:
    values = [round(65535 * light(n / 1023)) for n in range(1024)]
    return b"curv\0\0\0\0" + struct.pack(">I1024H", 1024, *values)


def pq_light(code: float) -> float:
    root = code ** (1 / 78.84375)
    return float(
        (max(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    )


def hlg_light(code: float) -> float:
    if code <= 0.5:
        return code * code / 3
    power = 2.718281828459045 ** ((code - 0.55991073) / 0.17883277)
    return float((power + 0.28466892) / 12)


@pytest.mark.parametrize(
    ("code", "curve", "transfer"),
    [(as_pq, table(pq_light), 16), (as_hlg, table(hlg_light), 18)],
    ids=["pq", "hlg"],
)
@pytest.mark.parametrize("numbered", [True, False])
def test_a_profile_may_be_hdr(
    code: Callable[[Sequence[float]], Sequence[float]],
    curve: bytes,
    transfer: int,
    *,
    numbered: bool,
) -> None:
    more = {"cicp": b"cicp\0\0\0\0" + bytes([9, transfer, 0, 1])} if numbered else {}
    image = strip(code, deep=True).copy()
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", icc(ICC_2020, curve, **more))
    assert_swatches(pixels(bytes(image.pngsave_buffer(keep="icc"))))


def test_an_ordinary_profile_is_left_to_littlecms() -> None:
    image = strip(lambda colour: [each ** (256 / 563) for each in in_gamut(ADOBE, colour)])
    gamma = b"curv\0\0\0\0" + struct.pack(">IH", 1, 563)
    image = image.copy()
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", icc(ICC_ADOBE, gamma))
    assert_swatches(pixels(bytes(image.pngsave_buffer(keep="icc"))))


def exif(colour_space: int, interoperability: str) -> bytes:
    block = PIL.Image.Exif()
    details = block.get_ifd(0x8769)
    details[0xA001] = colour_space
    details[0xA005] = {1: interoperability}
    return block.tobytes()


def photo(image: Any, exif: bytes, **options: Any) -> bytes:
    made = PIL.Image.frombytes("RGB", (image.width, image.height), image.write_to_memory())
    out = io.BytesIO()
    made.save(out, "JPEG", quality=100, subsampling=0, exif=exif, **options)
    return out.getvalue()


def test_a_camera_states_adobe_rgb_by_exif() -> None:
    adobe = strip(lambda colour: [each ** (256 / 563) for each in in_gamut(ADOBE, colour)])
    assert_swatches(pixels(photo(adobe, exif(0xFFFF, "R03"))))
    plain = strip(as_srgb)
    assert_swatches(pixels(photo(plain, exif(1, "R03"))))
    assert_swatches(pixels(photo(plain, exif(0xFFFF, "R98"))))
    assert_swatches(pixels(photo(plain, exif(0xFFFF, "R03"), icc_profile=ICC_SRGB)))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("codes", ["limited", "full"])
def test_a_monochrome_avif_has_black_and_white(mode: str, codes: str) -> None:
    image = PIL.Image.new(mode, (64, 64), (0, 0, 0, 200)[: len(mode)])
    image.paste((255, 255, 255, 200)[: len(mode)], (32, 0, 64, 64))
    out = io.BytesIO()
    image.save(out, "AVIF", quality=100, subsampling="4:0:0", range=codes)
    found = pixels(out.getvalue())
    assert list(found(5, 5))[:3] == pytest.approx([0] * 3, abs=1)
    assert list(found(60, 5))[:3] == pytest.approx([255] * 3, abs=1)


def test_black_ink_is_black_as_littlecms_means_it() -> None:
    inks = [(0, 0, 0, 255), (0, 0, 0, 128), (255, 0, 0, 0), (255, 255, 255, 255), (0, 0, 0, 0)]
    image = PIL.Image.new("CMYK", (16 * len(inks), 16))
    for n, ink in enumerate(inks):
        image.paste(ink, (16 * n, 0, 16 * n + 16, 16))
    press = pyvips.Image.profile_load("cmyk")
    transform = ImageCms.buildTransform(
        io.BytesIO(bytes(press)),
        ImageCms.createProfile("sRGB"),
        "CMYK",
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert transform is not None
    wanted = ImageCms.applyTransform(image, transform)
    assert wanted is not None
    for options in ({}, {"icc_profile": bytes(press)}):
        out = io.BytesIO()
        image.save(out, "TIFF", **options)
        found = pixels(out.getvalue())
        for n, ink in enumerate(inks):
            colour = wanted.getpixel((16 * n + 8, 8))
            assert list(found(16 * n + 8, 8)) == pytest.approx(colour, abs=CLOSE), ink


def test_a_profile_that_cannot_be_read_counts_as_none() -> None:
    image = noise(32, 32)
    damaged = image.copy()
    damaged.set_type(pyvips.GValue.blob_type, "icc-profile-data", ICC_SRGB[:200] + bytes(300))
    whole, without = (
        pixels(bytes(each.jpegsave_buffer(Q=90, keep="icc"))) for each in (damaged, image)
    )
    assert abs(whole - without).max() == 0
    assert pixels(jpeg(image)).bands == 3


@pytest.mark.skipif(not CASES.exists(), reason="no cases beside the project")
def test_a_reported_hdr_png_is_as_its_sdr_twin() -> None:
    found, wanted = (
        pixels((CASES / "hdr-by-icc" / f"{name}.png").read_bytes())
        for name in ("pq-icc", "sdr-reference")
    )
    assert abs(found - wanted).max() <= CLOSE
