"""How much a rendition looks like what it was made of: SSIMULACRA2, by libvips, in child processes.

The metric is Jon Sneyers's (https://github.com/cloudinary/ssimulacra2): structure and edges of XYB
colours at five scales, trained on human opinions; 90 cannot be told from the original, 70 is high,
50 medium quality. Those of its 108 weights that matter are here, which saves the arithmetic of half
of the planes. Large pictures are judged by tiles, small ones are mirrored to the size that the
scales need. How well that holds: docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from worker.render.image import webp
from worker.render.image.pixels import Pixels
from worker.render.image.vips import pyvips, translated

_TILE_PX: Final = 256
"""Sixteen pixels at the smallest of five scales."""

_TILES: Final = (3, 2)
_TILES_THIN: Final = (6, 1)
_THIN_PX: Final = 384
"""Along the longer and the shorter edge, evenly spread; and up to which shorter edge in a row."""

_TILES_FLATTER: Final = 0.8
"""Points that tiles score higher than their whole picture, in the mean of photos."""

_SIGMA: Final = 1.5
_C2: Final = 0.0009

_BIAS: Final = 0.0037930732552754493
_OPSIN: Final = (
    (0.30, 0.622, 0.078),
    (0.23, 0.692, 0.078),
    (0.24342268924547819, 0.20476744424496821, 0.5518098665095536),
)
"""From linear RGB to what the cones see; libjxl's."""

_XYB: Final = ((7.0, -7.0, 0.0), (0.5, 0.5, 0.0), (-0.5, -0.5, 1.0))
_OFFSETS: Final = (0.42, 0.01, 0.55)
"""X, Y and B - Y of the cones' cube roots, positive and about as large."""

_GAMMA_FROM: Final = 0.04045
_LEVELS: Final = 65_535
_MOST: Final = 1.0 + 2 * _BIAS


_MEAN, _WORST = "mean", "worst"
_STRUCTURE, _NEW_EDGES, _LOST_EDGES = "structure", "new edges", "lost edges"
_X, _Y, _B = range(3)

_WEIGHTS: Final[tuple[Mapping[tuple[int, str, str], float], ...]] = (
    {
        (_Y, _STRUCTURE, _WORST): 7.466890328078848,
        (_Y, _LOST_EDGES, _WORST): 17.445833984131262,
    },
    {
        (_X, _STRUCTURE, _WORST): 1.1041726426657346,
        (_Y, _STRUCTURE, _WORST): 6.683678146179332,
        (_Y, _LOST_EDGES, _WORST): 1.027889937768264,
    },
    {
        (_X, _STRUCTURE, _WORST): 1.8422455520539298,
        (_X, _NEW_EDGES, _WORST): 11.441172603757666,
        (_Y, _STRUCTURE, _MEAN): 225.20515300849274,
        (_Y, _STRUCTURE, _WORST): 19.213238186143016,
    },
    {
        (_X, _STRUCTURE, _WORST): 1.8787594979546387,
        (_X, _NEW_EDGES, _WORST): 10.94906990605142,
        (_Y, _STRUCTURE, _MEAN): 176.39317598450694,
        (_Y, _STRUCTURE, _WORST): 24.43300999870476,
        (_Y, _NEW_EDGES, _WORST): 0.28520802612117757,
        (_B, _NEW_EDGES, _WORST): 8.826982764996862,
        (_B, _LOST_EDGES, _WORST): 23.19243343998926,
    },
    {
        (_X, _NEW_EDGES, _MEAN): 0.9677937080626833,
        (_X, _NEW_EDGES, _WORST): 0.9981766977854967,
        (_Y, _STRUCTURE, _WORST): 34.77906344483772,
        (_Y, _NEW_EDGES, _WORST): 44.835625328877896,
        (_B, _NEW_EDGES, _MEAN): 95.1080498811086,
        (_B, _STRUCTURE, _WORST): 0.9834382792465353,
        (_B, _LOST_EDGES, _MEAN): 0.9863978034400682,
        (_B, _LOST_EDGES, _WORST): 171.2667255897307,
    },
)
"""Of the errors of each scale and plane: structure that is lost, edges that are new or lost; their
mean, or their norm of the fourth power, which sees the worst. The metric's own but for those below
0.003 and the smallest scale, which has one of 1."""


class _LookupTables:
    """What is the same for every picture: a gamma and a cube root, looked up."""

    def __init__(self) -> None:
        levels = pyvips.Image.identity().linear(1 / 255, 0)
        curve = levels.linear(1 / 1.055, 0.055 / 1.055).math2_const("pow", [2.4])
        self.linear = (levels <= _GAMMA_FROM).ifthenelse(levels / 12.92, curve).copy_memory()
        root = pyvips.Image.identity(ushort=True).linear(_MOST / _LEVELS, 0)
        self.root = root.math2_const("pow", [1 / 3]).linear(1, -(_BIAS ** (1 / 3))).copy_memory()
        self.opsin = pyvips.Image.new_from_array([list(row) for row in _OPSIN])


class Likeness:
    """One picture that renditions of its own size are compared with. Not thread-safe.

    Keeps some of its pixels, not the picture: 12 MiB at most, another 24 while it compares.
    """

    def __init__(self, pixels: Pixels) -> None:
        """Look at the picture that will be encoded.

        Raises:
            RenderOutOfMemory: it does not fit the memory.
        """
        self._width, self._height, self._bands = pixels.width, pixels.height, pixels.bands
        self._in_tiles = _in_tiles(pixels.width, pixels.height)
        with translated():
            self._tables = _LookupTables()
            self._scales = [(seen, _blurred(seen)) for seen in self._seen(pixels.image)]

    def score(self, data: bytes) -> float:
        """How much a WebP of this picture looks like it: 100 is the same, and it may be negative.

        Raises:
            RenderOutOfMemory: it does not fit the memory.
        """
        decoded = webp.decode(data, self._width, self._height, self._bands)
        with translated():
            image = pyvips.Image.new_from_memory(
                decoded, self._width, self._height, self._bands, "uchar"
            ).copy(interpretation="srgb")
            error = sum(
                _error(one, one_mean, other, weights)
                for (one, one_mean), other, weights in zip(
                    self._scales, self._seen(image), _WEIGHTS, strict=True
                )
            )
        return _as_score(error) - (_TILES_FLATTER if self._in_tiles else 0.0)

    def _seen(self, image: pyvips.Image) -> list[pyvips.Image]:
        """The planes that count of a picture or of its tiles: an image for each scale."""
        if image.hasalpha():
            image = image.flatten(background=128)
        linear = _sampled(image).maplut(self._tables.linear).copy_memory()
        scales = []
        for weights in _WEIGHTS:
            cones = (
                linear.recomb(self._tables.opsin)
                .linear(_LEVELS / _MOST, _BIAS * _LEVELS / _MOST + 0.5)
                .cast("ushort")
                .maplut(self._tables.root)
                .copy_memory()
            )
            channels = _channels(weights)
            planes = cones.recomb([list(_XYB[each]) for each in channels])
            scales.append(planes.linear(1, [_OFFSETS[each] for each in channels]).copy_memory())
            linear = linear.shrink(2, 2).copy_memory()
        return scales


def _sampled(image: pyvips.Image) -> pyvips.Image:
    """All of a small picture, mirrored to the least size; tiles of a large one, side by side."""
    width, height = max(image.width, _TILE_PX), max(image.height, _TILE_PX)
    if _in_tiles(width, height):
        tiles = _TILES if min(width, height) > _THIN_PX else _TILES_THIN
        across, down = tiles if width >= height else tiles[::-1]
        image = image.embed(0, 0, width, height, extend="mirror")
        columns = _spread(width, across)
        rows = _spread(height, down)
        crops = [image.crop(left, top, _TILE_PX, _TILE_PX) for top in rows for left in columns]
        return pyvips.Image.arrayjoin(crops, across=across)
    return image.embed(0, 0, width, height, extend="mirror")


def _in_tiles(width: int, height: int) -> bool:
    """Whether all of it, mirrored to the least size, would be more than the tiles are."""
    most = _TILES[0] * _TILES[1] * _TILE_PX**2
    return max(width, _TILE_PX) * max(height, _TILE_PX) > most


def _spread(edge: int, count: int) -> list[int]:
    return [(edge - _TILE_PX) * (2 * each + 1) // (2 * count) for each in range(count)]


def _blurred(plane: pyvips.Image) -> pyvips.Image:
    return plane.gaussblur(_SIGMA, precision="float", min_ampl=0.02).copy_memory()


def _error(
    one: pyvips.Image,
    one_mean: pyvips.Image,
    other: pyvips.Image,
    weights: Mapping[tuple[int, str, str], float],
) -> float:
    """What one scale of a rendition adds to the whole.

    What is used twice is put into memory first: libvips computes it again for each use.
    """
    bands = other.bands
    means = _blurred(other.bandjoin([one * one + other * other, one * other]))
    other_mean, squares, product = (means.extract_band(at * bands, n=bands) for at in range(3))
    maps = {}
    if any(kind == _STRUCTURE for _, kind, _ in weights):
        apart = (one_mean - other_mean).copy_memory()
        shared = (product - one_mean * other_mean).linear(2, _C2)
        spread = (squares - one_mean * one_mean - other_mean * other_mean).linear(1, _C2)
        alike = (apart * apart).linear(-1, 1) * shared / spread
        maps[_STRUCTURE] = alike.linear(-1, 1).copy_memory()
    edges = (other - other_mean).abs().linear(1, 1) / (one - one_mean).abs().linear(1, 1)
    edges = edges.linear(1, -1).copy_memory()
    maps[_NEW_EDGES], maps[_LOST_EDGES] = edges, (edges * -1).copy_memory()
    channels = _channels(weights)
    total = 0.0
    for (channel, kind, norm), weight in weights.items():
        errors = maps[kind].extract_band(channels.index(channel))
        errors = (errors > 0).ifthenelse(errors, 0)
        if norm == _MEAN:
            total += weight * errors.avg()
        else:
            squared = (errors * errors).copy_memory()
            total += weight * (squared * squared).avg() ** 0.25
    return total


def _channels(weights: Mapping[tuple[int, str, str], float]) -> list[int]:
    return sorted({channel for channel, _, _ in weights})


def _as_score(error: float) -> float:
    """The scale of human opinions; its figures are the metric's."""
    error *= 0.9562382616834844
    error = (
        2.326765642916932 * error
        - 0.020884521182843837 * error**2
        + 6.248496625763138e-05 * error**3
    )
    return 100.0 - 10.0 * error**0.6276336467831387 if error > 0 else 100.0
