"""From an original's bytes to upright sRGB pixels: what it is, what it claims, then its pixels.

In this order, so that each step can refuse before a costlier one begins: the format by content, the
skeleton (`skeleton`, `svg`), the header by its library, the limits, and only then a decoder.
"""

from __future__ import annotations

import re

from worker.errors import CorruptOriginal, RenderOutOfMemory, UnsupportedFormat
from worker.photo.header import Header
from worker.photo.limits import Limits
from worker.render.formats.formats import sniff
from worker.render.formats.jpeg import padding_mends
from worker.render.formats.skeleton import Anatomy, dissect
from worker.render.formats.stated import ADOBE_RGB
from worker.render.formats.tiff import read_exif, read_orientation
from worker.render.image.colour import from_lab, to_srgb
from worker.render.image.drawing import SVG_EDGE_PX, Svg
from worker.render.image.heif import HeifPicture
from worker.render.image.opened import Opened
from worker.render.image.pixels import Pixels
from worker.render.image.vips import decoders_words, pyvips, translated

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
    r"extraneous bytes before marker 0x(?:d[0-79a]|c4)",
    re.IGNORECASE,
)
"""What libjpeg says of pixels that are not those of the photo. The rest of its warnings is about
what phones write every day (libvips#2309: "Invalid SOS parameters" by Samsung)."""

_PADDED = re.compile(r"extraneous bytes before marker 0xd[0-7]")

_BITS = {"uchar": 8, "ushort": 16, "short": 16, "uint": 32, "int": 32, "float": 32, "double": 64}
_TURNED = (5, 6, 7, 8)
_COPIED = range(2, 9)


def open_original(data: bytes, limits: Limits, *, drawn_px: int = SVG_EDGE_PX) -> Opened:
    """Read what an original claims, without decoding a pixel; a drawing's longest edge is asked.

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
        opened = Svg(
            data, lambda raw: open_original(raw, limits).decode(), limits, edge_px=drawn_px
        )
    else:
        opened = _Raster(name, data, anatomy)
    limits.check_pixels(opened.header.width, opened.header.height)
    return opened


class _Raster(Opened):
    """What libvips reads by itself."""

    def __init__(self, name: str, data: bytes, anatomy: Anatomy) -> None:
        self._name = name
        # What only makes a decoder warn is mended later: a copy while there is another in memory.
        at_once = name in {"gif", "tiff"}
        self._data = _mended(data, anatomy.mends) if at_once else data
        self._mends = [] if at_once else anatomy.mends
        self._anatomy = anatomy
        self._complaints = ""
        try:
            with translated():
                image = self._open(_STRICT)
                image = self._as_meant(image)
                exif = image.get("exif-data") if image.get_typeof("exif-data") else b""
                # libvips does not see a PNG's that stands behind the pixels.
                behind = b"" if exif else anatomy.exif
                orientation = read_orientation(behind) if behind else _orientation(image)
                self._orientation = orientation
                turned = orientation in _TURNED
        except RenderOutOfMemory as error:
            # A sound header takes little memory: libtiff means a tag of four billion values.
            raise CorruptOriginal("its header asks for what no picture needs") from error
        self.exif = read_exif(data if name == "tiff" else behind or bytes(exif))
        self._stated = anatomy.stated or (ADOBE_RGB if self.exif.adobe_rgb else None)
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
            copied=orientation in _COPIED,
            chroma=anatomy.chroma,
            coded_bits=anatomy.coded_bits,
            tiled=anatomy.tiled,
            part_rows=anatomy.part_rows,
        )

    def decode(self) -> Pixels:
        with translated():
            if self._name != "jpeg":
                # Below warnings libvips passes over tiles that cannot be read. Strips it does not,
                # and ordinary programs leave out the zero that a text should end with.
                return self._pixels(_STRICTEST if self._anatomy.tiled else _STRICT)
            return self._decode_jpeg()

    def _decode_jpeg(self) -> Pixels:
        warning, pixels = self._warning()
        if pixels is None and _PADDED.search(warning) and (mends := padding_mends(self._data)):
            self._data = _mended(self._data, mends)
            warning, pixels = self._warning()
        if _DAMAGE.search(warning):
            raise CorruptOriginal(decoders_words(warning))
        # A warning that says nothing of damage; only truncation and errors count from here on.
        return pixels or self._pixels(_STRICT)

    def _warning(self) -> tuple[str, Pixels | None]:
        """The decoder's first warning, and the pixels unless it fails for it."""
        try:
            pixels = self._pixels(_STRICTEST)
        except pyvips.Error as error:
            return str(error), None
        return self._complaints, pixels

    def _open(self, fail_on: str) -> pyvips.Image:
        load = getattr(pyvips.Image, _LOADERS[self._name])
        options = {"page": self._anatomy.page} if self._anatomy.page else {}
        return load(self._data, access="sequential", fail_on=fail_on, **options)

    def _as_meant(self, image: pyvips.Image) -> pyvips.Image:
        """What libvips leaves aside of what the file says."""
        if self._anatomy.bands and image.bands > len(self._anatomy.bands):
            first, *others = (image[band] for band in self._anatomy.bands)
            chosen = first.bandjoin(others) if others else first
            image = chosen.copy(interpretation=image.interpretation)
        if self._anatomy.lab:
            return image.copy(interpretation="multiband")
        if self._anatomy.frame and not image.hasalpha():
            # Clear around a GIF's frame that is smaller than the whole, not black.
            left, top, width, height = self._anatomy.frame
            width, height = min(width, image.width - left), min(height, image.height - top)
            part = image.crop(left, top, width, height).addalpha()
            return part.embed(left, top, image.width, image.height)
        if self._anatomy.premultiplied and image.hasalpha():
            return _unpremultiplied(image)
        return image

    def _pixels(self, fail_on: str) -> Pixels:
        if self._mends:
            self._data, self._mends = _mended(self._data, self._mends), []
        image = self._as_meant(self._open(fail_on))
        # In memory before it is turned: a turned picture reads its rows out of order.
        if self._anatomy.lab:
            image = from_lab(image)
        image = to_srgb(image, self._stated, narrow=self._anatomy.narrow)
        pixels = Pixels(image)
        self._complaints = pixels.complaints
        # The decoder, which may hold as much as a picture, goes before there is a second one.
        del image
        return pixels.upright(self._orientation)


class _Heic(Opened):
    """What libheif reads."""

    def __init__(self, data: bytes, anatomy: Anatomy) -> None:
        self._picture = picture = HeifPicture(data)
        self.exif = read_exif(picture.exif)
        self._stated = anatomy.stated or (ADOBE_RGB if self.exif.adobe_rgb else None)
        self._narrow = anatomy.narrow
        self.header = Header(
            format="heic",
            width=picture.width,
            height=picture.height,
            bands=picture.bands,
            bits=picture.bits,
            pages=picture.pages,
            has_alpha=picture.has_alpha,
            chroma=anatomy.chroma,
            coded_bits=anatomy.coded_bits,
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
                image = _unpremultiplied(image)
            if picture.profile:
                image.set_type(pyvips.GValue.blob_type, "icc-profile-data", picture.profile)
            return Pixels(to_srgb(image, self._stated, narrow=self._narrow))


def _unpremultiplied(image: pyvips.Image) -> pyvips.Image:
    return image.unpremultiply().cast(image.format).copy(interpretation=image.interpretation)


def _mended(data: bytes, mends: list[tuple[int, bytes]]) -> bytes:
    """A copy with other bytes in a few places, in ascending order."""
    view, at = memoryview(data), 0
    pieces: list[bytes | memoryview] = []
    for place, piece in mends:
        pieces += [view[at:place], piece]
        at = place + len(piece)
    return b"".join([*pieces, view[at:]])


def _orientation(image: pyvips.Image) -> int:
    return int(image.get("orientation")) if image.get_typeof("orientation") else 1
