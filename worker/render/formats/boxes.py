"""The boxes of AVIF and HEIC: whether all of the picture is there, and what it says of itself.

libheif silently draws grey tiles where a file ends early, and green ones where zeros are. A file
holds many items (tiles, thumbnails, gain maps) with properties of their own; only what belongs to
the primary one, or to the tiles that it is made of, counts. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from worker.errors import CorruptOriginal, UnsupportedFormat

_MAX_BOXES = 100_000
_ESSENTIAL = {b"ftyp", b"meta", b"mdat", b"moov", b"idat"}

_HOLE = bytes(64)
"""HEVC never has more than two zeros in a row (ITU-T H.265, 7.4.2): interrupted copies have."""

_MAX_EXTENTS = 32
"""Of one item: libheif's own limit."""

_METADATA = {b"Exif", b"mime"}
_CHROMA = ("400", "420", "422", "444")


@dataclass(slots=True)
class Boxes:
    """What the boxes say of the primary picture.

    `nclx` is primaries and transfer (ISO/IEC 23091-2), `full_range` whether its codes use all
    values (they do where it is not told: ISO/IEC 23000-22, 7.3.6.4), `premultiplied` whether its
    colours are multiplied with its alpha, `chroma` its subsampling ("420", or empty where it is not
    told), and
    `coded_bits` the depth of a sample, 0 where that is not told. Bytes are those of all items.
    """

    nclx: tuple[int, int] | None = None
    full_range: bool = True
    premultiplied: bool = False
    chroma: str = ""
    coded_bits: int = 0
    profile_bytes: int = 0
    metadata_bytes: int = 0


@dataclass(slots=True)
class _Items:
    """The tables of a `meta` box."""

    primary: int = 0
    kinds: dict[int, bytes] = field(default_factory=dict)
    extents: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    references: dict[tuple[bytes, int], list[int]] = field(default_factory=dict)
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    associations: dict[int, list[int]] = field(default_factory=dict)


def walk_boxes(data: bytes) -> Boxes:
    """Walk a whole file.

    Raises:
        CorruptOriginal: a box that holds the picture, or a part of an item, is not all there.
        UnsupportedFormat: a film without a still picture.
    """
    found = Boxes()
    still = film = False
    for kind, start, end in _boxes(data, 0, len(data)):
        if end > len(data):
            if kind in _ESSENTIAL:
                raise CorruptOriginal(
                    f"the file ends at byte {len(data):,}, inside its box {kind!r} up to {end:,}"
                )
            break  # what phones append after the last box
        film = film or kind == b"moov"
        if kind == b"meta":
            items = _items(data, start + 4, end, found)
            _check_extents(data, items)
            _describe(items, found)
            still = still or bool(items.primary)
    if film and not still:
        raise UnsupportedFormat("a film of AVIF or HEIC without a still picture (no pitm)")
    return found


def _boxes(data: bytes, at: int, limit: int) -> Iterator[tuple[bytes, int, int]]:
    """Each box's kind, where its content starts, and where it claims to end."""
    for _ in range(_MAX_BOXES):
        if at + 8 > limit:
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if size == 1 and at + 16 <= limit:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
            start = at + 16
        end = limit if size == 0 else at + size
        if end < start:
            return
        yield kind, start, end
        at = end


def _items(data: bytes, at: int, limit: int, found: Boxes) -> _Items:
    items = _Items()
    for kind, start, claimed in _boxes(data, at, limit):
        end = min(claimed, limit)
        box = _Fields(data[start:end]) if kind in {b"pitm", b"iloc"} else None
        if kind == b"pitm" and box:
            items.primary = box.number(4 if box.version else 2)
        elif kind == b"iloc" and box:
            _locations(box, items)
        elif kind == b"iinf":
            wide = data[start : start + 1] not in {b"\0", b""}
            for name, inner, until in _boxes(data, start + (8 if wide else 6), end):
                if name == b"infe" and until <= end:
                    entry = _Fields(data[inner:until])
                    item = entry.number(4 if entry.version > 2 else 2)  # noqa: PLR2004
                    entry.number(2)
                    kind_of_item = entry.number(4).to_bytes(4, "big")
                    _check_names(kind_of_item, entry.rest())
                    items.kinds[item] = kind_of_item
        elif kind == b"iref":
            wide = data[start : start + 1] not in {b"\0", b""}
            for name, inner, until in _boxes(data, start + 4, end):
                _reference(name, _Fields(data[inner : min(until, end)], full=False), wide, items)
        elif kind == b"iprp":
            _properties(data, start, end, items, found)
    return items


class _Fields:
    """Big-endian numbers one after the other; zeros behind the end, which `ended` tells."""

    def __init__(self, box: bytes, *, full: bool = True) -> None:
        self._box = box
        self._at = 4 if full else 0
        self.version = box[0] if full and box else 0
        self.flags = int.from_bytes(box[1:4], "big") if full else 0

    def number(self, size: int) -> int:
        value = self._box[self._at : self._at + size]
        self._at += size
        return int.from_bytes(value.ljust(size, b"\0"), "big")

    def rest(self) -> bytes:
        """What has not been read yet."""
        return self._box[self._at :]

    @property
    def ended(self) -> bool:
        """Whether more was read than is there."""
        return self._at > len(self._box)


def _check_names(kind: bytes, rest: bytes) -> None:
    """The item's type and, of metadata, its content type: pi_heif crashes where they are no text.

    Raises:
        CorruptOriginal
    """
    names = rest.split(b"\0", 3)[1:] if kind in _METADATA else []
    if not all(name.isascii() for name in (kind, *names[:2])):
        raise CorruptOriginal(f"an item of the type {kind!r} has no readable name")


def _locations(box: _Fields, items: _Items) -> None:
    """An `iloc` box (ISO/IEC 14496-12, 8.11.3): what of each item lies where in the file."""
    sizes = box.number(2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if box.version else 0
    wide = 4 if box.version > 1 else 2
    for _ in range(box.number(wide)):
        item = box.number(wide)
        method = box.number(2) & 15 if box.version else 0
        box.number(2)
        base = box.number(base_size)
        extents = items.extents.setdefault(item, [])
        count = box.number(2)
        if count > _MAX_EXTENTS:
            raise CorruptOriginal(f"{count:,} extents of one item")
        for _ in range(count if index_size or offset_size or length_size else min(count, 1)):
            box.number(index_size)
            offset, length = base + box.number(offset_size), box.number(length_size)
            if box.ended:
                raise CorruptOriginal("its table of items ends early")
            if method == 0:
                extents.append((offset, length))
        if box.ended:
            raise CorruptOriginal("its table of items ends early")


def _reference(kind: bytes, box: _Fields, wide: bool, items: _Items) -> None:  # noqa: FBT001
    size = 4 if wide else 2
    origin, count = box.number(size), box.number(2)
    targets = items.references.setdefault((kind, origin), [])
    for _ in range(count):
        target = box.number(size)
        if box.ended:
            return
        targets.append(target)


def _properties(data: bytes, start: int, end: int, items: _Items, found: Boxes) -> None:
    for kind, at, claimed in _boxes(data, start, end):
        until = min(claimed, end)
        if kind == b"ipco":
            for name, inner, inner_end in _boxes(data, at, until):
                # The head of each is enough; a profile may be large.
                items.properties.append((name, data[inner : min(inner_end, inner + 64)]))
                if name == b"colr" and data[inner : inner + 4] in {b"prof", b"rICC"}:
                    found.profile_bytes += inner_end - inner
        elif kind == b"ipma":
            box = _Fields(data[at:until])
            for _ in range(box.number(4)):
                item = box.number(4 if box.version else 2)
                which = items.associations.setdefault(item, [])
                for _ in range(box.number(1)):
                    which.append(box.number(2) & 0x7FFF if box.flags & 1 else box.number(1) & 0x7F)
                if box.ended:
                    break


def _check_extents(data: bytes, items: _Items) -> None:
    for item, extents in items.extents.items():
        for offset, length in extents:
            if offset + length > len(data):
                raise CorruptOriginal(
                    f"the file ends at byte {len(data):,}, a part of it at {offset + length:,}"
                )
            if items.kinds.get(item) == b"hvc1" and data.find(_HOLE, offset, offset + length) >= 0:
                raise CorruptOriginal("zeros in the midst of its pixels")


def _describe(items: _Items, found: Boxes) -> None:
    tiles = items.references.get((b"dimg", items.primary), [])
    found.premultiplied = (b"prem", items.primary) in items.references
    for item in (items.primary, *tiles[:1]):
        for number in items.associations.get(item, ()):
            if 1 <= number <= len(items.properties):
                _property(*items.properties[number - 1], found)
    for item, kind in items.kinds.items():
        if kind in _METADATA:
            found.metadata_bytes += sum(length for _, length in items.extents.get(item, ()))


def _property(name: bytes, content: bytes, found: Boxes) -> None:
    if name == b"colr" and content[:4] == b"nclx" and found.nclx is None:
        primaries, transfer = struct.unpack(">HH", content[4:8].ljust(4, b"\0"))
        found.nclx = primaries, transfer
        found.full_range = content[10:11] >= b"\x80"
    elif name == b"av1C" and len(content) > 3 and not found.chroma:  # noqa: PLR2004
        # AV1-ISOBMFF 2.3.3: high bit depth, twelve bits, monochrome, subsampling of x and of y.
        high, twelve, grey, sub_x, sub_y = (content[2] >> bit & 1 for bit in (6, 5, 4, 3, 2))
        found.chroma = _CHROMA[0 if grey else 3 - sub_x - (sub_x & sub_y)]
        found.coded_bits = 12 if high and twelve else 10 if high else 8
    elif name == b"hvcC" and len(content) > 18 and not found.chroma:  # noqa: PLR2004
        # ISO/IEC 14496-15, 8.3.3.1.
        found.chroma = _CHROMA[content[16] & 3]
        found.coded_bits = 8 + (content[17] & 7)
