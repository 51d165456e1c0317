"""Pictures embedded in a drawing: what is accepted is drawn, by our own decoders."""

from __future__ import annotations

import base64
import io
from typing import Any

import PIL.Image
import pytest

from tests.support.small_pictures import noise, png
from worker.errors import CorruptOriginal, UnsupportedFormat
from worker.photo.limits import Limits
from worker.render.image.decode import open_original

LIMITS = Limits(max_original_bytes=1 << 30, max_original_pixels=30_000_000)
GREEN = (0, 160, 0)


def saved(form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    PIL.Image.new("RGB", (16, 16), GREEN).save(out, form, **options)
    return out.getvalue()


def url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def drawing(href: str, inside: str = "") -> bytes:
    return (
        "<svg xmlns='http://www.w3.org/2000/svg' width='40' height='20'>"
        f"<image width='20' height='20' href='{href}'/>{inside}"
        "<rect x='20' width='20' height='20' fill='#0000ff'/></svg>"
    ).encode()


def pixels(data: bytes) -> Any:
    return open_original(data, LIMITS, drawn_px=80).decode().image


SVG = (
    b"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9'>"
    b"<rect width='9' height='9' fill='#00a000'/></svg>"
)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (saved("PNG"), "image/png"),
        (saved("JPEG", quality=100), "image/jpeg"),
        (saved("JPEG", quality=100, progressive=True), "image/jpg"),
        (saved("WEBP", lossless=True), "image/webp"),
        (saved("GIF"), "image/gif"),
        (saved("PNG"), "image/jpeg"),
        (saved("WEBP", lossless=True), "image/png"),
        (saved("PNG"), "application/octet-stream"),
        (saved("PNG"), ""),
        (SVG, "image/svg+xml"),
        (SVG, "image/png"),
        (drawing(url(saved("WEBP", lossless=True), "image/webp")), "image/svg+xml"),
    ],
    ids=[
        "png",
        "jpeg",
        "progressive",
        "webp",
        "gif",
        "png-called-jpeg",
        "webp-called-png",
        "no-picture's-type",
        "no-type",
        "svg",
        "svg-called-png",
        "webp-in-svg",
    ],
)
def test_an_embedded_picture_is_drawn(data: bytes, kind: str) -> None:
    found = pixels(drawing(url(data, kind)))
    assert list(found(10, 20)) == pytest.approx([*GREEN, 255], abs=3)
    assert list(found(60, 20)) == [0, 0, 255, 255]


def test_an_embedded_picture_has_its_own_colours() -> None:
    out = io.BytesIO()
    PIL.Image.new("CMYK", (16, 16), (255, 0, 0, 0)).save(out, "JPEG", quality=95)
    alone = open_original(out.getvalue(), LIMITS).decode().image
    found = pixels(drawing(url(out.getvalue(), "image/jpeg")))
    assert list(found(10, 20))[:3] == pytest.approx(list(alone(8, 8)), abs=3)


def test_a_large_photo_fits_the_attribute() -> None:
    photo = bytes(noise(1900, 1900).jpegsave_buffer(Q=90))
    mean = pixels(drawing(url(photo, "image/jpeg"))).crop(4, 4, 32, 32).avg()
    assert 100 < mean < 200


def test_a_damaged_embedded_picture_makes_no_drawing() -> None:
    data = bytearray(png(noise(64, 64)))
    data[data.index(b"IDAT") + 100] ^= 1
    with pytest.raises(CorruptOriginal, match="embedded in the SVG"):
        pixels(drawing(url(bytes(data), "image/png")))
    with pytest.raises(UnsupportedFormat, match="embedded avif"):
        pixels(drawing(url(saved("AVIF"), "image/avif")))


def test_a_background_lies_under_the_whole_drawing() -> None:
    root = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='-9 -9 20 20' width='20' height='40'"
    for style, wanted in (("background:#00a000", 255), ("background:rgba(0,160,0,.5)", 128)):
        data = f"{root} style='{style}'><rect width='11' height='11' fill='#0000ff'/></svg>"
        found = pixels(data.encode())
        assert list(found(1, 1)) == pytest.approx([*GREEN, wanted], abs=1)
        assert list(found(35, 50)) == [0, 0, 255, 255]


def test_values_of_css_are_drawn() -> None:
    sheet = ":root{--c:#00a000}rect{fill:light-dark(var(--c),#000)}"
    data = f"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><style>{sheet}</style>"
    assert list(pixels(f"{data}<rect width='9' height='9'/></svg>".encode())(9, 9)) == [*GREEN, 255]


def test_the_fall_back_of_a_switch_is_drawn() -> None:
    html = "<foreignObject><p xmlns='http://www.w3.org/1999/xhtml'>a</p></foreignObject>"
    inside = f"<switch>{html}<rect width='9' height='9' fill='#00a000'/></switch>"
    data = f"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'>{inside}</svg>"
    assert list(pixels(data.encode())(9, 9)) == [*GREEN, 255]
