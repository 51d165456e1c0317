"""Sample photographs, made here: skies, ridges and sensor noise, 24 megapixel ones among them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("VIPS_CONCURRENCY", "1")

import pyvips

_DRAFT_EDGE_PX = 750
"""Scenes are composed small and enlarged; noise at full size gives the encoder real work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One picture to make: name, size as displayed, EXIF orientation, colours of sky and land."""

    name: str
    width: int
    height: int
    orientation: int
    sky: tuple[int, int, int]
    land: tuple[int, int, int]


SAMPLES = (
    Sample(name="dawn-24mp.jpg", width=6000, height=4000, orientation=1,
           sky=(248, 170, 120), land=(60, 44, 70)),
    Sample(name="noon-24mp-turned.jpg", width=4000, height=6000, orientation=6,
           sky=(110, 170, 235), land=(70, 110, 60)),
    Sample(name="dusk-12mp.jpg", width=4000, height=3000, orientation=1,
           sky=(90, 80, 150), land=(24, 22, 44)),
    Sample(name="upside-down-8mp.jpg", width=3264, height=2448, orientation=3,
           sky=(180, 210, 220), land=(120, 96, 70)),
    Sample(name="portrait-5mp.jpg", width=1944, height=2592, orientation=1,
           sky=(235, 205, 160), land=(90, 50, 40)),
    Sample(name="small.jpg", width=900, height=600, orientation=1,
           sky=(150, 215, 205), land=(30, 80, 84)),
)  # fmt: skip

_STORED_TURN = {1: "copy", 3: "rot180", 6: "rot270"}
"""How a camera that is held in an orientation stores its pixels."""


def write_samples(folder: Path) -> list[Path]:
    """Write every sample as a JPEG into `folder`; about six CPU seconds."""
    return [_write(sample, folder / sample.name, seed) for seed, sample in enumerate(SAMPLES)]


def _write(sample: Sample, path: Path, seed: int) -> Path:
    scale = _DRAFT_EDGE_PX / max(sample.width, sample.height)
    width, height = round(sample.width * scale), round(sample.height * scale)
    scene = _scene(sample, width, height, seed)
    scene = scene.resize(sample.width / width, vscale=sample.height / height, kernel="cubic")
    noise = pyvips.Image.gaussnoise(sample.width, sample.height, mean=0, sigma=5, seed=seed)
    photo = (scene + noise).cast("uchar").copy(interpretation="srgb")
    photo = getattr(photo, _STORED_TURN[sample.orientation])()
    photo.set_type(pyvips.GValue.gint_type, "orientation", sample.orientation)
    photo.jpegsave(str(path), Q=92)
    return path


def _scene(sample: Sample, width: int, height: int, seed: int) -> pyvips.Image:
    rows = pyvips.Image.xyz(width, height)[1] / height
    bands = [rows * ((255 - level) * 0.7) + level for level in sample.sky]
    sky = bands[0].bandjoin(bands[1:])
    clouds = pyvips.Image.perlin(width, height, cell_size=140, seed=seed) * 28
    image = sky + clouds
    for ridge in range(4):
        # One row of smooth noise is a skyline; each nearer ridge is lower and darker.
        skyline = pyvips.Image.perlin(width, 1, cell_size=70 + 45 * ridge, seed=seed * 7 + ridge)
        edge = skyline * (0.09 + 0.02 * ridge) + 0.45 + 0.14 * ridge
        below = rows > edge.embed(0, 0, width, height, extend="copy")
        fade = 1 - ridge / 4
        colour = [c + (s - c) * fade * 0.6 for s, c in zip(sample.sky, sample.land, strict=True)]
        texture = pyvips.Image.perlin(width, height, cell_size=18, seed=seed + 31 * ridge) * 9
        image = below.ifthenelse(texture + colour, image)
    return image
