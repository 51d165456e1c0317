"""From an original's bytes to upright sRGB pixels: what it is, what it claims, then its pixels.

In this order, so that each step can refuse before a costlier one begins: the format by content, the
skeleton (`anatomy`, `svg`), the header by its library, the limits, and only then a decoder.
"""

from __future__ import annotations

import re

from worker.anatomy import Anatomy, dissect
from worker.colour import to_srgb
from worker.errors import CorruptOriginal, RenderOutOfMemory, UnsupportedFormat
from worker.formats import sniff
from worker.header import Header
from worker.heif import HeifPicture
from worker.limits import Limits
from worker.pixels import Pixels
from worker.svg import read_drawing
from worker.tiff import Exif, read_exif
from worker.vips import pyvips, translated

SVG_EDGE_PX = 2000
"""What a drawing's longest edge is drawn at: it has no pixels of its own. libvips draws in tiles of
2,000 px and repeats every filter for each (measured: one blur 1.4 s at 1,900 px, 6 s at 2,100)."""

_LOADERS = {
    "jpeg": "jpegload_buffer",
    "png": "pngload_buffer",
    "webp": "webpload_buffer",
    "gif": "gifload_buffer",
    "tiff": "tiffload_buffer",
    "avif": "heifload_buffer",
}

_STRICT = "error"
_STRICTEST = "warning"

_DAMAGE = re.compile(
    r"premature end|bad Huffman|bad arithmetic|instead of RST|"
    r"extraneous bytes before marker 0xd[0-7]",
    re.IGNORECASE,
)
"""What libjpeg says of pixels that are not those of the photo. The rest of its warnings is about
what phones write every day (libvips#2309: "Invalid SOS parameters" by Samsung)."""

_BITS = {"uchar": 8, "ushort": 16, "short": 16, "uint": 32, "int": 32, "float": 32, "double": 64}
_TURNED = (5, 6, 7, 8)


def open_original(data: bytes, limits: Limits) -> Opened:
    """Read what an original claims, without decoding a pixel.

    Raises:
        UnsupportedFormat, OriginalTooLarge, CorruptOriginal.
    """
    name = sniff(data)
    anatomy = dissect(name, data)
    limits.check_pixels(anatomy.width, anatomy.height)
    opened: Opened
    if name == "heic":
        opened = _Heic(data, anatomy)
    elif name == "svg":
        opened = _Svg(data, limits)
    else:
        opened = _Raster(name, data, anatomy)
    limits.check_pixels(opened.header.width, opened.header.height)
    return opened


class Opened:
    """An original whose header has been read; one decode."""

    header: Header
    exif: Exif = Exif()

    def decode(self) -> Pixels:
        """Every pixel: upright, sRGB, 8 bit, alpha kept. The encoded picture is let go of.

        Raises:
            CorruptOriginal: the pixels end early or cannot be decoded.
            RenderOutOfMemory: they do not fit the slot.
        """
        raise NotImplementedError


class _Raster(Opened):
    """What libvips reads by itself."""

    def __init__(self, name: str, data: bytes, anatomy: Anatomy) -> None:
        self._name = name
        self._data = data
        self._nclx = anatomy.nclx
        try:
            with translated():
                image = self._open(_STRICT)
                turned = _orientation(image) in _TURNED
                exif = image.get("exif-data") if image.get_typeof("exif-data") else b""
        except RenderOutOfMemory as error:
            # A header needs none to speak of: libtiff means a tag of four billion values.
            raise CorruptOriginal("its header asks for what no picture needs") from error
        self.exif = read_exif(data if name == "tiff" else bytes(exif))
        bits = _BITS.get(image.format)
        if bits is None:
            raise UnsupportedFormat(f"{image.format} numbers are no picture's pixels")
        self.header = Header(
            format=name,
            width=image.height if turned else image.width,
            height=image.width if turned else image.height,
            bands=image.bands,
            bits=bits,
            pages=anatomy.pages,
            has_alpha=bool(image.hasalpha()),
            progressive=bool(image.get_typeof("interlaced")) or anatomy.scans > 1,
            turned=turned,
        )

    def decode(self) -> Pixels:
        with translated():
            if self._name != "jpeg":
                return self._pixels(_STRICT)
            try:
                return self._pixels(_STRICTEST)
            except pyvips.Error as error:
                if _DAMAGE.search(str(error)):
                    raise
            # A warning that says nothing of damage; only truncation and errors count from here on.
            return self._pixels(_STRICT)

    def _open(self, fail_on: str) -> pyvips.Image:
        load = getattr(pyvips.Image, _LOADERS[self._name])
        return load(self._data, access="sequential", fail_on=fail_on)

    def _pixels(self, fail_on: str) -> Pixels:
        image = self._open(fail_on)
        # In memory before it is turned: a turned picture reads its rows out of order.
        return Pixels(to_srgb(image, self._nclx)).upright(_orientation(image))


class _Heic(Opened):
    """What libheif reads."""

    def __init__(self, data: bytes, anatomy: Anatomy) -> None:
        self._picture = picture = HeifPicture(data)
        self._nclx = anatomy.nclx
        self.exif = read_exif(picture.exif)
        self.header = Header(
            format="heic",
            width=picture.width,
            height=picture.height,
            bands=picture.bands,
            bits=picture.bits,
            pages=picture.pages,
            has_alpha=picture.has_alpha,
        )

    def decode(self) -> Pixels:
        picture = self._picture
        pixels = picture.decode()
        wide = picture.bits > 8  # noqa: PLR2004
        colours = picture.bands - picture.has_alpha
        space = ("grey16" if wide else "b-w") if colours == 1 else ("rgb16" if wide else "srgb")
        with translated():
            image = pyvips.Image.new_from_memory(
                pixels, picture.width, picture.height, picture.bands, "ushort" if wide else "uchar"
            ).copy(interpretation=space)
            if picture.premultiplied:
                image = image.unpremultiply().cast("ushort" if wide else "uchar")
            if picture.profile:
                image.set_type(pyvips.GValue.blob_type, "icc-profile-data", picture.profile)
            return Pixels(to_srgb(image, self._nclx))


class _Svg(Opened):
    """What librsvg draws, once it has been read as text."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        drawing = read_drawing(data, limits)
        self._text = drawing.text
        longest = max(drawing.width, drawing.height)
        if min(drawing.width, drawing.height) * SVG_EDGE_PX < longest:
            raise UnsupportedFormat(f"an SVG of {drawing.width:g} x {drawing.height:g} is a line")
        self._scale = SVG_EDGE_PX / longest
        self.header = Header(
            format="svg",
            width=max(1, round(drawing.width * self._scale)),
            height=max(1, round(drawing.height * self._scale)),
            bands=4,
            bits=8,
            has_alpha=True,
            document_bytes=drawing.memory_bytes,
        )

    def decode(self) -> Pixels:
        wanted = self.header
        with translated():
            image = pyvips.Image.svgload_buffer(self._text, scale=self._scale)
            if max(abs(image.width - wanted.width), abs(image.height - wanted.height)) > 1:
                raise CorruptOriginal(
                    f"an SVG that says {wanted.width} x {wanted.height} px is drawn at "
                    f"{image.width} x {image.height}"
                )
            # libvips may round the other way.
            return Pixels(image.embed(0, 0, wanted.width, wanted.height))


def _orientation(image: pyvips.Image) -> int:
    return int(image.get("orientation")) if image.get_typeof("orientation") else 1
