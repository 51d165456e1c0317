"""A watermark: its picture, opacity, size and places. `overlay` draws it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

Position: TypeAlias = Literal[
    "centre",
    "north",
    "north-east",
    "east",
    "south-east",
    "south",
    "south-west",
    "west",
    "north-west",
    "tile",
]
"""The place of a watermark: the centre, an edge or a corner as libvips names them, or tiles."""

POSITIONS: Final[tuple[str, ...]] = get_args(Position)

MAX_BYTES: Final = 4 << 20
"""The largest watermark file; every child reads the file once."""

MAX_PIXELS: Final = 16_000_000
"""The largest watermark picture; a child keeps it scaled down to `KEPT_EDGE_PX`."""

KEPT_EDGE_PX: Final = 1600
"""The longest edge that a child keeps of a watermark between renders: 10 MiB at most."""

MARGIN: Final = 0.02
"""The distance from the watermark to the edge, as a share of the rung's shorter edge. Between tiles
it is ten times as large."""

SMALLEST_RUNG_PX: Final = 200
"""A rung whose longest edge is shorter gets no watermark, because it would be unreadable."""

_TILE_GAP: Final = 10
"""The gap between tiles, in margins. It is at least this many pixels; otherwise a thin rung would
have a tile in each column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFile:
    """A file that the settings name, with the bytes that were read."""

    name: str = field(compare=False)
    data: bytes = field(repr=False)
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        """Compute the digest once, because the names of every photo depend on it."""
        object.__setattr__(self, "sha256", hashlib.sha256(self.data).hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """A watermark for every rung: the picture file with this hex `sha256`.

    `opacity` is 0-1. `scale` is the watermark's width as a share of the rung's width, 0-1; a
    watermark that would be taller than the rung is made smaller.
    """

    sha256: str
    opacity: float
    position: Position
    scale: float

    def __str__(self) -> str:
        """Return the part of the recipe's fingerprint: all options that decide the look."""
        return f"{self.sha256[:12]}@{self.position} opacity={self.opacity} scale={self.scale}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Corner:
    """The upper left corner of a watermark on a rung, in pixels; it may lie outside the rung."""

    left: int
    top: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The size of a watermark on one rung, and the corner of each copy."""

    width: int
    height: int
    corners: tuple[Corner, ...]


def place(watermark: Watermark, aspect: tuple[int, int], size: tuple[int, int]) -> Placement | None:
    """Return where a watermark lies on a rung; `None` if the rung is too small.

    `aspect` is the (width, height) of the watermark's picture, `size` that of the rung.
    """
    if max(size) < SMALLEST_RUNG_PX:
        return None
    margin = round(MARGIN * min(size))
    room = max(1, size[0] - 2 * margin), max(1, size[1] - 2 * margin)
    width = min(watermark.scale * size[0], room[0], room[1] * aspect[0] / aspect[1])
    fitted = max(1, round(width)), min(room[1], max(1, round(width * aspect[1] / aspect[0])))
    corners = (
        _tiled(fitted, size, _TILE_GAP * max(1, margin))
        if watermark.position == "tile"
        else (_on_the_compass(watermark.position, fitted, size, margin),)
    )
    return Placement(width=fitted[0], height=fitted[1], corners=corners)


def _on_the_compass(
    position: str, fitted: tuple[int, int], size: tuple[int, int], margin: int
) -> Corner:
    free = size[0] - fitted[0], size[1] - fitted[1]
    left, top = free[0] // 2, free[1] // 2
    if "west" in position:
        left = min(margin, free[0])
    if "east" in position:
        left = max(0, free[0] - margin)
    if "north" in position:
        top = min(margin, free[1])
    if "south" in position:
        top = max(0, free[1] - margin)
    return Corner(left=left, top=top)


def _tiled(fitted: tuple[int, int], size: tuple[int, int], gap: int) -> tuple[Corner, ...]:
    """Return rows of tiles up to the edges and beyond; every other row is moved by half a tile."""
    step = fitted[0] + gap, fitted[1] + gap
    corners = []
    for row, top in enumerate(range(0, size[1], step[1])):
        first = -step[0] // 2 if row % 2 else 0
        corners += [Corner(left=left, top=top) for left in range(first, size[0], step[0])]
    return tuple(corners)
