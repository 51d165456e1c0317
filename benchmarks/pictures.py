"""Pictures to compare with: originals decoded in full and resized once, and SSIMULACRA2.

The scores need the Python package `ssimulacra2`, which has to be installed or put on PYTHONPATH.
They take about two seconds a megapixel.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

from worker.lab.bench.subject import LIMITS
from worker.render.image.decode import open_original
from worker.render.image.vips import pyvips

PACKAGE = "ssimulacra2"


def can_score() -> bool:
    """Whether the package is there."""
    return importlib.util.find_spec(PACKAGE) is not None


def decoded(data: bytes) -> pyvips.Image:
    """An original, every pixel of it: upright and in sRGB."""
    return open_original(data, LIMITS).decode().image


def resized(original: pyvips.Image, width: int, height: int) -> pyvips.Image:
    """The original in this size, by one resize with Lanczos 3."""
    if (width, height) == (original.width, original.height):
        return original
    return original.resize(width / original.width, vscale=height / original.height)


def write_png(image: pyvips.Image, file: Path) -> Path:
    """Write a picture without loss; returns `file`."""
    file.write_bytes(image.pngsave_buffer(compression=1, keep="none"))
    return file


def ssimulacra2(reference: Path, encoded: bytes) -> float:
    """The score of an encoded picture against a PNG of its size: 100 is the same, 70 is good."""
    from ssimulacra2 import compute_ssimulacra2

    with tempfile.TemporaryDirectory() as folder:
        shown = write_png(pyvips.Image.new_from_buffer(encoded, ""), Path(folder, "shown.png"))
        return float(compute_ssimulacra2(str(reference), str(shown)))
