"""Containers put together by hand, where an encoder would refuse to write what a test needs."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

SHORT, LONG, ASCII = 3, 4, 2


def tiff(
    *directories: Sequence[tuple[int, int, int | bytes]], order: str = "<", tail: bytes = b""
) -> bytes:
    """Directories of (tag, type, value), chained; long texts lie behind them all.

    A value of -1 becomes the offset of `tail`, which comes last.
    """
    sizes = [2 + 12 * len(entries) + 4 for entries in directories]
    text_at = 8 + sum(sizes)
    texts = b""
    for entries in directories:
        texts += b"".join(
            value
            for _, _, value in sorted(entries, key=lambda entry: entry[0])
            if isinstance(value, bytes) and len(value) > 4
        )
    tail_at = text_at + len(texts)
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    at = 8
    for index, entries in enumerate(directories):
        at += sizes[index]
        out += struct.pack(order + "H", len(entries))
        for tag, kind, value in sorted(entries, key=lambda entry: entry[0]):
            if isinstance(value, bytes) and len(value) <= 4:
                out += struct.pack(order + "HHI", tag, kind, len(value)) + value.ljust(4, b"\0")
            elif isinstance(value, bytes):
                out += struct.pack(order + "HHII", tag, kind, len(value), text_at)
                text_at += len(value)
            elif kind == SHORT:
                out += struct.pack(order + "HHIHH", tag, kind, 1, value, 0)
            else:
                out += struct.pack(order + "HHII", tag, kind, 1, tail_at if value < 0 else value)
        out += struct.pack(order + "I", at if index + 1 < len(directories) else 0)
    return out + texts + tail


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """A PNG chunk with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, width: int = 1, height: int = 1) -> bytes:
    """A PNG of these chunks between its first and its last."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND")


def segment(code: int, data: bytes) -> bytes:
    """A JPEG segment."""
    return struct.pack(">BBH", 0xFF, code, len(data) + 2) + data


def box(kind: bytes, *content: bytes) -> bytes:
    """An ISO box."""
    body = b"".join(content)
    return struct.pack(">I", len(body) + 8) + kind + body


def full_box(kind: bytes, *content: bytes, version: int = 0) -> bytes:
    """An ISO box with a version and without flags."""
    return box(kind, bytes([version, 0, 0, 0]), *content)


def heif(
    *,
    data_bytes: int = 100,
    extent: tuple[int, int] | None = None,
    brand: bytes = b"heic",
    properties: bytes = b"",
    has: Sequence[int] | None = None,
    kinds: Sequence[bytes] = (b"hvc1",),
    references: bytes = b"",
    data: bytes = b"",
) -> bytes:
    """The boxes of a HEIF whose items are of these kinds, numbered from 1, the first the primary.

    The first has the properties of these numbers (from 1; by default all), and the extent (offset,
    length), where (-1, length) begins at the file's data.
    """
    count = 9 if has is None else len(has)
    numbers = bytes(range(1, 10)) if has is None else bytes(has)
    infe = [
        full_box(b"infe", struct.pack(">HH4sB", number, 0, kind, 0), version=2)
        for number, kind in enumerate(kinds, 1)
    ]

    def meta(offset: int, length: int) -> bytes:
        return full_box(
            b"meta",
            full_box(b"pitm", struct.pack(">H", 1)),
            full_box(b"iloc", struct.pack(">BBHHHHII", 0x44, 0, 1, 1, 0, 1, offset, length)),
            full_box(b"iinf", struct.pack(">H", len(infe)), *infe),
            full_box(b"iref", references),
            box(
                b"iprp",
                box(b"ipco", properties),
                full_box(b"ipma", struct.pack(">IHB", 1, 1, count), numbers),
            ),
        )

    head = box(b"ftyp", brand, bytes(4), b"mif1")
    offset, length = extent or (0, 10)
    if offset < 0:
        offset = len(head) + len(meta(0, 0)) + 8
    return head + meta(offset, length) + box(b"mdat", data or bytes(data_bytes))
