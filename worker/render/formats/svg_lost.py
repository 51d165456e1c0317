"""Elements that the drawer leaves out in silence: a drawing without its labels is refused. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from worker.errors import UnsupportedFormat

NOT_CHOSEN = {"requiredExtensions": "none"}
"""Attributes by which a `switch` passes over an element that the drawer cannot draw."""

_UNDRAWN = {"foreignObject", "textPath"}
_SHOWS = {"img", "svg", "image", "input", "canvas", "video", "hr", "iframe", "object", "math"}
_HTML_FEATURE = "#Extensibility"


@dataclass(slots=True)
class _Open:
    kind: str
    undrawn: str
    passed_over: bool
    others: int = 0
    lost: str = ""


class Lost:
    """Follows one document. An empty `foreignObject`, as Mermaid writes many, loses nothing."""

    def __init__(self) -> None:
        self._open: list[_Open] = []

    def enter(self, kind: str, attributes: Mapping[str, str]) -> bool:
        """An element begins; whether its tag needs `NOT_CHOSEN`.

        Raises:
            UnsupportedFormat: it shows something where the drawer shows nothing.
        """
        outer = self._open[-1] if self._open else _Open("", "", passed_over=False)
        chosen_by = outer.kind == "switch" and not outer.passed_over
        conditioned = bool(attributes.get("requiredExtensions")) or (
            _HTML_FEATURE in attributes.get("requiredFeatures", "")
        )
        marked = chosen_by and kind == "foreignObject" and not conditioned
        passed_over = outer.passed_over or (chosen_by and (conditioned or marked))
        if chosen_by and not passed_over:
            outer.others += 1
        undrawn = outer.undrawn or (kind if kind in _UNDRAWN else "")
        self._open.append(_Open(kind, undrawn, passed_over))
        if outer.undrawn and kind in _SHOWS:
            self.seen()
        return marked

    def seen(self) -> None:
        """Something is to be seen in the innermost element.

        Raises:
            UnsupportedFormat: the drawer shows it not, nor anything in its place.
        """
        inner = self._open[-1] if self._open else None
        if inner is None or not inner.undrawn:
            return
        if not inner.passed_over:
            raise UnsupportedFormat(f"an SVG with a {inner.undrawn}, which is not drawn")
        for each in reversed(self._open):
            if each.kind == "switch" and not each.passed_over:
                each.lost = inner.undrawn
                return

    def leave(self) -> None:
        """The innermost element ends.

        Raises:
            UnsupportedFormat: a `switch` has nothing else that could be drawn.
        """
        ended = self._open.pop()
        if ended.lost and not ended.others:
            raise UnsupportedFormat(f"an SVG with a {ended.lost}, which is not drawn")
