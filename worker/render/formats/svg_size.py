"""At which size an SVG is drawn: what it states, as a browser understands it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from worker.errors import UnsupportedFormat

EDGE_PX: Final = 2000
"""The longest edge of a drawing in pixels, unless fewer are needed. libvips draws in tiles of
2,000 px and repeats every filter for each (measured: one blur 1.4 s at 1,900 px, 6 s at 2,100)."""

_LENGTH_CHARS, _VIEW_BOX_CHARS = 64, 256
_SMALLEST, _LARGEST = 1e-9, 1e30
"""CSS pixels: beyond them a scale is zero or infinite."""

# Possessive: a million digits before a wrong letter must not be tried a million times.
_LENGTH = re.compile(
    r"\s*+([+]?(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?)\s*+(px|pt|pc|mm|cm|in|em|ex)?\s*+"
)
_NUMBER = r"[-+]?(?:\d++\.?\d*+|\.\d++)(?:[eE][-+]?\d++)?"
_VIEW_BOX = re.compile(rf"\s*+{_NUMBER}[\s,]++{_NUMBER}[\s,]++({_NUMBER})[\s,]++({_NUMBER})\s*+")
_PX = {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}
_PX |= {"em": 16.0, "ex": 8.0}


def stated_size(root: Mapping[str, str]) -> tuple[float, float]:
    """Width and height in CSS pixels, by the attributes of the root element.

    Raises:
        UnsupportedFormat: they are missing, or too extreme to be drawn.
    """
    width, height = _px(root.get("width")), _px(root.get("height"))
    box_width, box_height = _view_box(root)
    if box_width > 0 and box_height > 0:
        if width is None and height is None:
            width, height = box_width, box_height
        elif width is None:
            width = (height or 0.0) * box_width / box_height
        elif height is None:
            height = width * box_height / box_width
    if not width or not height:
        raise UnsupportedFormat("an SVG that says no size: no width and height, and no viewBox")
    if not _SMALLEST <= min(width, height) <= max(width, height) <= _LARGEST:
        raise UnsupportedFormat(f"an SVG of a size that is none: {width:g} x {height:g}")
    return width, height


def unit_px(root: Mapping[str, str]) -> float:
    """How many pixels a unit of the drawing's own coordinates is drawn as, before transforms."""
    longest = max(_view_box(root))
    if not _SMALLEST <= longest <= _LARGEST:
        try:
            longest = max(stated_size(root))
        except UnsupportedFormat:
            return float(EDGE_PX)  # which is what it is refused for, later
    return EDGE_PX / longest


def _view_box(root: Mapping[str, str]) -> tuple[float, float]:
    text = root.get("viewBox", "")
    box = _VIEW_BOX.fullmatch(text) if len(text) <= _VIEW_BOX_CHARS else None
    return (float(box[1]), float(box[2])) if box else (0.0, 0.0)


def _px(length: str | None) -> float | None:
    if length is None or len(length) > _LENGTH_CHARS:
        return None
    match = _LENGTH.fullmatch(length.casefold())
    return float(match[1]) * _PX[match[2] or ""] if match else None
