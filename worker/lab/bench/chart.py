"""Charts as SVG text: bars, lines and dots with axes. Pure; knows nothing of what it draws.

Text and grid are neutral greys and the background is left out, so that a chart can be read on a
light page and on a dark one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from worker.lab.bench.scale import Scale, near, number

_WIDTH, _HEIGHT = 760, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 20, 80, 56
_MARGIN = 16
_PLOT_WIDTH = _WIDTH - _LEFT - _RIGHT
_PLOT_HEIGHT = _HEIGHT - _TOP - _BOTTOM
_INK = "#7a828c"
_GRID = "#8888884d"
_COLOURS = ("#3f86c9", "#d98a3d", "#5a9e6f", "#a678c4", "#c9605f", "#8c8c5a", "#4fa3a3")
_LETTER_PX = 6.6
_SWATCH_PX = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A named row of values: one for each category of bars, or points (x, y) of a line."""

    name: str
    values: tuple[float, ...] = ()
    points: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One labelled point."""

    name: str
    x: float
    y: float


def bars(
    title: str, unit: str, categories: Sequence[str], series: Sequence[Series], *, x_label: str
) -> str:
    """Bars over categories, the series on top of each other; the sum stands above each bar."""
    sums = [sum(each.values[i] for each in series) for i in range(len(categories))]
    y = Scale(0, max(sums, default=0), _TOP + _PLOT_HEIGHT, _TOP)
    step = _PLOT_WIDTH / max(1, len(categories))
    parts = []
    for i, category in enumerate(categories):
        left, width, below = _LEFT + step * (i + 0.15), step * 0.7, 0.0
        for order, each in enumerate(series):
            value = each.values[i]
            top, foot = y(below + value), y(below)
            parts.append(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" '
                f'height="{max(0.0, foot - top):.1f}" fill="{_colour(order)}">'
                f"<title>{escape(category)}, {escape(each.name)}: {number(value)} {escape(unit)}"
                "</title></rect>"
            )
            below += value
        middle = left + width / 2
        parts.append(_text(middle, y(below) - 5, number(sums[i]), anchor="middle"))
        parts.append(_text(middle, _TOP + _PLOT_HEIGHT + 18, category, anchor="middle"))
    legend = [each.name for each in series] if len(series) > 1 else []
    return _page(title, legend, [_y_axis(y, unit), _x_label(x_label), *parts])


def lines(title: str, series: Sequence[Series], *, x_label: str, y_label: str) -> str:
    """Lines through points, both axes from zero."""
    points = [point for each in series for point in each.points]
    x, y = _scales(points)
    parts = [_x_axis(x, sorted({value for value, _ in points})), _y_axis(y, y_label)]
    taken: dict[float, list[float]] = defaultdict(list)
    for order, each in enumerate(series):
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in each.points)
        colour = _colour(order)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for a, b in each.points:
            parts.append(_circle(x(a), y(b), order, f"{each.name}: {number(b)} at {number(a)}"))
            height = _free(y(b) - 9, taken[a])
            taken[a].append(height)
            parts.append(_text(x(a), height, number(b), anchor="middle", colour=colour))
    return _page(title, [each.name for each in series], [_x_label(x_label), *parts])


def dots(title: str, found: Sequence[Dot], *, x_label: str, y_label: str) -> str:
    """Named dots; y from zero, and x from where it begins to matter."""
    _, y = _scales([(dot.x, dot.y) for dot in found])
    x = near([dot.x for dot in found], _LEFT, _LEFT + _PLOT_WIDTH)
    parts = [_x_axis(x), _y_axis(y, y_label), _x_label(x_label)]
    taken: list[float] = []
    for order, dot in enumerate(sorted(found, key=lambda dot: (dot.y, dot.x))):
        told = f"{dot.name}: {number(dot.x)}, {number(dot.y)}"
        parts.append(_circle(x(dot.x), y(dot.y), order, told))
        on_the_right = x(dot.x) > _LEFT + _PLOT_WIDTH * 0.6
        height = _free(y(dot.y) + 4, taken)
        taken.append(height)
        parts.append(
            _text(
                x(dot.x) + (-9 if on_the_right else 9),
                height,
                f"{dot.name} ({number(dot.x)}; {number(dot.y)})",
                anchor="end" if on_the_right else "start",
                colour=_colour(order),
            )
        )
    return _page(title, [], parts)


def _scales(points: Sequence[tuple[float, float]]) -> tuple[Scale, Scale]:
    most_x = max((x for x, _ in points), default=0)
    most_y = max((y for _, y in points), default=0)
    x = Scale(0, most_x, _LEFT, _LEFT + _PLOT_WIDTH)
    return x, Scale(0, most_y, _TOP + _PLOT_HEIGHT, _TOP)


def _free(height: float, taken: Sequence[float]) -> float:
    """The nearest height at or above this one where no label stands yet."""
    while any(abs(height - other) < 14 for other in taken):  # noqa: PLR2004 (a line of text)
        height -= 14
    return height


def _y_axis(scale: Scale, label: str) -> str:
    def line(value: float) -> str:
        y = scale(value)
        return (
            f'<line x1="{_LEFT}" x2="{_LEFT + _PLOT_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="{_GRID}"/>' + _text(_LEFT - 8, y + 4, number(value), anchor="end")
        )

    return _each(scale.ticks(), line) + _text(_MARGIN, _TOP - 14, label)


def _x_axis(scale: Scale, at: Sequence[float] | None = None) -> str:
    foot = _TOP + _PLOT_HEIGHT

    def tick(value: float) -> str:
        return _text(scale(value), foot + 18, number(value), anchor="middle")

    return _each(scale.ticks() if at is None else at, tick)


def _x_label(label: str) -> str:
    return _text(_LEFT + _PLOT_WIDTH / 2, _HEIGHT - 12, label, anchor="middle")


def _each(values: Sequence[float], draw: Callable[[float], str]) -> str:
    return "".join(draw(value) for value in values)


def _circle(x: float, y: float, order: int, told: str) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{_colour(order)}">'
        f"<title>{escape(told)}</title></circle>"
    )


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", colour: str = _INK, size: int = 12
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" '
        f'font-size="{size}">{escape(text)}</text>'
    )


def _page(title: str, legend: Sequence[str], parts: Sequence[str]) -> str:
    shown, x = [_text(_MARGIN, 24, title, size=15)], float(_MARGIN)
    for order, name in enumerate(legend):
        shown.append(
            f'<rect x="{x:.1f}" y="38" width="10" height="10" fill="{_colour(order)}"/>'
            + _text(x + 15, 47, name)
        )
        x += _SWATCH_PX + len(name) * _LETTER_PX
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" font-family="system-ui, sans-serif" role="img">'
        f"<title>{escape(title)}</title>\n" + "\n".join([*shown, *parts]) + "\n</svg>\n"
    )


def _colour(order: int) -> str:
    return _COLOURS[order % len(_COLOURS)]
