"""Drawings: an SVG, read as text before (`svg`), drawn by librsvg at one size."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import Final

from worker.errors import OriginalTooLarge, RenderOutOfMemory, UnsupportedFormat, WorkerError
from worker.photo.header import Header
from worker.photo.limits import Limits
from worker.render.formats.formats import sniff
from worker.render.formats.svg import read_drawing
from worker.render.formats.svg_pictures import MAX_PICTURE_BYTES, replaced
from worker.render.formats.svg_size import EDGE_PX
from worker.render.image.opened import Opened
from worker.render.image.pixels import Pixels
from worker.render.image.vips import pyvips, translated

SVG_EDGE_PX: Final = EDGE_PX
"""What a drawing's longest edge is drawn at, and the most that it can be."""

_SVG_DPI, _LIBVIPS_DPI = 96, 72
"""CSS inches have 96 pixels; libvips multiplies the scale by what its own have not."""

_DOT = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1">'
    b'<rect width="1" height="1" fill="%b"/></svg>'
)
"""A pixel of a colour, for the library to say what colour that is."""

_FAST = 1
"""Compression of a PNG that is read once."""

_QUALITIES = (95, 85, 70)

_ROUNDS = 3
"""Loads of a drawing until its size fits: a library may see other pixels than the text states."""

_NOT_DRAWN = "SVG rendering failed"
_NO_SIZE = re.compile("zero-sized image|bad dimensions")
_OVER_LIMIT = "exceeded more than"
"""librsvg's own limits, of references and of what one uses of another."""


class Svg(Opened):
    """What librsvg draws, once it has been read as text.

    Raises (constructor):
        UnsupportedFormat, OriginalTooLarge, CorruptOriginal: refused before it is drawn.
    """

    def __init__(
        self,
        data: bytes,
        decode_picture: Callable[[bytes], Pixels],
        limits: Limits,
        *,
        edge_px: int = SVG_EDGE_PX,
    ) -> None:
        """Read the text; `decode_picture` is for what is embedded in it, later."""
        drawing = read_drawing(data, limits)
        self._text, self._pictures = drawing.text, drawing.pictures
        self._decode_picture = decode_picture
        self._background = drawing.background
        longest, shortest = sorted((drawing.width, drawing.height), reverse=True)
        # A banner is drawn larger than asked: librsvg leaves out what is thinner than a pixel.
        thinnest = ceil(min(SVG_EDGE_PX, longest / shortest))
        self._edge_px = edge_px = min(max(edge_px, thinnest), SVG_EDGE_PX)
        if shortest * edge_px < longest:
            raise UnsupportedFormat(f"an SVG of {drawing.width:g} x {drawing.height:g} is a line")
        self._scale = edge_px / longest
        width = max(1, round(drawing.width * self._scale))
        height = max(1, round(drawing.height * self._scale))
        with translated():
            width, height = self._as_styled(drawing.outline, width, height)
        self.header = Header(
            format="svg",
            width=width,
            height=height,
            bands=4,
            bits=8,
            has_alpha=True,
            document_bytes=drawing.memory_bytes,
        )
        self.header = replace(
            self.header,
            document_bytes=drawing.memory_bytes + drawing.surfaces * self.header.decoded_bytes,
        )

    def _as_styled(self, outline: bytes, width: int, height: int) -> tuple[int, int]:
        """The size to draw at, and its scale, by what style sheets make of the stated one.

        It loads the outline only: the library's tree of a whole drawing can take a gigabyte. If the
        library finds no size, the stated one stays, for `_load` to judge.
        """
        scale = self._scale
        for _ in range(_ROUNDS):
            try:
                image = _sized(outline, scale)
            except pyvips.Error:
                break
            if max(abs(image.width - width), abs(image.height - height)) <= 1:
                break
            longest = max(image.width, image.height)
            if abs(longest - self._edge_px) <= 1:
                self._scale = scale
                return self._fitted(image.width, longest), self._fitted(image.height, longest)
            scale *= self._edge_px / longest
        return width, height

    def _fitted(self, edge: int, longest: int) -> int:
        return max(1, round(edge * self._edge_px / longest))

    def decode(self) -> Pixels:
        """See `Opened`."""
        wanted = self.header
        self._text = replaced(self._text, self._pictures, self._drawable)
        self._pictures = []
        with translated():
            image = self._load()
            try:
                # libvips may round the other way.
                return Pixels(self._on_background(image.embed(0, 0, wanted.width, wanted.height)))
            except pyvips.Error as error:
                text = " ".join(str(error).split())
                if _OVER_LIMIT in text:
                    raise OriginalTooLarge(text) from error
                if _NOT_DRAWN in text:
                    # What was well-formed is drawn, unless a surface for it cannot be had.
                    raise RenderOutOfMemory(text) from error
                raise

    def _on_background(self, image: pyvips.Image) -> pyvips.Image:
        """Over the root's background, which the library leaves out."""
        if not self._background:
            return image
        colour = _sized(_DOT % self._background.encode(), 1.0)(0, 0)
        under = image.new_from_image(colour).cast("uchar").copy(interpretation="srgb")
        return under.composite2(image, "over").rint().cast("uchar")

    def _drawable(self, picture: bytes) -> tuple[str, bytes]:
        """A PNG as a rule; a large photo as it came or as a JPEG, because attributes have a limit.

        Raises:
            CorruptOriginal, RenderOutOfMemory: it cannot be decoded to the end.
        """
        try:
            with translated():
                image = self._decode_picture(picture).image
                data = bytes(image.pngsave_buffer(compression=_FAST, filter="none"))
                if len(data) > MAX_PICTURE_BYTES and sniff(picture) == "png":
                    return "png", picture
                if len(data) > MAX_PICTURE_BYTES and not image.hasalpha():
                    for quality in _QUALITIES:
                        data = bytes(image.jpegsave_buffer(Q=quality, keep="none"))
                        if len(data) <= MAX_PICTURE_BYTES:
                            break
                    return "jpeg", data
                return "png", data
        except WorkerError as error:
            raise type(error)(f"a picture embedded in the SVG: {error}") from error

    def _load(self) -> pyvips.Image:
        """Not drawn yet, at the size wanted.

        Raises:
            UnsupportedFormat: the library cannot find this shape in it.
        """
        wanted, scale = self.header, self._scale
        for _ in range(_ROUNDS):
            try:
                image = _sized(self._text, scale)
            except pyvips.Error as error:
                if _NO_SIZE.search(str(error)):
                    raise UnsupportedFormat(
                        "an SVG whose style leaves no size that it could be drawn at"
                    ) from error
                raise
            if max(abs(image.width - wanted.width), abs(image.height - wanted.height)) <= 1:
                return image
            scale *= max(wanted.width, wanted.height) / max(image.width, image.height)
        raise UnsupportedFormat(
            f"an SVG that says {wanted.width} x {wanted.height} px and is drawn at "
            f"{image.width} x {image.height}"
        )


def _sized(text: bytes, scale: float) -> pyvips.Image:
    """A drawing that is not drawn yet, `scale` pixels to a CSS pixel."""
    return pyvips.Image.svgload_buffer(text, dpi=_SVG_DPI, scale=scale * _LIBVIPS_DPI / _SVG_DPI)
