"""Ladder: the sizes that a picture gets, from rungs and the arithmetic of fitting.

A rung is the longest edge of its box: `1024` means "fits in 1024 x 1024". Rungs that would enlarge
the picture are left out. `full` is the picture's own size, clamped to what WebP can hold.
"""

from __future__ import annotations

from dataclasses import dataclass

FULL = "full"

WEBP_MAX_PX = 16_383
"""The longest edge of a WebP bitstream: 14 bits hold size - 1 (VP8 frame header, RFC 6386)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One step of a ladder: a name and the edge of its box in pixels (`None` for `full`)."""

    name: str
    edge_px: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RungSize:
    """The size of a rung's rendition of one picture, in pixels, at least 1 x 1."""

    rung: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Ladder:
    """An ordered list of different rungs; `full`, if it has one, is the last."""

    rungs: tuple[Rung, ...]

    @classmethod
    def parse(cls, text: str) -> Ladder:
        """Read a list such as `320,512,full`; add a missing `full` and sort the edges.

        Raises:
            ValueError: a rung is neither `full` nor an integer from 1 to 16383.
        """
        edges: set[int] = set()
        for part in (piece.strip() for piece in text.split(",")):
            if part == FULL:
                continue
            if not (part.isascii() and part.isdigit() and 1 <= int(part) <= WEBP_MAX_PX):
                raise ValueError(
                    f"rung {part!r} is neither 'full' nor a size from 1 to {WEBP_MAX_PX} pixels"
                )
            edges.add(int(part))
        sized = tuple(Rung(name=str(edge), edge_px=edge) for edge in sorted(edges))
        return cls((*sized, Rung(name=FULL, edge_px=None)))

    @classmethod
    def exactly(cls, text: str) -> Ladder:
        """Read only the named rungs, without adding `full`.

        Raises:
            ValueError: see `parse`.
        """
        ladder = cls.parse(text)
        if FULL in (piece.strip() for piece in text.split(",")):
            return ladder
        return cls(ladder.rungs[:-1])

    @property
    def has_full(self) -> bool:
        """True if pictures are also rendered in their own size."""
        return self.rungs[-1].edge_px is None

    def sizes(self, width: int, height: int) -> tuple[RungSize, ...]:
        """Return the sizes of the renditions of a picture of `width` x `height` displayed pixels.

        The sizes ascend. A rung as large as the picture or larger is left out, because `full` is
        that picture. In a ladder without `full`, the smallest of those rungs gets the picture's own
        size.
        """
        longest = max(width, height)
        fitting = [
            _fit(rung.name, width, height, rung.edge_px)
            for rung in self.rungs
            if rung.edge_px is not None and rung.edge_px < longest
        ]
        if self.has_full:
            return (*fitting, _fit(FULL, width, height, min(longest, WEBP_MAX_PX)))
        if len(fitting) < len(self.rungs):
            fitting.append(_fit(self.rungs[len(fitting)].name, width, height, longest))
        return tuple(fitting)

    def __str__(self) -> str:
        """Return the comma list that `parse` reads."""
        return ",".join(rung.name for rung in self.rungs)


def _fit(rung: str, width: int, height: int, edge_px: int) -> RungSize:
    longest = max(width, height)
    # Use integer arithmetic, because machines round float products such as 2559.9999 differently.
    scaled = [max(1, (2 * side * edge_px + longest) // (2 * longest)) for side in (width, height)]
    return RungSize(rung=rung, width=scaled[0], height=scaled[1])


DEFAULT_LADDER = Ladder.parse("320,512,768,1024,1280,1600,2048,2560,full")
