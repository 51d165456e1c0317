"""Pictures: one original, decoded once, and every rung of its ladder.

Runs in child processes, with one libvips thread each. `decode` opens and decodes the original,
`resize` makes each rung from a larger picture, `webp` and `png` encode.
"""

from __future__ import annotations

import base64
import ctypes
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final, TypeAlias

from worker.photo.header import Header, PictureFacts
from worker.photo.ladder import FULL, Ladder, RungSize
from worker.photo.limits import Limits
from worker.photo.looks import Looks
from worker.render.formats.svg_size import EDGE_PX
from worker.render.image import heif, png, vips, webp
from worker.render.image.aim import Aim
from worker.render.image.decode import open_original
from worker.render.image.likeness import Likeness
from worker.render.image.overlay import Overlay, on_background
from worker.render.image.pixels import Pixels
from worker.render.image.placeholder import average_color, thumbhash
from worker.render.image.resize import resize, resize_ladder
from worker.render.image.vips import translated
from worker.render.image.webp import Frame

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
        UnsupportedFormat, OriginalTooLarge, CorruptOriginal: it has been refused before its decode.
    """

    def __init__(
        self,
        data: bytes,
        limits: Limits,
        *,
        stage: Stage = _unmeasured,
        drawn_px: int = EDGE_PX,
    ) -> None:
        """Read what an encoded picture claims, and check it against the limits.

        The longest edge of a drawing will have `drawn_px`.
        """
        self._stage = stage
        with stage("open"):
            self._opened = open_original(data, limits, drawn_px=drawn_px)
        self.header: Header = self._opened.header
        self._exif = self._opened.exif
        self._pixels: Pixels | None = None
        self._placeholder: Pixels | None = None
        self._shows_placeholder = True
        self._overlay: Overlay | None = None
        self.aim: Aim | None = None

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

    def renditions(
        self,
        ladder: Ladder,
        looks: Looks,
        overlay: Overlay | None = None,
        *,
        placeholder: bool = True,
    ) -> Iterator[tuple[RungSize, bytes]]:
        """Encode each rung without metadata: the smallest first, `full` last.

        Once: each picture is let go after its last use. The smallest rung is there long before
        `full`, which takes half of the time. `overlay` is the watermark of these looks. Without a
        `placeholder` the facts lack it.

        Raises:
            RenderOutOfMemory: a rung does not fit the slot.
        """
        sizes = ladder.sizes(self.width, self.height)
        self.aim = Aim(looks)
        self._overlay = overlay
        self._shows_placeholder = placeholder
        rungs, full = self._prepared(sizes, looks)
        for size in sizes:
            with self._stage("encode"):
                finished = full if size.rung == FULL else None
                if finished is None:
                    finished = self._finished(rungs.pop(0), looks)
                encoded = finished.encode(self.aim, size, drawn=self.format == "svg")
                # What comes next needs the room.
                del finished
            yield size, encoded

    def facts(self) -> PictureFacts:
        """What the manifest says about the original, placeholder included; after `renditions`."""
        if self._placeholder is None and self._shows_placeholder:
            raise RuntimeError("renditions() comes first")
        hashed, color = b"", ""
        if (small := self._placeholder) is not None:
            with self._stage("facts"), translated():
                image = small.image if small.image.hasalpha() else small.image.addalpha()
                rgba = bytes(image.write_to_memory())
                hashed = thumbhash(small.width, small.height, rgba)
                color = average_color(rgba)
        return PictureFacts(
            format=self.format,
            width=self.width,
            height=self.height,
            pages=self.header.pages,
            taken_at=self._exif.taken_at,
            camera=self._exif.camera,
            thumbhash=base64.b64encode(hashed).decode(),
            color=color,
        )

    def _prepared(
        self, sizes: tuple[RungSize, ...], looks: Looks
    ) -> tuple[list[Pixels], _Finished | None]:
        """Every rung but `full` in ascending order, and `full`; and the placeholder's picture.

        The decoded pixels are let go as soon as the largest rung is made of them: `full` takes
        half of their memory as a frame.
        """
        resized = [size for size in sizes if size.rung != FULL]
        with self._stage("resize"), translated():
            pixels = self._take_decoded()
            if looks.background is not None:
                pixels = on_background(pixels, looks.background)
            largest = _sized(pixels, resized[-1]) if resized else pixels
            if not resized:
                self._take_placeholder(pixels)
            if len(resized) < len(sizes):
                pixels = _sized(pixels, sizes[-1])
        full = None
        if len(resized) < len(sizes):
            with self._stage("encode"):
                full = self._finished(pixels, looks)
        del pixels
        if not resized:
            return [], full
        with self._stage("resize"), translated():
            rungs = [*resize_ladder(largest, resized[:-1]), largest]
            self._take_placeholder(rungs[0])
        return rungs, full

    def _take_placeholder(self, pixels: Pixels) -> None:
        if self._shows_placeholder:
            self._placeholder = resize(pixels, _placeholder_size(pixels))

    def _finished(self, pixels: Pixels, looks: Looks) -> _Finished:
        """A rung as it will be encoded: the last use of these pixels."""
        if self._overlay is not None:
            self._overlay.lay_over(pixels)
        if looks.format == "png":
            return _Finished(pixels=pixels)
        likeness = Likeness(pixels) if looks.target_quality is not None else None
        frame = Frame(pixels.buffer, pixels.width, pixels.height, pixels.bands)
        return _Finished(frame=frame, likeness=likeness)

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


@dataclass(slots=True, kw_only=True)
class _Finished:
    """A rung whose file is still to be made, of its pixels or of a frame."""

    pixels: Pixels | None = None
    frame: Frame | None = None
    likeness: Likeness | None = None

    def encode(self, aim: Aim, size: RungSize, *, drawn: bool) -> bytes:
        if self.pixels is not None:
            return png.encode(self.pixels, drawn=drawn)
        assert self.frame is not None  # noqa: S101 (one or the other)
        return aim.encode(self.frame, size, self.likeness)


def _sized(pixels: Pixels, size: RungSize) -> Pixels:
    if (size.width, size.height) == (pixels.width, pixels.height):
        return pixels
    return resize(pixels, size)


def _placeholder_size(pixels: Pixels) -> RungSize:
    scale = min(1.0, _PLACEHOLDER_EDGE_PX / max(pixels.width, pixels.height))
    width, height = (max(1, round(side * scale)) for side in (pixels.width, pixels.height))
    return RungSize(rung="placeholder", width=width, height=height)
