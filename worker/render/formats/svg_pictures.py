"""Pictures inside a drawing: their bytes, where they stand, and other bytes put in their place.

A drawer knows fewer formats than an original may have, and goes by the type that a URL claims: what
it cannot read it leaves out in silence. So each picture is decoded as an original is, and the
drawer gets what it reads. Pure.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes
from xml.sax.saxutils import quoteattr

from worker.errors import CorruptOriginal, OriginalTooLarge, UnsupportedFormat

MAX_PICTURE_BYTES = 7_400_000
"""In base64 as long as libxml2 reads an attribute (XML_MAX_TEXT_LENGTH, 10,000,000)."""

_QUOTE_OR_END = re.compile(rb"[\"'>]")


@dataclass(frozen=True, slots=True)
class Nested:
    """A drawing in a drawing: its text, and the pictures in it."""

    text: bytes
    pictures: list[EmbeddedPicture]


@dataclass(frozen=True, slots=True)
class EmbeddedPicture:
    """An element with pictures: its tag, the bytes of the text where that stands, and each one."""

    name: str
    attributes: Mapping[str, str]
    place: tuple[int, int]
    embedded: dict[str, bytes | Nested] = field(default_factory=dict)


def from_url(url: str) -> bytes:
    """What a `data:` URL holds.

    Raises:
        UnsupportedFormat: it is another URL.
        CorruptOriginal: it is no base64.
    """
    head, comma, body = url.partition(",")
    if not head[:5].casefold() == "data:" or not comma:
        raise UnsupportedFormat("an SVG with a picture from outside itself, which is not loaded")
    raw = unquote_to_bytes(body.partition("#")[0])
    if not head.casefold().rstrip().endswith(";base64"):
        return raw
    try:
        return binascii.a2b_base64(raw)
    except binascii.Error as error:
        raise CorruptOriginal(f"an embedded picture is no base64: {error}") from error


def place_of(text: bytes, start: int, name: str) -> tuple[int, int]:
    """Where the tag that begins at a byte of a well-formed text begins and ends.

    Raises:
        UnsupportedFormat: it stands in an entity, and not there.
    """
    if not text.startswith(b"<" + name.encode("ascii", "replace"), start):
        raise UnsupportedFormat("an SVG with a picture in an entity, or in another encoding")
    at = start
    while match := _QUOTE_OR_END.search(text, at):
        at = match.end()
        if match[0] == b">":
            return start, at
        at = text.index(match[0], at) + 1
    raise CorruptOriginal("a tag without an end")


def replaced(
    text: bytes, pictures: list[EmbeddedPicture], drawable: Callable[[bytes], tuple[str, bytes]]
) -> bytes:
    """The text with other pictures: `drawable` makes a kind ("png") and bytes of each one's bytes.

    Raises:
        OriginalTooLarge: one is longer than an attribute can be.
    """
    pieces: list[bytes] = []
    at = 0
    for picture in pictures:
        start, end = picture.place
        attributes = dict(picture.attributes)
        for name, content in picture.embedded.items():
            kind, data = (
                ("svg+xml", replaced(content.text, content.pictures, drawable))
                if isinstance(content, Nested)
                else drawable(content)
            )
            if len(data) > MAX_PICTURE_BYTES:
                raise OriginalTooLarge(
                    f"a picture embedded in the SVG takes {len(data):,} bytes, more than "
                    f"{MAX_PICTURE_BYTES:,}"
                )
            attributes[name] = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
        opened = tag(picture.name, attributes)[:-1] + ("/>" if text[end - 2] == ord("/") else ">")
        # A number for each letter beyond ASCII holds in every encoding of the text.
        pieces += [text[at:start], opened.encode("ascii", "xmlcharrefreplace")]
        at = end
    return b"".join([*pieces, text[at:]])


def tag(name: str, attributes: Mapping[str, str]) -> str:
    """The opening tag of an element."""
    pairs = (f" {key}={quoteattr(value)}" for key, value in attributes.items())
    return f"<{name}{''.join(pairs)}>"
