"""Pixels: a decoded picture in memory, 8-bit sRGB, as libvips and the encoder both read it.

Python owns the buffer, and libvips and the encoder read it in place, without a copy.
"""

from __future__ import annotations

from typing import Any

from worker.render.image.vips import complaints, forget_complaints, pyvips


class Pixels:
    """One picture of 3 bands, or of 4 with alpha. Not thread-safe.

    `buffer` holds it row by row without padding; `image` is the same memory, and valid as long as
    this object is kept. `complaints` is what its decoder warned of.
    """

    def __init__(self, image: pyvips.Image) -> None:
        """Compute every pixel of an image that is still a plan.

        Raises:
            pyvips.Error: whatever the plan fails with.
        """
        self.width, self.height, self.bands = image.width, image.height, image.bands
        forget_complaints()
        self.buffer: Any = image.write_to_memory()
        self.complaints = complaints()
        self.image = pyvips.Image.new_from_memory(
            self.buffer, self.width, self.height, self.bands, "uchar"
        ).copy(interpretation="srgb")

    def upright(self, orientation: int) -> Pixels:
        """Turned as an EXIF orientation asks, 1 being upright already."""
        if orientation not in range(2, 9):
            return self
        tagged = self.image.copy()
        tagged.set_type(pyvips.GValue.gint_type, "orientation", orientation)
        return Pixels(tagged.autorot())
