"""A watermark: whose picture, how strong, how large and where. `overlay` draws it."""

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
"""Where a watermark lies: at an edge or a corner as libvips names them, or all over."""

POSITIONS: Final[tuple[str, ...]] = get_args(Position)

MAX_BYTES: Final = 4 << 20
"""Of the file: every child reads it once."""

MAX_PIXELS: Final = 16_000_000
"""Of the picture; kept is what fits `KEPT_EDGE_PX`."""

KEPT_EDGE_PX: Final = 1600
"""The longest edge that a child keeps of a watermark between renders: 10 MiB at most."""

MARGIN: Final = 0.02
"""Of the rung's shorter edge, between the watermark and the edge; between tiles ten times that."""

SMALLEST_RUNG_PX: Final = 200
"""A rung whose longest edge is shorter stays without: nothing could be read there."""

_TILE_GAP: Final = 10
"""In margins; at least so many pixels, or a thin rung would have a tile in each column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFile:
    """A file that was named in the settings, as it was read."""

    name: str = field(compare=False)
    data: bytes = field(repr=False)
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        """Digest it once: every photo's names depend on it."""
        object.__setattr__(self, "sha256", hashlib.sha256(self.data).hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """What is laid over every rung: the picture file with this hex `sha256`.

    `opacity` is 0-1, `scale` its width as a share of the rung's, 0-1; one that would be taller than
    the rung is made to fit it.
    """

    sha256: str
    opacity: float
    position: Position
    scale: float

    def __str__(self) -> str:
        """For the recipe's fingerprint: all that decides what it looks like."""
        return f"{self.sha256[:12]}@{self.position} opacity={self.opacity} scale={self.scale}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Corner:
    """The upper left corner of a watermark on a rung, in pixels; it may lie outside."""

    left: int
    top: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The size of a watermark on one rung, and each corner where one lies."""

    width: int
    height: int
    corners: tuple[Corner, ...]


def place(watermark: Watermark, aspect: tuple[int, int], size: tuple[int, int]) -> Placement | None:
    """Where a watermark whose picture has this aspect lies on a rung; both (width, height).

    `None` on a rung that is too small for any.
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
    """Rows of tiles, every other one moved by half a tile, up to the edges and beyond."""
    step = fitted[0] + gap, fitted[1] + gap
    corners = []
    for row, top in enumerate(range(0, size[1], step[1])):
        first = -step[0] // 2 if row % 2 else 0
        corners += [Corner(left=left, top=top) for left in range(first, size[0], step[0])]
    return tuple(corners)
