"""Style sheets inside an SVG: what they refer to, and how many elements that may be drawn for.

It reads CSS roughly; where it cannot tell, it counts too much rather than too little. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from worker.errors import UnsupportedFormat

_URL = re.compile(r"url\(\s*+[\"']?([^\"')]*+)", re.IGNORECASE)
_ESCAPE = re.compile(r"\\(?:([0-9a-fA-F]{1,6})\s?|(.))", re.DOTALL)
_IMPORT = re.compile(r"@import\b", re.IGNORECASE)
_WEB_IMPORT = re.compile(
    r"@import\b\s*+(?:(?:url\(\s*+)?(?:\"(?:https?:)?//[^\"\n]*+\"|'(?:https?:)?//[^'\n]*+')"
    r"(?:\s*+\))?|url\(\s*+(?:https?:)?//[^\s\"'()]*+\s*+\))[^;{}()\"']*+;?",
    re.IGNORECASE,
)
"""Of a font, as a rule. librsvg passes over it as a browser does that is offline."""

# In the order in which a reader of CSS meets them: a string may contain `/*`, and a comment quotes.
# Without the possessive group (`(?:...)*+`): Python 3.11.0 to 3.11.4 matches those wrongly.
_TOKEN = re.compile(
    r"url\([^()\"']*+\)|/\*(?s:.*?)(?:\*/|\Z)|\"[^\"\n]*+\"|'[^'\n]*+'", re.IGNORECASE
)
_BRACE = re.compile(r"([{}])")
# Up to the next rule only: a million rules that do not end must not each be read to the end.
_AT_BLOCK = re.compile(
    r"(@(?:media|supports|container|layer|scope)\b[^{};@]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\})",
    re.IGNORECASE,
)
_COMPOUND = re.compile(r"[\s>+~]+")
_ANY = re.compile(r"[(|*\[\"']")
_MARK = re.compile(r"([.#]?)([^.#:]+)")

_GROUPED = re.compile(r"(?<![-\w])(?:opacity|mix-blend-mode|isolation)\s*+:", re.IGNORECASE)
_MASKED = re.compile(r"(?<![-\w])(mask|filter)\s*+:", re.IGNORECASE)
_BLEND = re.compile(r"(?<![-\w])mix-blend-mode(?![-\w])(?:\s*+:\s*+([-\w]++))?", re.IGNORECASE)
_BLEND_COSTS = {"normal": 0}
_BLEND_COSTS |= dict.fromkeys(("multiply", "screen", "overlay", "darken", "lighten"), 1)
_BLEND_COSTS |= dict.fromkeys(("color-dodge", "color-burn", "hard-light", "soft-light"), 1)
_BLEND_COSTS |= dict.fromkeys(("difference", "exclusion"), 1)
_MOST_COST = 3

Count = Counter[str]
"""Elements by their kind, their `.class` and their `#id`; all of them by the empty string."""


def unescaped(text: str) -> str:
    r"""CSS with its escapes (`\75rl` is `url`) resolved."""
    return _ESCAPE.sub(_character, text) if "\\" in text else text


def _character(match: re.Match[str]) -> str:
    if match[1] is None:
        return str(match[2])
    code = int(match[1], 16)
    return chr(code) if code < 0x110000 else " "  # noqa: PLR2004 (the end of Unicode)


def urls(text: str) -> list[str]:
    """The ids that CSS, or an attribute, refers to by `url(#id)`."""
    return [url[1:] for url in _URL.findall(unescaped(text)) if url.startswith("#")]


def surfaces(declarations: str) -> int:
    """How many pictures of the drawing's size an element with these declarations is drawn by."""
    masks = {match.casefold() for match in _MASKED.findall(declarations)}
    return (_GROUPED.search(declarations) is not None) + 2 * ("mask" in masks) + ("filter" in masks)


def blends(declarations: str) -> int:
    """What blending an element with these declarations costs, as multiplications (measured).

    The modes that mix channels (`hue`, `color`) take three times as long; an unknown mode counts as
    one of them.
    """
    modes = _BLEND.findall(unescaped(declarations))
    return max((_BLEND_COSTS.get(mode.casefold(), _MOST_COST) for mode in modes), default=0)


@dataclass(frozen=True, slots=True)
class _Rule:
    """The ids, surfaces and blends that what a selector selects needs."""

    selectors: str
    ids: list[str]
    surfaces: int
    blends: int

    def matches(self, count: Count) -> int:
        """At most so many elements."""
        if _ANY.search(self.selectors):
            return count[""]
        return min(count[""], sum(_matches(each, count) for each in self.selectors.split(",")))


def _matches(selector: str, count: Count) -> int:
    last = _COMPOUND.split(selector.strip())[-1].partition(":")[0]
    marks = [mark + name for mark, name in _MARK.findall(last)]
    return min((count[mark] for mark in marks), default=count[""])


@dataclass(slots=True)
class Styles:
    """All style sheets of a document. `selectors` is how many are tried on each element."""

    selectors: int = 0
    _rules: list[_Rule] = field(default_factory=list)

    def read(self, text: str) -> None:
        """Take in another sheet. What it imports from the web is done without.

        Raises:
            UnsupportedFormat: it imports one from elsewhere.
        """
        # Escapes may hide where a rule ends: then every reference counts for every element.
        told = "\\" not in text
        plain = _TOKEN.sub(_without_comments, text) if told else unescaped(text)
        plain = _WEB_IMPORT.sub(" ", plain)
        if _IMPORT.search(plain):
            raise UnsupportedFormat("an SVG that imports a style sheet")
        self.selectors += plain.count("{")
        blocks, rest = _blocks(plain) if told else ([], plain)
        for selectors, declarations in blocks:
            self.selectors += selectors.count(",")
            self._take(selectors, declarations)
        self.selectors += rest.count(",")
        self._take("*", rest)

    def _take(self, selectors: str, declarations: str) -> None:
        ids, through = urls(declarations), surfaces(declarations)
        blended = blends(declarations)
        if ids or through or blended:
            self._rules.append(_Rule(selectors, ids, through, blended))

    def references(self, count: Count) -> Counter[str]:
        """The ids they refer to, each with the most elements that it may be drawn for."""
        found: Counter[str] = Counter()
        for rule in self._rules:
            matches = rule.matches(count)
            for name in rule.ids:
                found[name] += matches
        return found

    def blends(self, count: Count) -> int:
        """What they cost all elements that they may be of."""
        return sum(rule.blends * rule.matches(count) for rule in self._rules if rule.blends)

    def surfaces(self, count: Count, depth: int) -> int:
        """The most at once, in a document nested so deep."""
        most = max((rule.surfaces for rule in self._rules), default=0)
        matched = sum(rule.matches(count) for rule in self._rules if rule.surfaces)
        return most * min(matched, depth)


def _blocks(sheet: str) -> tuple[list[tuple[str, str]], str]:
    """Selectors and declarations of the innermost blocks, and the text outside all blocks."""
    prelude, *pieces = _BRACE.split(sheet)
    found: list[tuple[str, str]] = []
    rest: list[str] = []
    opened: str | None = None
    for brace, text in zip(pieces[::2], pieces[1::2], strict=True):
        if brace == "}" and opened is not None:
            found.append((opened, prelude))
            opened = None
        elif brace == "{":
            rest.append(opened or "")
            opened = prelude
        else:
            rest.append(prelude)
        prelude = text
    return found, " ".join([*rest, opened or "", prelude])


def outside_at_rules(sheet: str) -> list[str]:
    """A sheet in parts: what always holds, a block under a condition, what always holds, ..."""
    if "@" not in sheet:
        return [sheet]
    return _AT_BLOCK.split(sheet)


def blocks_of(sheet: str) -> list[tuple[str, str]]:
    """Selectors and declarations of a sheet, without its comments."""
    return _blocks(_TOKEN.sub(_without_comments, sheet))[0]


def _without_comments(match: re.Match[str]) -> str:
    token = match[0]
    if token.startswith("/*") or (token[0] in "\"'" and ("{" in token or "}" in token)):
        return " "
    return token
