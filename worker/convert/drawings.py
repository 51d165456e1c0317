"""Charts of the report's page: inline SVG whose colours are the page's, light or dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

_WIDTH, _LEFT, _RIGHT = 640, 74, 16
_PLOT: Final = _WIDTH - _LEFT - _RIGHT
_WIDE: Final = 1100
_VALUE_PX: Final = 90
_BAR_PX, _GAP_PX = 16, 6
_HEIGHT, _TOP, _FOOT = 220, 12, 34
_MIB: Final = 1 << 20


def size(count: float) -> str:
    """Bytes for people: `812 B`, `3.4 MiB`."""
    for unit, scale in (("GiB", 1 << 30), ("MiB", _MIB), ("KiB", 1 << 10)):
        if count >= scale:
            return f"{count / scale:,.1f} {unit}"
    return f"{count:,.0f} B"


def before_and_after(rows: Sequence[tuple[str, int, int]]) -> str:
    """Two bars for each label: bytes of the originals, bytes of the renditions."""
    most = max((max(before, after) for _, before, after in rows), default=1) or 1
    row_px = 2 * _BAR_PX + _GAP_PX + 14
    parts, y = [], 4
    for label, before, after in rows:
        parts.append(_text(_LEFT - 10, y + _BAR_PX + 4, label, "end", "label"))
        room = _WIDE - _LEFT - _RIGHT - _VALUE_PX
        for kind, value, top in (("before", before, y), ("after", after, y + _BAR_PX + 2)):
            width = max(1.0, room * value / most)
            parts.append(
                f'<rect class="{kind}" x="{_LEFT}" y="{top}" width="{width:.1f}" '
                f'height="{_BAR_PX}" rx="3"/>'
            )
            parts.append(_text(_LEFT + width + 8, top + _BAR_PX - 4, size(value), "start", "value"))
        y += row_px
    return _svg(y, "Bytes of originals and of renditions by size", parts, width=_WIDE)


def distribution(classes: Sequence[tuple[str, int]]) -> str:
    """A column for each class: how many pictures took how long."""
    most = max((count for _, count in classes), default=1) or 1
    step = _PLOT / max(1, len(classes))
    base = _HEIGHT - _FOOT
    parts = [_grid(value, most, f"{value:,.0f}") for value in _ticks(most)]
    for number, (label, count) in enumerate(classes):
        height = (base - _TOP) * count / most
        x = _LEFT + number * step
        parts.append(
            f'<rect class="after" x="{x + 2:.1f}" y="{base - height:.1f}" '
            f'width="{max(1.0, step - 4):.1f}" height="{height:.1f}" rx="2">'
            f"<title>{escape(label)}: {count:,}</title></rect>"
        )
        parts.append(_text(x + step / 2, base + 18, label, "middle", "tick"))
    return _svg(_HEIGHT, "How long pictures took", parts)


def over_time(samples: Sequence[tuple[float, int]]) -> str:
    """A line of bytes over seconds."""
    end = max((at for at, _ in samples), default=0.0) or 1.0
    most = max((in_use for _, in_use in samples), default=0) or 1
    base = _HEIGHT - _FOOT
    points = [
        f"{_LEFT + _PLOT * at / end:.1f},{base - (base - _TOP) * in_use / (most * 1.05):.1f}"
        for at, in_use in samples
    ]
    parts = [_grid(value * _MIB, most * 1.05, f"{value:,.0f} MiB") for value in _ticks(most / _MIB)]
    if points:
        first, last = points[0].split(",")[0], points[-1].split(",")[0]
        parts.append(
            f'<polygon class="area" points="{first},{base} {" ".join(points)} {last},{base}"/>'
        )
        parts.append(f'<polyline class="line" points="{" ".join(points)}"/>')
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        anchor = "start" if part == 0 else "end" if part == 1 else "middle"
        parts.append(_text(_LEFT + _PLOT * part, base + 18, _clock(part * end), anchor, "tick"))
    return _svg(_HEIGHT, "Memory over time", parts)


def _ticks(most: float) -> list[float]:
    """A few round numbers from nothing to `most`."""
    step = 1.0
    while most / step > 5:  # noqa: PLR2004 (lines are enough)
        step *= 2 if str(int(step))[0] in "15" else 2.5
    return [step * each for each in range(int(most / step) + 1)]


def _grid(value: float, most: float, label: str) -> str:
    base = _HEIGHT - _FOOT
    y = base - (base - _TOP) * value / most
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        + _text(_LEFT - 10, y + 4, label, "end", "tick")
    )


def _clock(seconds: float) -> str:
    if seconds < 10:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _text(x: float, y: float, text: str, anchor: str, kind: str) -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _svg(height: float, title: str, parts: Sequence[str], width: int = _WIDTH) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        + "".join(parts)
        + "</svg>"
    )
