"""SVG and SVGZ: read as text before a library draws them, because the library sets no limits.

A few hundred bytes of SVG can ask for a billion shapes, for a picture of 400 megapixels, or for a
file of the machine. This module streams the document through expat once, in time proportional to
its length, and refuses what asks for too much or for anything outside itself. Pure.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape

from worker.errors import CorruptOriginal, OriginalTooLarge, UnsupportedFormat, WorkerError
from worker.photo.limits import Limits
from worker.render.formats.formats import sniff
from worker.render.formats.guard import judged
from worker.render.formats.skeleton import Anatomy, dissect
from worker.render.formats.svg_budget import BLEND_WEIGHT, FILTER_STEP_WEIGHT, Budget
from worker.render.formats.svg_lost import NOT_CHOSEN, Lost
from worker.render.formats.svg_pictures import EmbeddedPicture, Nested, from_url, place_of, tag
from worker.render.formats.svg_resolve import background_of, background_of_sheet, resolved
from worker.render.formats.svg_size import EDGE_PX, stated_size, unit_px
from worker.render.formats.svg_styles import Styles, blends, surfaces, urls

MAX_TEXT_BYTES = 16 << 20
"""A drawing, inflated."""

MAX_FILTER_STEPS = 32
"""Primitives in one filter; each is a pass over its whole region."""

_PIXELS_PER_ELEMENT = 10_000
"""An embedded picture weighs as much as that many pixels do: it is decoded at each of its uses."""

# What librsvg takes, measured: 2 KB for an element, 62 bytes for each byte of a path of 8 MB. A
# pixel of an embedded picture takes 32: it is decoded, written as a PNG and decoded again.
_ELEMENT_BYTES, _LONG_BYTES, _PIXEL_BYTES = 2048, 64, 32
_LONG = 512

# Surfaces, measured too: a filter works on four and keeps each named result, a mask is two.
_FILTER_SURFACES = 4

_MOST_REACH, _MOST_ORDER = 10, 30
"""librsvg cuts a morphology's radius off there, in pixels, and skips larger convolutions."""

_MAX_ATTRIBUTE_CHARS = 10_000_000
"""libxml2's limit, which librsvg keeps."""
_ROUNDS = 3

_MAX_NESTED = 4
"""Drawings in drawings in a drawing."""

_RASTERS = {"jpeg", "png", "webp", "gif"}
_GZIP = b"\x1f\x8b"
_NUMBERS = re.compile(r"\d++\.?\d*+|\.\d++")
_PSEUDO_ATTRIBUTES = re.compile(r"\s*+([-:\w]++)\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)')\s*+")
_MAX_OUTLINE_CHARS = 64 << 10
_OPAQUE = {None, "1", "1.0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A document that is safe to draw: its inflated text, and its size in CSS pixels.

    The size is what its attributes say. `outline` is its root element with its short style sheets
    only: a library computes the styled size from it. It is empty if the element alone is too long.
    `memory_bytes` is what drawing it takes besides pixels. `surfaces` counts the pictures of its
    size that are needed at once, besides the one that is drawn on. `pictures` are the elements with
    embedded pictures, and others whose tags must change. `background` is a colour of CSS, or empty.
    """

    text: bytes
    outline: bytes
    width: float
    height: float
    memory_bytes: int
    surfaces: int
    background: str = ""
    pictures: list[EmbeddedPicture] = field(default_factory=list)


@judged
def read_drawing(data: bytes, limits: Limits) -> Drawing:
    """Inflate and examine an SVG.

    Raises:
        CorruptOriginal: not well-formed, or its gzip ends early.
        UnsupportedFormat: it is not an SVG, lacks a size, or needs what lies outside it.
        OriginalTooLarge: more than a drawing may ask for.
    """
    text = _inflated(data) if data.startswith(_GZIP) else data
    if len(text) > MAX_TEXT_BYTES:
        raise OriginalTooLarge(f"an SVG of more than {MAX_TEXT_BYTES:,} bytes")
    reader, text = _examined(text, limits)
    width, height = stated_size(reader.root)
    return Drawing(
        text=text,
        outline=reader.outline(),
        width=width,
        height=height,
        memory_bytes=reader.memory_bytes(text),
        surfaces=reader.budget.surfaces,
        background=background_of(reader.root.get("style", "")) or reader.background,
        pictures=reader.pictures,
    )


def _examined(
    text: bytes, limits: Limits, depth: int = 0, pixels: int = 0
) -> tuple[_Reader, bytes]:
    """A document read to its end, and its text with values in place of CSS functions."""
    for _ in range(_ROUNDS):
        reader = _Reader(limits, depth, pixels)
        reader.read(text)
        plain = resolved(text)
        if plain == text:
            return reader, text
        text = plain  # and read again: a value may refer to what costs
    raise UnsupportedFormat("an SVG whose CSS functions make others")


def _inflated(data: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    try:
        text = inflater.decompress(data, MAX_TEXT_BYTES + 1)
    except zlib.error as error:
        raise CorruptOriginal(f"its gzip is damaged: {error}") from error
    if not inflater.eof and len(text) <= MAX_TEXT_BYTES:
        raise CorruptOriginal("its gzip ends early")
    return text


class _Reader:
    """Streams one document; raises as soon as it has seen enough."""

    def __init__(self, limits: Limits, depth: int = 0, pixels: int = 0) -> None:
        self._limits = limits
        self._depth = depth
        self._text = b""
        self._parser = expat.ParserCreate()
        self.pictures: list[EmbeddedPicture] = []
        self.background = ""
        self._lost = Lost()
        self.budget = Budget()
        self.root: dict[str, str] = {}
        self._kinds: list[str] = []
        self._styles = Styles()
        self._sheet: list[str] = []
        self._root_name = ""
        self._sheet_tag = ""
        self._sheets: list[str] = []
        self._sheets_chars = 0
        self._unit_px = 1.0
        self._filter_px = 1.0
        self._filter_steps = 0
        self.embedded_pixels = pixels
        self.nested_bytes = 0
        self.nested_elements = 0
        self.long_bytes = 0

    def read(self, text: bytes) -> None:
        self._text = text
        parser = self._parser
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.EntityDeclHandler = self._entity
        parser.ProcessingInstructionHandler = self._instruction
        try:
            parser.Parse(text, True)  # noqa: FBT003 (its signature)
        except expat.ExpatError as error:
            raise CorruptOriginal(f"no well-formed XML: {error}") from error
        except (ValueError, LookupError) as error:
            raise CorruptOriginal(f"no text that can be read: {error}") from error
        self.budget.check(self._styles)

    def outline(self) -> bytes:
        """See `Drawing`."""
        root = tag(self._root_name, self.root)
        if len(root) > _MAX_OUTLINE_CHARS:
            return b""
        return f"{root}{''.join(self._sheets)}</{self._root_name}>".encode()

    def memory_bytes(self, text: bytes) -> int:
        """See `Drawing`."""
        return (
            2 * (len(text) + self.nested_bytes)
            + (self.budget.elements + self.nested_elements) * _ELEMENT_BYTES
            + self.long_bytes * _LONG_BYTES
            + self.embedded_pixels * _PIXEL_BYTES
        )

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        kind = name.rpartition(":")[2]
        if max(map(len, attributes.values()), default=0) > _MAX_ATTRIBUTE_CHARS:
            raise OriginalTooLarge(f"an attribute of more than {_MAX_ATTRIBUTE_CHARS:,} characters")
        if self.budget.elements == 0:
            if kind != "svg":
                raise UnsupportedFormat(f"an XML document of <{name[:40]}>, not of <svg>")
            self.root, self._root_name = attributes, name
            self._unit_px = unit_px(attributes)
        if kind == "include":
            raise UnsupportedFormat("an SVG that includes another document")
        self.budget.enter(
            kind, attributes.get("id"), attributes.get("class", ""), _surfaces(kind, attributes)
        )
        self._kinds.append(kind)
        if self._lost.enter(kind, attributes):
            place = place_of(self._text, self._parser.CurrentByteIndex, name)
            self.pictures.append(EmbeddedPicture(name, {**attributes, **NOT_CHOSEN}, place))
        if kind == "style":
            self._sheet_tag = tag(name, attributes)
        weight = self._weight(kind, attributes)
        if kind in {"image", "feImage"}:
            weight += self._take_pictures(name, attributes)
        self.budget.add(weight, self._references(kind, attributes))

    def _end(self, name: str) -> None:
        kind = self._kinds.pop()
        self._lost.leave()
        if kind == "filter":
            self._filter_steps = 0
        elif kind == "style":
            sheet, self._sheet = "".join(self._sheet), []
            self._styles.read(sheet)
            self.background = background_of_sheet(sheet, self.root) or self.background
            element = f"{self._sheet_tag}{escape(sheet)}</{name}>"
            self._sheets_chars += len(element)
            if self._sheets_chars <= _MAX_OUTLINE_CHARS:
                self._sheets.append(element)
        self.budget.leave()

    def _characters(self, text: str) -> None:
        if self._kinds and self._kinds[-1] == "style":
            self._sheet.append(text)
        elif not text.isspace():
            self._lost.seen()

    def _instruction(self, target: str, data: str) -> None:
        if target.casefold() == "xml-stylesheet" and not _means_an_element(data):
            raise UnsupportedFormat("an SVG with a style sheet outside its text")

    def _entity(self, name: str, _parameter: int, value: str | None, *_ids: str | None) -> None:
        if value is None:
            raise UnsupportedFormat(f"an SVG whose entity {name[:40]!r} lies outside itself")
        if "&" in value or "%" in value:
            raise UnsupportedFormat(f"an SVG whose entity {name[:40]!r} is made of others")

    def _weight(self, kind: str, attributes: dict[str, str]) -> int:
        weight = 1 + BLEND_WEIGHT * max(
            blends(attributes.get("style", "")),
            blends(f"mix-blend-mode:{attributes.get('mix-blend-mode', 'normal')}"),
        )
        if kind == "filter":
            boxed = attributes.get("primitiveUnits") == "objectBoundingBox"
            self._filter_px = EDGE_PX if boxed else self._unit_px
        elif kind.startswith("fe") and self._kinds[-2:-1] == ["filter"]:
            steps = _steps(kind, attributes, self._filter_px)
            self._filter_steps += steps
            if self._filter_steps > MAX_FILTER_STEPS:
                raise OriginalTooLarge(f"an SVG filter of more than {MAX_FILTER_STEPS} steps")
            weight = steps * FILTER_STEP_WEIGHT
            self.budget.hold("result" in attributes, above=2)
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
                self.long_bytes += len(value)
            if "(" in value or "\\" in value:
                found += urls(value)
        return found

    def _take_pictures(self, name: str, attributes: dict[str, str]) -> int:
        """Measure and keep what an element embeds; what drawing that weighs.

        Raises:
            UnsupportedFormat: it is not embedded, or of a format that cannot be drawn.
        """
        embedded: dict[str, bytes | Nested] = {}
        weight = 0
        for key, value in attributes.items():
            # By any prefix: which one stands for XLink is the document's to say.
            href = value.strip() if key.rpartition(":")[2] == "href" else ""
            if not href or href.startswith("#"):
                continue
            raw = from_url(href)
            anatomy: Anatomy | None = None
            try:
                form = sniff(raw)
                if form == "svg":
                    embedded[key], costs = self._nested(raw)
                elif form in _RASTERS:
                    embedded[key], anatomy = raw, dissect(form, raw)
                else:
                    raise UnsupportedFormat(f"an SVG with an embedded {form} picture")
            except WorkerError as error:
                raise type(error)(f"a picture embedded in the SVG: {error}") from error
            if anatomy:
                costs = self._measured(anatomy)
            weight += costs
        if embedded:
            place = place_of(self._text, self._parser.CurrentByteIndex, name)
            self.pictures.append(EmbeddedPicture(name, attributes, place, embedded))
        return weight

    def _measured(self, anatomy: Anatomy) -> int:
        pixels = anatomy.width * anatomy.height
        self.embedded_pixels += pixels
        if self.embedded_pixels > self._limits.max_original_pixels:
            raise OriginalTooLarge(
                f"an SVG with embedded pictures of {self.embedded_pixels:,} pixels together "
                "(WORKER_MAX_ORIGINAL_PIXELS)"
            )
        return pixels // _PIXELS_PER_ELEMENT

    def _nested(self, data: bytes) -> tuple[Nested, int]:
        """A drawing in this one, within what is left of its budgets; what drawing it weighs."""
        if self._depth == _MAX_NESTED:
            raise OriginalTooLarge(f"drawings in drawings, more than {_MAX_NESTED} deep")
        text = _inflated(data) if data.startswith(_GZIP) else data
        inner, text = _examined(text, self._limits, self._depth + 1, self.embedded_pixels)
        stated_size(inner.root)
        self.embedded_pixels = inner.embedded_pixels
        self.long_bytes += inner.long_bytes
        self.nested_bytes += len(text) + inner.nested_bytes
        self.nested_elements += inner.budget.elements + inner.nested_elements
        if self.nested_bytes > MAX_TEXT_BYTES:
            raise OriginalTooLarge(f"drawings in a drawing, of more than {MAX_TEXT_BYTES:,} bytes")
        # It is drawn by itself, and then as a picture.
        self.budget.hold(1 + inner.budget.surfaces)
        return Nested(text, inner.pictures), inner.budget.total


def _means_an_element(stylesheet: str) -> bool:
    """Whether all that an `<?xml-stylesheet?>` names is a style element of the document itself."""
    if _PSEUDO_ATTRIBUTES.sub("", stylesheet):
        return False
    pairs = _PSEUDO_ATTRIBUTES.findall(stylesheet)
    targets = [double or single for name, double, single in pairs if name == "href"]
    return bool(targets) and all(target.startswith("#") for target in targets)


def _surfaces(kind: str, attributes: dict[str, str]) -> int:
    """How many more are open while an element with these attributes is drawn."""
    if kind == "filter":
        return _FILTER_SURFACES
    grouped = attributes.get("opacity") not in _OPAQUE or "mix-blend-mode" in attributes
    return (
        (kind == "pattern" or grouped)
        + 2 * ("mask" in attributes)
        + ("filter" in attributes)
        + surfaces(attributes.get("style", ""))
    )


def _steps(kind: str, attributes: dict[str, str], px: float) -> int:
    """What a primitive of a filter costs, as blurs (measured)."""
    if kind == "feMorphology":
        reach = min(_MOST_REACH, px * _largest(attributes.get("radius", "0")))
        return max(1, round(reach * reach / 10))
    if kind == "feConvolveMatrix":
        order = min(_MOST_ORDER, _largest(attributes.get("order", "3")))
        return max(1, round(order * order / 15))
    return 1


def _largest(numbers: str) -> float:
    return max(map(float, _NUMBERS.findall(numbers[:_LONG])), default=0.0)
