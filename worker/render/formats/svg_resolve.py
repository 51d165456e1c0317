"""CSS that the drawer does not know, computed before it draws: `var()`, `light-dark()`, `oklch()`.

It would leave out the colour and draw black. What is simple gets its value here; the rest is
refused by name. Custom properties count for the whole document: one that has several values in
different places is refused where it is used. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final
from xml.parsers import expat
from xml.sax.saxutils import escape

from worker.errors import OriginalTooLarge, UnsupportedFormat
from worker.render.formats.svg_pictures import place_of, tag
from worker.render.formats.svg_styles import blocks_of, outside_at_rules

_MAX_CALL_CHARS: Final = 4096
_MAX_COLOUR_CHARS: Final = 100
_MAX_DEPTH: Final = 16
_MAX_CHARS: Final = 16 << 20

_NAMES = ("var", "light-dark", "oklch", "oklab", "lch", "lab", "color-mix", "color")
_HINTS = [f"{name}(".encode() for name in _NAMES]
_CALL = re.compile(rf"(?<![-\w])({'|'.join(_NAMES)})\(", re.IGNORECASE)
_PAREN = re.compile(r"[()]")
_CUSTOM = re.compile(r"(?<![-\w])(--[-\w]+)\s*:\s*([^;{}]*)")
_OF_ROOT = {":root", "svg", "*", "html"}

_N = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_COLOUR = re.compile(
    rf"\s*({_N}%?|none)\s+({_N}%?|none)\s+({_N}(?:%|deg|rad|grad|turn)?|none)"
    rf"\s*(?:/\s*({_N}%?|none)\s*)?",
    re.IGNORECASE,
)
_DEGREES = {"deg": 1.0, "grad": 0.9, "rad": 180 / math.pi, "turn": 360.0}

_BACKGROUND = re.compile(r"(?<![-\w])background(?:-color)?\s*:\s*([^;{}!]*)", re.IGNORECASE)
_NO_BACKGROUND = {"", "none", "transparent", "initial", "inherit", "unset", "0", "0 0"}
_ONE_COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}|[a-zA-Z]+|(?:rgb|hsl)a?\([^()]*\)")

_PRESENTATION = {
    *("style", "fill", "stroke", "color", "stop-color", "flood-color", "lighting-color"),
    *("opacity", "fill-opacity", "stroke-opacity", "stop-opacity", "stroke-width"),
    *("font-family", "font-size", "font-weight", "stroke-dasharray", "display", "visibility"),
}


def resolved(text: bytes) -> bytes:
    """A well-formed document with values in place of the functions; itself where it has none.

    Raises:
        UnsupportedFormat: a function that is not computed here.
        OriginalTooLarge: values make it too long.
    """
    lowered = text.lower()
    return _Document(text).resolved() if any(hint in lowered for hint in _HINTS) else text


class _Document:
    """Streams one document for its style sheets and attributes, then writes it anew."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._values = _Values()
        self._depth = 0
        self._open: list[tuple[str, int, list[str]]] = []
        self._sheets: list[tuple[str, int, int, str]] = []
        self._tags: list[tuple[str, int, dict[str, str]]] = []

    def resolved(self) -> bytes:
        parser = self._parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.Parse(self._text, True)  # noqa: FBT003 (its signature)
        edits: list[tuple[int, int, str]] = []
        for name, start, end, sheet in self._sheets:
            new = self._values.sheet(sheet)
            if new != sheet:
                edits.append((place_of(self._text, start, name)[1], end, escape(new)))
        for name, start, attributes in self._tags:
            new_ones = {
                key: self._values.css(value) if key in _PRESENTATION else value
                for key, value in attributes.items()
            }
            if new_ones != attributes:
                begin, end = place_of(self._text, start, name)
                empty = self._text[end - 2] == ord("/")
                edits.append((begin, end, tag(name, new_ones)[:-1] + ("/>" if empty else ">")))
        return _edited(self._text, edits)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        at = self._parser.CurrentByteIndex
        style = attributes.get("style", "")
        if "--" in style:
            self._values.take(style, of_root=self._depth == 0)
        if any(_CALL.search(attributes[key]) for key in _PRESENTATION & attributes.keys()):
            self._tags.append((name, at, attributes))
        if name.rpartition(":")[2] == "style":
            self._open.append((name, at, []))
        self._depth += 1

    def _end(self, name: str) -> None:
        self._depth -= 1
        if self._open and name == self._open[-1][0]:
            name, start, parts = self._open.pop()
            sheet = "".join(parts)
            self._values.take_sheet(sheet)
            if _CALL.search(sheet):
                self._sheets.append((name, start, self._parser.CurrentByteIndex, sheet))

    def _characters(self, text: str) -> None:
        if self._open:
            self._open[-1][2].append(text)


class _Values:
    """The custom properties of a document, and what CSS comes to with them."""

    def __init__(self) -> None:
        self._of_root: dict[str, str] = {}
        self._others: dict[str, set[str]] = {}
        self._known: dict[str, str | None] = {}
        self._chars = 0

    def take(self, declarations: str, *, of_root: bool) -> None:
        """Declarations, of the root element or of others."""
        for name, value in _CUSTOM.findall(declarations):
            if of_root:
                self._of_root[name] = value.strip()
            else:
                self._others.setdefault(name, set()).add(value.strip())

    def take_sheet(self, sheet: str) -> None:
        """A style sheet; what holds only under a condition is passed over, as by the drawer."""
        for selectors, declarations in blocks_of("".join(outside_at_rules(sheet)[::2])):
            roots = {each.strip().casefold() for each in selectors.split(",")}
            self.take(declarations, of_root=bool(roots & _OF_ROOT))

    def sheet(self, sheet: str) -> str:
        """A style sheet with values in place of the functions."""
        parts = outside_at_rules(sheet)
        parts[::2] = [self.css(part) for part in parts[::2]]
        return "".join(parts)

    def css(self, text: str, depth: int = 0) -> str:
        """CSS, or an attribute, with values in place of the functions."""
        if depth > _MAX_DEPTH:
            raise UnsupportedFormat(f"an SVG of CSS functions nested more than {_MAX_DEPTH} deep")
        pieces: list[str] = []
        at = 0
        while match := _CALL.search(text, at):
            end = _closing(text, match.end())
            pieces.append(text[at : match.start()])
            value = self._call(match[1].casefold(), text[match.end() : end], depth + 1)
            self._chars += len(value)
            if self._chars > _MAX_CHARS:
                raise OriginalTooLarge("an SVG whose CSS functions make it too long")
            pieces.append(value)
            at = end + 1
        return "".join([*pieces, text[at:]])

    def _call(self, name: str, arguments: str, depth: int) -> str:
        if name == "var":
            variable, comma, fallback = arguments.partition(",")
            value = self._variable(variable.strip(), depth)
            if value is None and comma:
                value = self.css(fallback.strip(), depth)
            # Without a value it is drawn as what is not stated, as in a browser.
            return f"var({arguments})" if value is None else value
        if name == "light-dark":
            return self.css(_first(arguments).strip(), depth)
        if name in {"oklch", "oklab"}:
            return _srgb(name, self.css(arguments, depth))
        raise UnsupportedFormat(f"an SVG with a colour of {name}(), which is not drawn")

    def _variable(self, name: str, depth: int) -> str | None:
        if name in self._known:
            return self._known[name]
        values = self._others.get(name, set()) | (
            {self._of_root[name]} if name in self._of_root else set()
        )
        if len(values) > 1:
            raise UnsupportedFormat(f"an SVG whose {name[:40]} has other values in other places")
        self._known[name] = None  # what refers to itself has no value
        self._known[name] = self.css(values.pop(), depth) if values else None
        return self._known[name]


def _closing(text: str, at: int) -> int:
    """Where the parenthesis ends that is open there."""
    depth = 1
    for match in _PAREN.finditer(text, at, at + _MAX_CALL_CHARS):
        depth += 1 if match[0] == "(" else -1
        if depth == 0:
            return match.start()
    raise UnsupportedFormat("an SVG of a CSS function that does not end")


def _first(arguments: str) -> str:
    """Up to the first comma that is in no parentheses."""
    depth = 0
    for at, character in enumerate(arguments):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            return arguments[:at]
    return arguments


def _srgb(name: str, arguments: str) -> str:
    """A colour of CSS Color 4, 9, clipped to sRGB."""
    match = _COLOUR.fullmatch(arguments) if len(arguments) <= _MAX_COLOUR_CHARS else None
    if match is None:
        raise UnsupportedFormat(f"an SVG with a colour of {name}({arguments[:40]})")
    light = _number(match[1], 1.0)
    if name == "oklch":
        chroma, unit = _number(match[2], 0.4), match[3].casefold().lstrip("-+.e0123456789")
        hue = math.radians(
            _number(match[3][: len(match[3]) - len(unit)], 1) * _DEGREES.get(unit, 1)
        )
        a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    else:
        a, b = _number(match[2], 0.4), _number(match[3], 0.4)
    # Björn Ottosson's matrices, as CSS Color 4 has them.
    long = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (light - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short
    green = -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short
    blue = -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short
    codes = ",".join(str(_code(each)) for each in (red, green, blue))
    alpha = min(1.0, max(0.0, _number(match[4] or "1", 1.0)))
    return f"rgb({codes})" if alpha == 1 else f"rgba({codes},{alpha:.4f})"


def _number(text: str, whole: float) -> float:
    """A number, or a percentage of `whole`."""
    if text.casefold() == "none":
        return 0.0
    return float(text[:-1]) / 100 * whole if text.endswith("%") else float(text)


def _code(light: float) -> int:
    light = min(1.0, max(0.0, light))
    code: float = 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055  # noqa: PLR2004
    return round(255 * code)


def _edited(text: bytes, edits: list[tuple[int, int, str]]) -> bytes:
    pieces: list[bytes] = []
    at = 0
    for start, end, new in sorted(edits):
        pieces += [text[at:start], new.encode("ascii", "xmlcharrefreplace")]
        at = end
    return b"".join([*pieces, text[at:]])


def background_of(declarations: str) -> str:
    """The colour that a root's declarations lay under it; empty where they say nothing of it.

    Raises:
        UnsupportedFormat: it is no single colour.
    """
    last = ""
    for match in _BACKGROUND.finditer(declarations):
        last = match[1].strip()
    if last.casefold() in _NO_BACKGROUND:
        return ""
    if not _ONE_COLOUR.fullmatch(last):
        raise UnsupportedFormat(f"an SVG with a background of {last[:40]!r}")
    return last


def background_of_sheet(sheet: str, root: Mapping[str, str]) -> str:
    """The same of the rules for the root in a style sheet."""
    names = {
        "svg",
        ":root",
        f"#{root.get('id')}",
        *(f".{c}" for c in root.get("class", "").split()),
    }
    mine = [
        declarations
        for selectors, declarations in blocks_of("".join(outside_at_rules(sheet)[::2]))
        if names & {each.strip() for each in selectors.split(",")}
    ]
    return background_of(";".join(mine))
