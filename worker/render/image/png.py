"""PNG: lossless, by libvips, in child processes only.

Compression 6 is where bytes stop falling and time starts to rise: 9 takes six times as long for
1 % of a photo. A drawing is flat and takes fewest bytes unfiltered, in half the time; a photo takes
30 % fewer with a filter chosen row by row (docs/performance.md).
"""

from __future__ import annotations

from typing import Final

from worker.render.image.pixels import Pixels
from worker.render.image.vips import translated

_COMPRESSION: Final = 6


def encode(pixels: Pixels, *, drawn: bool) -> bytes:
    """The PNG file of a picture: 8 bit, with alpha if it has any, without metadata.

    Raises:
        RenderOutOfMemory: it does not fit the memory.
    """
    with translated():
        return bytes(
            pixels.image.pngsave_buffer(
                compression=_COMPRESSION,
                filter="none" if drawn else "all",
                interlace=False,
                keep="none",
            )
        )
