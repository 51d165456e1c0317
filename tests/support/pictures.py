"""Pictures for tests, made here: four coloured corners tell which way up a picture is."""

from __future__ import annotations

import os

os.environ.setdefault("VIPS_CONCURRENCY", "1")

import pyvips

CORNERS = {
    "top left": (220, 30, 30),
    "top right": (30, 200, 30),
    "bottom left": (30, 30, 220),
    "bottom right": (230, 220, 40),
}

# How the upright picture must be turned for a camera to store it under each EXIF orientation.
_STORE = {
    1: lambda image: image,
    2: lambda image: image.fliphor(),
    3: lambda image: image.rot180(),
    4: lambda image: image.flipver(),
    5: lambda image: image.fliphor().rot270(),
    6: lambda image: image.rot270(),
    7: lambda image: image.fliphor().rot90(),
    8: lambda image: image.rot90(),
}


def upright(width: int, height: int) -> pyvips.Image:
    """Four coloured quarters, as displayed."""
    quarters = [
        (pyvips.Image.black(width // 2, height // 2) + list(colour)).cast("uchar")
        for colour in CORNERS.values()
    ]
    image = pyvips.Image.arrayjoin(quarters, across=2)
    return image.copy(interpretation="srgb")


def corners_jpeg(width: int, height: int, orientation: int = 1) -> bytes:
    """The four corners as a JPEG that is stored under an EXIF orientation.

    `width` and `height` are as displayed.
    """
    stored = _STORE[orientation](upright(width, height)).copy_memory()
    stored.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    return bytes(stored.jpegsave_buffer(Q=92))


def noisy_jpeg(width: int, height: int, seed: int = 1) -> bytes:
    """A picture that gives the encoder work: noise over a gradient."""
    noise = pyvips.Image.gaussnoise(width, height, mean=0, sigma=18, seed=seed)
    base = pyvips.Image.xyz(width, height)
    image = (base[0] * (200 / width) + noise).bandjoin(
        [base[1] * (200 / height) + noise, noise + 90]
    )
    return bytes(image.cast("uchar").copy(interpretation="srgb").jpegsave_buffer(Q=90))


def corner_colours(webp: bytes) -> dict[str, tuple[int, ...]]:
    """The colours a little inside each corner of an encoded picture, as displayed."""
    image = pyvips.Image.new_from_buffer(webp, "").autorot()
    x, y = image.width // 8, image.height // 8
    points = {
        "top left": (x, y),
        "top right": (image.width - 1 - x, y),
        "bottom left": (x, image.height - 1 - y),
        "bottom right": (image.width - 1 - x, image.height - 1 - y),
    }
    return {
        name: tuple(round(level) for level in image.getpoint(*point)[:3])
        for name, point in points.items()
    }


def is_upright(webp: bytes) -> bool:
    """Whether every corner has its own colour, give or take what a lossy codec changes."""
    found = corner_colours(webp)
    return all(
        max(abs(a - b) for a, b in zip(found[name], colour, strict=True)) < 40
        for name, colour in CORNERS.items()
    )


def webp_size(webp: bytes) -> tuple[int, int]:
    """Width and height of an encoded picture."""
    image = pyvips.Image.new_from_buffer(webp, "")
    return image.width, image.height
