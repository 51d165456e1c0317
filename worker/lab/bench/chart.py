"""A bar chart as SVG text.

Text is a neutral grey and the background is left out, so that a chart can be read on a light page
and on a dark one.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from worker.lab.bench.report import cell

_WIDTH, _HEAD, _ROW, _BAR, _MARGIN = 760, 52, 30, 20, 16
_LETTER_PX = 7
_VALUE_PX = 110


def bars(title: str, unit: str, values: Mapping[str, float]) -> str:
    """Return a horizontal bar for each name, as long as its value, with the value at its end."""
    left = _MARGIN + _LETTER_PX * max((len(name) for name in values), default=0) + 8
    scale = (_WIDTH - left - _VALUE_PX) / (max(values.values(), default=0) or 1)
    rows = []
    for number, (name, value) in enumerate(values.items()):
        top, width = _HEAD + _ROW * number, value * scale
        rows += [
            f'<text x="{left - 8}" y="{top + 15}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{left}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="#3f86c9"/>',
            f'<text x="{left + width + 8:.1f}" y="{top + 15}">{cell(value)} {escape(unit)}</text>',
        ]
    height = _HEAD + _ROW * len(values) + _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#7a828c">\n'
        f'<text x="{_MARGIN}" y="28" font-size="15">{escape(title)}</text>\n'
        + "\n".join(rows)
        + "\n</svg>\n"
    )
