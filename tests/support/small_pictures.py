"""Pictures made on the spot."""

from __future__ import annotations

from typing import Any

from worker.render.image import imaging  # noqa: F401 # sets libvips up before pyvips is imported

import pyvips  # isort: skip

RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 200, 30), (30, 30, 220), (250, 250, 250)
CORNERS = (RED, GREEN, BLUE, WHITE)
"""Upper left, upper right, lower left, lower right."""


def corners(width: int = 60, height: int = 40) -> Any:
    """A picture of four coloured quarters."""
    half = width // 2, height // 2
    quarters = [
        (pyvips.Image.black(*half) + list(color)).cast("uchar").copy(interpretation="srgb")
        for color in CORNERS
    ]
    return pyvips.Image.arrayjoin(quarters, across=2)


def noise(width: int, height: int) -> Any:
    """A picture that is hard to encode."""
    bands = [pyvips.Image.gaussnoise(width, height, sigma=60, mean=128, seed=n) for n in (1, 2, 3)]
    return bands[0].bandjoin(bands[1:]).cast("uchar").copy(interpretation="srgb")


def jpeg(image: Any, quality: int = 90) -> bytes:
    """Encoded, with what metadata it has."""
    return bytes(image.jpegsave_buffer(Q=quality))


def png(image: Any) -> bytes:
    """Encoded without loss."""
    return bytes(image.pngsave_buffer(compression=1))


def decoded(data: bytes) -> Any:
    """A WebP read back into memory."""
    return pyvips.Image.new_from_buffer(data, "").copy_memory()
