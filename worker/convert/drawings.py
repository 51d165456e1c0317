"""This module draws the charts of the report's page, in the page's colours, light or dark.

Bars are HTML, so that their text is as large as the page's on any screen. The curve is SVG.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

from worker.console.text import size

_CURVE: Final = 1000, 100
"""The curve's own units; the page stretches the curve to the width that it has."""


class Bar(NamedTuple):
    """One row: its name, its length, and the text after the bar. `kind` is a CSS class."""

    label: str
    value: float
    shown: str
    note: str = ""
    kind: str = "after"


def bars(rows: Sequence[Bar]) -> str:
    """Return a table with a bar in each row; the longest bar has the full width."""
    most = max((row.value for row in rows), default=0) or 1
    noted = any(row.note for row in rows)
    lines = []
    for row in rows:
        note = f'<td class="share">{escape(row.note)}</td>' if noted else ""
        width = 100 * row.value / most
        bar = f'<i class="{row.kind}" style="width:{width:.2f}%"></i>' if row.value else ""
        lines.append(
            f'<tr><th scope="row">{escape(row.label)}</th><td class="bar">{bar}</td>'
            f"<td>{escape(row.shown)}</td>{note}</tr>"
        )
    return f'<table class="bars"><tbody>{"".join(lines)}</tbody></table>'


def curve(samples: Sequence[tuple[float, int]]) -> str:
    """Return a curve of bytes over seconds, from zero to the largest sample."""
    end = max((at for at, _ in samples), default=0.0) or 1.0
    most = max((in_use for _, in_use in samples), default=0) or 1
    width, height = _CURVE
    points = [
        f"{width * at / end:.1f},{height * (1 - in_use / most):.1f}" for at, in_use in samples
    ]
    first, last = (points[0].split(",")[0], points[-1].split(",")[0]) if points else ("0", "0")
    return (
        f'<div class="curve"><b>{size(most)}</b>'
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="Memory over time, at most {size(most)}">'
        f'<polygon class="area" points="{first},{height} {" ".join(points)} {last},{height}"/>'
        f'<polyline class="line" points="{" ".join(points)}"/></svg>'
        f"<p><span>0 s</span><span>{_clock(end / 2)}</span><span>{_clock(end)}</span></p></div>"
    )


def _clock(seconds: float) -> str:
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02} min"
