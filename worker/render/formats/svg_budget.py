"""How much an SVG draws: each part as often as it is used, and the surfaces it draws through.

A chain of thirty elements, each of which uses the one before it twice, draws a billion: so parts
are weighed by what they refer to, each once, however often it is used. Pure.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from worker.errors import OriginalTooLarge
from worker.render.formats.svg_styles import Styles

MAX_ELEMENTS = 100_000
"""Elements that get drawn, each `use`, pattern, mask, marker or filter counted as what it draws;
steps of filters and blends at their weight."""

MAX_DEPTH = 256

FILTER_STEP_WEIGHT = 250
BLEND_WEIGHT = FILTER_STEP_WEIGHT // 2
"""In elements: both work on every pixel of a surface."""

MAX_STYLE_WORK = 5_000_000
"""Selectors of style sheets times elements: each is tried on each element."""

_PLENTY = 2 * MAX_ELEMENTS
_DRAWN_ANEW = {"filter", "pattern", "mask", "clipPath", "marker"}
"""What costs as much at each element that refers to it; a gradient does not."""


@dataclass(slots=True, eq=False)
class _Part:
    """What an element with an id draws.

    Its own weight and surfaces at once; the parts in it and the ids it refers to, each with the
    surfaces that are already open there. `base` is how many are open around it.
    """

    kind: str = ""
    base: int = 0
    weight: int = 0
    surfaces: int = 0
    inner: list[tuple[_Part, int]] = field(default_factory=list)
    refers: list[tuple[str, int]] = field(default_factory=list)


class Budget:
    """Counts while a document is read; one use."""

    def __init__(self) -> None:
        self.elements = 0
        self.surfaces = 0
        self.total = 0
        self._count: Counter[str] = Counter()
        self._parts = [_Part()]
        self._named: dict[str, list[_Part]] = {}
        self._totals: dict[_Part, tuple[int, int]] = {}
        self._open: list[tuple[int, bool]] = []
        self._now = 0
        self._deepest = 0

    def enter(self, kind: str, identity: str | None, classes: str, surfaces: int) -> None:
        """An element begins; its weight and what it refers to are told by `add`.

        Raises:
            OriginalTooLarge: too many elements, or too deep.
        """
        self.elements += 1
        if self.elements > MAX_ELEMENTS:
            raise OriginalTooLarge(f"an SVG of more than {MAX_ELEMENTS:,} elements")
        if len(self._open) >= MAX_DEPTH:
            raise OriginalTooLarge(f"an SVG nested more than {MAX_DEPTH} deep")
        self._count.update({"", kind, *(f".{name}" for name in classes.split())})
        if identity:
            self._count[f"#{identity}"] += 1
            part = _Part(kind, self._now)
            self._parts[-1].inner.append((part, self._now - self._parts[-1].base))
            self._parts.append(part)
            self._named.setdefault(identity, []).append(part)
        self._open.append((0, bool(identity)))
        self._deepest = max(self._deepest, len(self._open))
        self.hold(surfaces)

    def hold(self, surfaces: int, *, above: int = 1) -> None:
        """Surfaces more until the innermost element ends, or one of those around it."""
        if surfaces and len(self._open) >= above:
            held, named = self._open[-above]
            self._open[-above] = held + surfaces, named
            self._now += surfaces
            part = self._parts[-1]
            part.surfaces = max(part.surfaces, self._now - part.base)

    def add(self, weight: int, refers: list[str]) -> None:
        """What the innermost element weighs and refers to."""
        part = self._parts[-1]
        part.weight += weight
        part.refers += [(name, self._now - part.base) for name in refers]

    def leave(self) -> None:
        """The innermost element ends."""
        held, named = self._open.pop()
        self._now -= held
        if named:
            self._parts.pop()

    def check(self, styles: Styles) -> None:
        """All has been read; `total` is what it draws, `surfaces` the most needed at once.

        Raises:
            OriginalTooLarge: it would draw too much.
        """
        total, self.surfaces = self._weigh(self._parts[0], 0)
        for name, times in styles.references(self._count).items():
            for part in self._named.get(name, ()):
                weight, surfaces = self._weigh(part, 0)
                total += weight * (times if part.kind in _DRAWN_ANEW else 1)
                self.surfaces = max(self.surfaces, surfaces)
        total += styles.blends(self._count) * BLEND_WEIGHT
        self.surfaces += styles.surfaces(self._count, self._deepest)
        self.total = total
        if total > MAX_ELEMENTS:
            raise OriginalTooLarge(
                f"an SVG that draws more than {MAX_ELEMENTS:,} elements "
                "(filters and blends weigh more)"
            )
        if styles.selectors * self.elements > MAX_STYLE_WORK:
            raise OriginalTooLarge(
                f"an SVG of {styles.selectors:,} style rules for {self.elements:,} elements"
            )

    def _weigh(self, part: _Part, depth: int) -> tuple[int, int]:
        """Each part once, however often it is used: a chain of doublings costs its length."""
        if part in self._totals:
            return self._totals[part]
        if depth > MAX_DEPTH:
            raise OriginalTooLarge(f"an SVG whose parts use each other more than {MAX_DEPTH} deep")
        self._totals[part] = 0, 0  # what refers to itself in a circle is not drawn
        total, most = part.weight, part.surfaces
        for inner, at in part.inner:
            weight, surfaces = self._weigh(inner, depth + 1)
            total, most = total + weight, max(most, at + surfaces)
        for name, at in part.refers:
            for named in self._named.get(name, ()):
                weight, surfaces = self._weigh(named, depth + 1)
                total, most = min(total + weight, _PLENTY), max(most, at + surfaces)
        self._totals[part] = total, most
        return total, most
