"""Which format an original has, by its content; its name and content type do not count."""

from __future__ import annotations

import re
import zlib

from worker.errors import CorruptOriginal, UnsupportedFormat
from worker.render.formats.guard import judged
from worker.render.formats.tiff import is_raw

RENDERED = ("jpeg", "png", "webp", "gif", "tiff", "avif", "heic", "svg")

_SIGNATURES: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("jpeg", re.compile(rb"\xff\xd8\xff")),
    ("png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("webp", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("gif", re.compile(rb"GIF8[79]a")),
    ("tiff", re.compile(rb"II\*\x00|MM\x00\*")),
)

_NEARLY = (
    (b"II+\0", "a BigTIFF, which is not read; an ordinary TIFF is"),
    (b"MM\0+", "a BigTIFF, which is not read; an ordinary TIFF is"),
    (b"\xff\x0a", "a JPEG XL, which is not read"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL, which is not read"),
    (b"\xff\xfe<\0", "a text in UTF-16, which is not read; an SVG in UTF-8 is"),
    (b"\xfe\xff\0<", "a text in UTF-16, which is not read; an SVG in UTF-8 is"),
)
"""What a reader may well take for one that is rendered, so that the message should name it."""

# Its two letters begin many a text; the size of its header is one of a few.
_BMP = re.compile(rb"BM.{8}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL)
_PICTURES = re.compile(rb"(?:II\+\0|MM\0\+|II\*\0|MM\0\*|\xff\x0a|\0\0\0\x0cJXL )")
"""The beginnings of pictures that may be refused all the same: BigTIFF, raw files, JPEG XL."""

_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"}
_ANY_HEIF_BRANDS = {b"mif1", b"mif2", b"msf1"}
_FTYP_MAX_BYTES = 1024

# A document of text whose first element is `svg`: prologue, comments and a DOCTYPE may come before.
# Atomic groups: without them a thousand comments are a thousand ways to fail.
_SVG = re.compile(
    rb"(?:\xef\xbb\xbf)?(?>\s*)"
    rb"(?>(?>(?:<\?.{0,4096}?\?>|<!--.{0,32768}?-->|"
    rb"<!DOCTYPE\s[^\[>]{0,1024}(?:\[.{0,8192}?\]\s*)?>)\s*){0,16})"
    rb"<(?:[\w.-]{1,32}:)?svg[\s>/]",
    re.DOTALL,
)
_SVG_HEAD_BYTES = 1 << 16
_GZIP = b"\x1f\x8b\x08"


@judged
def sniff(data: bytes) -> str:
    """One of `RENDERED`. `svg` may be gzipped.

    Raises:
        UnsupportedFormat: any other, such as a camera's raw file.
        CorruptOriginal: it begins as one and its first table is nonsense.
    """
    head = data[:64]
    for name, signature in _SIGNATURES:
        if signature.match(head):
            if name == "tiff" and is_raw(data):
                raise UnsupportedFormat(
                    "a camera's raw file in a TIFF: what can be shown of it is a small preview"
                )
            return name
    if head[4:8] == b"ftyp" and (name := _sniff_heif(data)):
        return name
    text = inflated_head(data) if head.startswith(_GZIP) else data[:_SVG_HEAD_BYTES]
    if _SVG.match(text):
        return "svg"
    if _BMP.match(head):
        raise UnsupportedFormat("a BMP, which is not read")
    for beginning, what in _NEARLY:
        if head.startswith(beginning):
            raise UnsupportedFormat(what)
    raise UnsupportedFormat(
        f"the first bytes {head[:12]!r} belong to no format that is rendered "
        f"({', '.join(RENDERED)})"
    )


def looks_like_a_picture(head: bytes) -> bool:
    """Whether a file that begins so is a picture, be it one that is refused by name."""
    if _BMP.match(head) or _PICTURES.match(head):
        return True
    try:
        return bool(sniff(head))
    except (UnsupportedFormat, CorruptOriginal):
        return False


def inflated_head(data: bytes) -> bytes:
    """The beginning of a gzipped text; empty if it is not gzip."""
    try:
        return zlib.decompressobj(wbits=31).decompress(data[:_SVG_HEAD_BYTES], _SVG_HEAD_BYTES)
    except zlib.error:
        return b""


def _sniff_heif(data: bytes) -> str:
    size = int.from_bytes(data[:4], "big")
    if not 16 <= size <= min(_FTYP_MAX_BYTES, len(data)):  # noqa: PLR2004 (one brand, no more)
        raise CorruptOriginal(f"its first box claims {size:,} of {len(data):,} bytes")
    major, *others = (data[at : at + 4] for at in (8, *range(16, size - 3, 4)))
    for brand in (major, *others):
        if brand in _AVIF_BRANDS:
            return "avif"
        if brand in _HEIC_BRANDS:
            return "heic"
    if _ANY_HEIF_BRANDS & {major, *others}:
        # A brand that any codec may have: the properties of its pictures name the codec.
        meta = data[: 1 << 16]
        return "heic" if b"hvcC" in meta else "avif" if b"av1C" in meta else ""
    return ""
