"""HEIC, as iPhones write it: the only module that imports pi_heif. In child processes only.

The libvips of the wheel lacks an HEVC decoder: it opens a HEIC and fails at its pixels. libheif
turns the picture upright itself (`irot`, `imir`); the EXIF orientation beside it says so once more
and must not be obeyed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pi_heif
from pi_heif import options

from worker.errors import CorruptOriginal, OriginalTooLarge, RenderOutOfMemory, UnsupportedFormat
from worker.system.sandbox import tells_of_no_memory

options.DECODE_THREADS = 1  # a slot is one vCPU's
options.THUMBNAILS = False
options.DEPTH_IMAGES = False
options.AUX_IMAGES = False


def version() -> str:
    """For the recipe."""
    return f"libheif-{pi_heif.libheif_version()}"


class HeifPicture:
    """The primary picture of a HEIC file; `width` and `height` as displayed.

    libheif forgives missing data: whether all of it is there must be known before (`skeleton`).
    """

    def __init__(self, data: bytes) -> None:
        """Read the boxes; pixels come later.

        Raises:
            CorruptOriginal, UnsupportedFormat, OriginalTooLarge.
        """
        with _translated():
            # Ten bits stay sixteen: what is dark in HDR would be stripes in eight.
            heif = pi_heif.open_heif(data, convert_hdr_to_8bit=False)
            self._picture = heif[heif.primary_index]
            self.pages = len(heif)
        self.width, self.height = self._picture.size
        mode, _, depth = self._picture.mode.partition(";")
        self.bands = len(mode) if mode != "I" else 1
        self.bits = 16 if depth else 8
        self.has_alpha = mode[-1] in "Aa"
        self.premultiplied = mode[-1] == "a"
        self.exif: bytes = self._picture.info.get("exif") or b""
        self.profile: bytes = self._picture.info.get("icc_profile") or b""

    def decode(self) -> bytes:
        """Every pixel, row by row, without padding.

        Raises:
            CorruptOriginal, RenderOutOfMemory.
        """
        with _translated():
            pixels = self._picture.data
            width, height = self._picture.size
        expected = self.width * self.height * self.bands * self.bits // 8
        if (width, height) != (self.width, self.height) or len(pixels) != expected:
            raise CorruptOriginal(f"its pixels are {width}x{height}, {len(pixels):,} bytes")
        return bytes(pixels)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what pi_heif raises into the worker's errors."""
    try:
        yield
    except (
        MemoryError,
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        RuntimeError,
        IndexError,
    ) as error:
        message = f"libheif: {error}"
        if "limit exceeded" in message:
            # Filed under "memory allocation"; it is the file that asks for too much.
            raise OriginalTooLarge(message) from error
        if isinstance(error, MemoryError) or tells_of_no_memory(message):
            raise RenderOutOfMemory(f"the slot's memory limit was reached: {message}") from error
        if isinstance(error, SyntaxError):  # what pi_heif makes of "unsupported"
            raise UnsupportedFormat(message) from error
        raise CorruptOriginal(message) from error
