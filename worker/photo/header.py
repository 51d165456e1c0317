"""What is known of an original: its header before the decode, its facts after the render.

A header predicts what a decode will cost. It proves nothing about the pixels behind it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """One original before its decode.

    `width` and `height` are as displayed, in pixels; for SVG the size that it is drawn at. `bands`
    (with alpha) and `bits` (of one band) are as the decoder delivers them. `pages` counts pages or
    frames; only the first is decoded. `progressive` means that the decoder holds the whole picture
    in a form of its own before it delivers a row: progressive JPEG, interlaced PNG or GIF. `turned`
    means that width and height change places after the decode, `copied` that the upright picture is
    a second one, turned or mirrored. `document_bytes` is what a drawing takes besides its pixels:
    elements, paths, embedded pictures, and the surfaces that it is drawn through. `chroma` ("400",
    "420", "422", "444") and `coded_bits` say how an AVIF or HEIC is coded, where it tells: its
    planes take less before they become bands of equal size. A TIFF is stored in tiles (`tiled`) or
    in strips of `part_rows` rows (0: one strip).
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
        """The decoder's output, all of it in memory at once."""
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
