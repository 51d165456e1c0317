"""An original whose header has been read; what formats do with it is `decode`'s and `drawing`'s."""

from __future__ import annotations

from worker.photo.header import Header
from worker.render.formats.tiff import Exif
from worker.render.image.pixels import Pixels


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
