"""SVG and SVGZ: read as text before a library draws them, because drawing has no limits of its own.

A few hundred bytes of SVG can ask for a billion shapes, for a picture of 400 megapixels, or for a
file of the machine. This room streams the document through expat once, in time proportional to its
length, and refuses what asks for too much or for anything outside itself. Pure.
"""

from __future__ import annotations

import binascii
import re
import zlib
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes
from xml.parsers import expat

from worker.anatomy import dissect
from worker.errors import CorruptOriginal, OriginalTooLarge, UnsupportedFormat, WorkerError
from worker.formats import sniff
from worker.limits import Limits

MAX_TEXT_BYTES = 16 << 20
"""A drawing, inflated."""

MAX_ELEMENTS = 100_000
"""Elements that get drawn, each `use`, pattern, mask, marker or filter counted as what it draws."""

MAX_DEPTH = 256
MAX_FILTER_STEPS = 32
"""Primitives in one filter; each is a pass over its whole region."""

MAX_STYLE_WORK = 5_000_000
"""Style rules times elements: each rule is tried on each element."""

_FILTER_STEP_WEIGHT = 250
_PIXELS_PER_ELEMENT = 10_000
"""An embedded picture weighs as much as that many pixels do: it is decoded at each of its uses."""

_PLENTY = 2 * MAX_ELEMENTS
# What librsvg takes, measured: 2 KB for an element, 62 bytes for each byte of a path of 8 MB, 10 to
# 12 bytes for a pixel of an embedded picture.
_ELEMENT_BYTES, _LONG_BYTES, _PIXEL_BYTES = 2048, 64, 12
_LONG = 512

_RASTERS = {"jpeg", "png", "webp", "gif"}
_GZIP = b"\x1f\x8b"
_URL = re.compile(r"url\(\s*[\"']?([^\"')]*)")
_LENGTH = re.compile(
    r"\s*([+]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(px|pt|pc|mm|cm|in|em|ex|q)?\s*"
)
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_VIEW_BOX = re.compile(rf"\s*{_NUMBER}[\s,]+{_NUMBER}[\s,]+({_NUMBER})[\s,]+({_NUMBER})\s*")
_PX = {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}
_PX |= {"em": 16.0, "ex": 8.0, "q": 96 / 101.6}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A document that is safe to draw: its inflated text, and its size in CSS pixels.

    `memory_bytes` is what drawing it takes besides the pixels that are drawn.
    """

    text: bytes
    width: float
    height: float
    memory_bytes: int


def read_drawing(data: bytes, limits: Limits) -> Drawing:
    """Inflate and examine an SVG.

    Raises:
        CorruptOriginal: not well-formed, or its gzip ends early.
        UnsupportedFormat: no SVG after all, no size to draw it at, or it needs what lies outside.
        OriginalTooLarge: more than a drawing may ask for.
    """
    text = _inflated(data) if data.startswith(_GZIP) else data
    if len(text) > MAX_TEXT_BYTES:
        raise OriginalTooLarge(f"an SVG of more than {MAX_TEXT_BYTES:,} bytes")
    reader = _Reader(limits)
    reader.read(text)
    reader.check_weight()
    width, height = reader.size()
    return Drawing(text=text, width=width, height=height, memory_bytes=reader.memory_bytes(text))


def _inflated(data: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    try:
        text = inflater.decompress(data, MAX_TEXT_BYTES + 1)
    except zlib.error as error:
        raise CorruptOriginal(f"its gzip is damaged: {error}") from error
    if not inflater.eof and len(text) <= MAX_TEXT_BYTES:
        raise CorruptOriginal("its gzip ends early")
    return text


@dataclass(slots=True, eq=False)
class _Part:
    """What an element with an id draws: its own weight, the parts in it, the ids it refers to."""

    weight: int = 0
    inner: list[_Part] = field(default_factory=list)
    refers: list[str] = field(default_factory=list)


class _Reader:
    """Streams one document; raises as soon as it has seen enough."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._root: dict[str, str] | None = None
        self._kinds: list[str] = []
        self._open: list[_Part] = [_Part()]
        self._named: dict[str, list[_Part]] = {}
        self._closes: list[bool] = []
        self._elements = 0
        self._rules = 0
        self._filter_steps = 0
        self._embedded_pixels = 0
        self._long_bytes = 0

    def read(self, text: bytes) -> None:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.EntityDeclHandler = self._entity
        try:
            parser.Parse(text, True)  # noqa: FBT003 (its signature)
        except expat.ExpatError as error:
            raise CorruptOriginal(f"no well-formed XML: {error}") from error
        except (ValueError, LookupError) as error:
            raise CorruptOriginal(f"no text that can be read: {error}") from error

    def size(self) -> tuple[float, float]:
        """Width and height in CSS pixels, as a browser finds them."""
        root = self._root or {}
        width, height = _px(root.get("width")), _px(root.get("height"))
        box = _VIEW_BOX.fullmatch(root.get("viewBox", ""))
        box_width, box_height = (float(box[1]), float(box[2])) if box else (0.0, 0.0)
        if box_width > 0 and box_height > 0:
            if width is None and height is None:
                width, height = box_width, box_height
            elif width is None:
                width = (height or 0.0) * box_width / box_height
            elif height is None:
                height = width * box_height / box_width
        if not width or not height:
            raise UnsupportedFormat("an SVG that says no size: no width and height, and no viewBox")
        return width, height

    def memory_bytes(self, text: bytes) -> int:
        """See `Drawing`."""
        return (
            2 * len(text)
            + self._elements * _ELEMENT_BYTES
            + self._long_bytes * _LONG_BYTES
            + self._embedded_pixels * _PIXEL_BYTES
        )

    def check_weight(self) -> None:
        """Raises OriginalTooLarge where it would draw too much."""
        if self._weigh(self._open[0], {}, 0) > MAX_ELEMENTS:
            raise OriginalTooLarge(f"an SVG that draws more than {MAX_ELEMENTS:,} elements")
        if self._rules * self._elements > MAX_STYLE_WORK:
            raise OriginalTooLarge(
                f"an SVG of {self._rules:,} style rules for {self._elements:,} elements"
            )

    def _weigh(self, part: _Part, totals: dict[_Part, int], depth: int) -> int:
        """Each part once, however often it is used: a chain of doublings costs its length."""
        if part in totals:
            return totals[part]
        if depth > MAX_DEPTH:
            raise OriginalTooLarge(f"an SVG whose parts use each other more than {MAX_DEPTH} deep")
        totals[part] = 0  # what refers to itself in a circle is not drawn
        total = part.weight
        for inner in part.inner:
            total += self._weigh(inner, totals, depth + 1)
        for name in part.refers:
            for named in self._named.get(name, ()):
                total = min(total + self._weigh(named, totals, depth + 1), _PLENTY)
        totals[part] = total
        return total

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        kind = name.rpartition(":")[2]
        if self._root is None:
            if kind != "svg":
                raise UnsupportedFormat(f"an XML document of <{name[:40]}>, not of <svg>")
            self._root = attributes
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise OriginalTooLarge(f"an SVG of more than {MAX_ELEMENTS:,} elements")
        if len(self._kinds) >= MAX_DEPTH:
            raise OriginalTooLarge(f"an SVG nested more than {MAX_DEPTH} deep")
        if kind == "include":
            raise UnsupportedFormat("an SVG that includes another document")
        self._kinds.append(kind)
        identity = attributes.get("id")
        self._closes.append(bool(identity))
        if identity:
            part = _Part()
            self._open[-1].inner.append(part)
            self._open.append(part)
            self._named.setdefault(identity, []).append(part)
        self._open[-1].weight += self._weight(kind, attributes)
        self._open[-1].refers += self._references(kind, attributes)

    def _end(self, _name: str) -> None:
        if self._kinds.pop() == "filter":
            self._filter_steps = 0
        if self._closes.pop():
            self._open.pop()

    def _characters(self, text: str) -> None:
        if self._kinds and self._kinds[-1] == "style":
            self._rules += text.count("{")
            self._open[0].refers += _urls(text)

    def _entity(self, name: str, _parameter: int, value: str | None, *_ids: str | None) -> None:
        if value is None:
            raise UnsupportedFormat(f"an SVG whose entity {name[:40]!r} lies outside itself")
        if "&" in value or "%" in value:
            raise UnsupportedFormat(f"an SVG whose entity {name[:40]!r} is made of others")

    def _weight(self, kind: str, attributes: dict[str, str]) -> int:
        weight = 1
        if kind.startswith("fe") and self._kinds[-2:-1] == ["filter"]:
            self._filter_steps += 1
            if self._filter_steps > MAX_FILTER_STEPS:
                raise OriginalTooLarge(f"an SVG filter of more than {MAX_FILTER_STEPS} steps")
            weight = _FILTER_STEP_WEIGHT
        if kind in {"image", "feImage"}:
            href = attributes.get("href") or attributes.get("xlink:href") or ""
            if href.strip() and not href.lstrip().startswith("#"):
                weight += self._embedded(href.strip()) // _PIXELS_PER_ELEMENT
        return weight

    def _references(self, kind: str, attributes: dict[str, str]) -> list[str]:
        found: list[str] = []
        for name, value in attributes.items():
            if name.rpartition(":")[2] == "href" and kind != "a":
                target = value.strip()
                if target.startswith("#"):
                    found.append(target[1:])
                elif kind == "use" and target:
                    raise UnsupportedFormat("an SVG that uses a part of another document")
                continue
            if len(value) > _LONG:
                self._long_bytes += len(value)
            if "url(" in value:
                found += _urls(value)
        return found

    def _embedded(self, url: str) -> int:
        """The pixels of an embedded picture.

        Raises:
            UnsupportedFormat: it is not embedded, or of a format that cannot be drawn.
        """
        head, comma, body = url.partition(",")
        if not head[:5].casefold() == "data:" or not comma:
            raise UnsupportedFormat(
                "an SVG with a picture from outside itself, which is not loaded"
            )
        try:
            raw = (
                binascii.a2b_base64(unquote_to_bytes(body))
                if head.casefold().endswith(";base64")
                else unquote_to_bytes(body)
            )
            name = sniff(raw)
            if name not in _RASTERS:
                raise UnsupportedFormat(f"an SVG with an embedded {name} picture")
            anatomy = dissect(name, raw)
        except binascii.Error as error:
            raise CorruptOriginal(f"an embedded picture is no base64: {error}") from error
        except WorkerError as error:
            raise type(error)(f"a picture embedded in the SVG: {error}") from error
        pixels = anatomy.width * anatomy.height
        self._embedded_pixels += pixels
        if self._embedded_pixels > self._limits.max_original_pixels:
            raise OriginalTooLarge(
                f"an SVG with embedded pictures of {self._embedded_pixels:,} pixels together "
                "(WORKER_MAX_ORIGINAL_PIXELS)"
            )
        return pixels


def _urls(text: str) -> list[str]:
    return [url[1:] for url in _URL.findall(text) if url.startswith("#")]


def _px(length: str | None) -> float | None:
    match = _LENGTH.fullmatch((length or "").casefold())
    return float(match[1]) * _PX[match[2] or ""] if match else None
