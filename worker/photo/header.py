"""Facts about an original: its header before the decode, its picture facts after the render.

A header predicts the cost of a decode. It is no proof that the pixels can be decoded.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """One original before its decode.

    `width` and `height` are as displayed, in pixels; for an SVG, they are the size of its drawing.
    `bands` (with alpha) and `bits` (of one band) describe the decoder's output. `pages` counts
    pages or frames; only the first is decoded. `progressive` means that the decoder holds the whole
    picture in a form of its own before it delivers a row: progressive JPEG, interlaced PNG or GIF.
    `turned` means that width and height change places after the decode; `copied` means that a
    turned or mirrored copy is the upright picture. `document_bytes` is the memory of a drawing
    besides its pixels: elements, paths, embedded pictures and drawing surfaces. `chroma` ("400",
    "420", "422", "444") and `coded_bits` say how an AVIF or HEIC is coded, if the file says so: its
    planes take less memory before they become bands of equal size. A TIFF is stored in tiles
    (`tiled`) or in strips of `part_rows` rows (0: one strip).
    """

    format: str
    width: int
    height: int
    bands: int
    bits: int
    pages: int = 1
    has_alpha: bool = False
    progressive: bool = False
    turned: bool = False
    copied: bool = False
    document_bytes: int = 0
    chroma: str = ""
    coded_bits: int = 0
    tiled: bool = False
    part_rows: int = 0

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width * self.height

    @property
    def decoded_bytes(self) -> int:
        """The bytes of the decoder's whole output in memory."""
        return self.pixels * self.bands * (self.bits // 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFacts:
    """Facts about an original that a child process has found.

    `width` and `height` are as displayed (after EXIF orientation), in pixels. Only the first of
    `pages` or frames is rendered. `camera` is maker and model.
    """

    format: str
    width: int
    height: int
    pages: int
    taken_at: str | None
    camera: str | None
    thumbhash: str
    color: str
