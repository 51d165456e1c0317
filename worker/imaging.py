"""Pictures: one original, decoded once, and every rung of its ladder.

Runs in child processes, one libvips thread each. What is decoded, and from what, is `decode`'s
business; from which picture a rung is made `resize`'s, and writing WebP `webp`'s.
"""

from __future__ import annotations

import base64
import ctypes
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Final, TypeAlias

from worker import heif, vips, webp
from worker.decode import open_original
from worker.encoding import Encoding
from worker.header import Header
from worker.ladder import Ladder, RungSize
from worker.limits import Limits
from worker.pixels import Pixels
from worker.placeholder import average_color, thumbhash
from worker.ports import PictureFacts
from worker.resize import resize, resize_ladder
from worker.vips import translated
from worker.webp import Frame

_PLACEHOLDER_EDGE_PX: Final = 32
"""ThumbHash keeps 7x7 frequencies at most; a larger picture only costs time."""

Stage: TypeAlias = Callable[[str], AbstractContextManager[None]]
"""Wraps a part of the work (`open`, `decode`, `resize`, `encode` or `facts`), to measure it."""


def _unmeasured(_stage: str) -> AbstractContextManager[None]:
    return nullcontext()


def codec() -> str:
    """The libraries that decide the bytes, for the recipe."""
    return f"{vips.version()} {webp.version()} {heif.version()}"


class Picture:
    """One original, decoded once. Not thread-safe.

    Raises (constructor):
        UnsupportedFormat, OriginalTooLarge, CorruptOriginal: nothing has been decoded yet.
    """

    def __init__(self, data: bytes, limits: Limits, *, stage: Stage = _unmeasured) -> None:
        """Read what an encoded picture claims, and check it against the limits."""
        self._stage = stage
        with stage("open"):
            self._opened = open_original(data, limits)
        self.header: Header = self._opened.header
        self._exif = self._opened.exif
        self._pixels: Pixels | None = None
        self._placeholder: Pixels | None = None

    @property
    def format(self) -> str:
        """By content."""
        return self.header.format

    @property
    def width(self) -> int:
        """As displayed, in pixels."""
        return self.header.width

    @property
    def height(self) -> int:
        """As displayed, in pixels."""
        return self.header.height

    def decode(self) -> None:
        """Decode every pixel: upright, sRGB, 8 bit, alpha kept. Once: the encoded bytes are let go.

        Raises:
            CorruptOriginal: the pixels end early or cannot be decoded.
            RenderOutOfMemory: they do not fit the slot.
        """
        with self._stage("decode"):
            self._pixels = self._opened.decode()
        del self._opened
        # Decoders free many pieces, and the C library keeps them: up to a third of the next peak.
        give_back_memory()

    def renditions(self, ladder: Ladder, encoding: Encoding) -> Iterator[tuple[RungSize, bytes]]:
        """Encode each rung as WebP without metadata: the smallest first, `full` last.

        Once: a picture is let go of when nothing more is made of it. The smallest rung is there
        long before `full`, which takes half of the time.

        Raises:
            RenderOutOfMemory: a rung does not fit the slot.
        """
        *sizes, full_size = ladder.sizes(self.width, self.height)
        rungs, full = self._prepared(sizes, full_size)
        for size in sizes:
            with self._stage("encode"):
                encoded = _frame(rungs.pop(0)).encode(encoding.tuning(size))
            yield size, encoded
        with self._stage("encode"):
            encoded = full.encode(encoding.tuning(full_size))
        yield full_size, encoded

    def facts(self) -> PictureFacts:
        """What the manifest says about the original, placeholder included; after `renditions`."""
        if self._placeholder is None:
            raise RuntimeError("renditions() comes first")
        small = self._placeholder
        with self._stage("facts"), translated():
            image = small.image if small.image.hasalpha() else small.image.addalpha()
            rgba = bytes(image.write_to_memory())
            hashed = thumbhash(small.width, small.height, rgba)
        return PictureFacts(
            format=self.format,
            width=self.width,
            height=self.height,
            pages=self.header.pages,
            taken_at=self._exif.taken_at,
            camera=self._exif.camera,
            thumbhash=base64.b64encode(hashed).decode(),
            color=average_color(rgba),
        )

    def _prepared(self, sizes: list[RungSize], full_size: RungSize) -> tuple[list[Pixels], Frame]:
        """Every rung in ascending order, and `full`; and the placeholder's picture.

        The decoded pixels are let go as soon as the largest rung is made of them: `full` takes
        half of their memory as a frame.
        """
        with self._stage("resize"), translated():
            pixels = self._take_decoded()
            largest = resize(pixels, sizes[-1]) if sizes else pixels
            if (full_size.width, full_size.height) != (pixels.width, pixels.height):
                pixels = resize(pixels, full_size)
        with self._stage("encode"):
            full = _frame(pixels)
        del pixels
        with self._stage("resize"), translated():
            rungs = [*resize_ladder(largest, sizes[:-1]), largest] if sizes else []
            smallest = rungs[0] if rungs else largest
            self._placeholder = resize(smallest, _placeholder_size(smallest))
        return rungs, full

    def _take_decoded(self) -> Pixels:
        pixels, self._pixels = self._pixels, None
        if pixels is None:
            raise RuntimeError("decode() comes first, and renditions are made once")
        return pixels


def give_back_memory() -> None:
    """Return to the kernel what was freed and is still kept for another time."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return  # not glibc; there is nothing to trim


def _frame(pixels: Pixels) -> Frame:
    return Frame(pixels.buffer, pixels.width, pixels.height, pixels.bands)


def _placeholder_size(pixels: Pixels) -> RungSize:
    scale = min(1.0, _PLACEHOLDER_EDGE_PX / max(pixels.width, pixels.height))
    width, height = (max(1, round(side * scale)) for side in (pixels.width, pixels.height))
    return RungSize(rung="placeholder", width=width, height=height)
