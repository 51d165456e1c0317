"""TIFF directories: the skeleton of TIFF files, of most camera raws, and of every EXIF block.

Pure, and safe on hostile bytes: every offset is checked, every loop is bounded.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from worker.errors import CorruptOriginal, OriginalTooLarge

_MAX_ENTRIES = 4096
_MAX_TEXT_BYTES = 256
_CAMERA_MAX_CHARS = 80

_SUBFILE_TYPE, _COMPRESSION, _PHOTOMETRIC, _MAKE, _MODEL = 0xFE, 0x103, 0x106, 0x10F, 0x110
_SUB_IFDS, _EXIF_IFD, _DNG_VERSION = 0x14A, 0x8769, 0xC612
_DATE_TIME, _ORIENTATION = 0x132, 0x112
_TIMES = ((0x9003, 0x9011), (0x9004, 0x9012), (_DATE_TIME, 0x9010))
"""When it was taken, digitised, and changed, each with its offset from UTC."""
_COLOUR_SPACE, _INTEROPERABILITY_IFD, _INTEROPERABILITY = 0xA001, 0xA005, 1
_UNCALIBRATED = 0xFFFF

_SHORT, _LONG, _IFD = 3, 4, 13
_ITEM_BYTES = {1: 1, 2: 1, _SHORT: 2, _LONG: 4, 7: 1, _IFD: 4}

_TYPES = {*range(1, 14), 16, 17, 18}

_SENSOR_PHOTOMETRICS = {32803, 34892}
"""Colour filter array and LinearRaw (TIFF/EP, DNG 1.7): what a sensor saw, not a picture."""

_RAW_COMPRESSIONS = {32767, 34713, 65535}
"""Sony ARW, Nikon NEF and Pentax PEF."""

_DATE = re.compile(r"(\d{4}):(\d\d):(\d\d)[ T](\d\d):(\d\d):(\d\d)")
_OFFSET = re.compile(r"[+-]\d\d:\d\d")


@dataclass(frozen=True, slots=True)
class Directory:
    """One directory (IFD): its entries by tag, and where the next one starts (0: nowhere).

    `odd_entries` are the places of those whose type is none of TIFF's.
    """

    _data: bytes
    _order: str
    _entries: dict[int, tuple[int, int, int]]
    next_offset: int
    odd_entries: tuple[int, ...] = ()

    def __contains__(self, tag: int) -> bool:
        """Whether it has that tag."""
        return tag in self._entries

    def number(self, tag: int) -> int | None:
        """The first value of an integer tag."""
        kind, count, at = self._entries.get(tag, (0, 0, 0))
        code = {_SHORT: "H", _LONG: "I", _IFD: "I"}.get(kind)
        if code is None or count == 0 or at + struct.calcsize(code) > len(self._data):
            return None
        return int(struct.unpack_from(self._order + code, self._data, at)[0])

    def numbers(self, tag: int, most: int) -> list[int]:
        """All values of an integer tag, if there are not more than `most` and all are in the data.

        Raises:
            CorruptOriginal: they are not.
        """
        kind, count, at = self._entries.get(tag, (0, 0, 0))
        code = {_SHORT: "H", _LONG: "I", _IFD: "I"}.get(kind)
        if code is None:
            return []
        if count > most or at + count * struct.calcsize(code) > len(self._data):
            raise CorruptOriginal(f"{count:,} values of the TIFF tag {tag} are not in the file")
        return list(struct.unpack_from(f"{self._order}{count}{code}", self._data, at))

    def size_bytes(self, tag: int) -> int:
        """What the values of a tag claim to take."""
        kind, count, _ = self._entries.get(tag, (0, 0, 0))
        return _ITEM_BYTES.get(kind, 8) * count

    def place(self, tag: int) -> int:
        """Where the value of a tag lies, or begins, in the data."""
        return self._entries[tag][2]

    def short(self, value: int) -> bytes:
        """A value as this file writes it."""
        return struct.pack(self._order + "H", value)

    def harmless(self, entry: int) -> bytes:
        """An odd entry as one byte under the same tag: libtiff fails for a type that is none."""
        return self._data[entry : entry + 2] + struct.pack(self._order + "HII", 1, 1, 0)

    def text(self, tag: int) -> str:
        """A text tag up to its first NUL; empty without the tag."""
        kind, count, at = self._entries.get(tag, (0, 0, 0))
        if kind not in {2, 7}:
            return ""
        raw = self._data[at : at + min(count, _MAX_TEXT_BYTES)].partition(b"\0")[0]
        return raw.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Exif:
    """What is read of an EXIF block; the manifest keeps the first two."""

    taken_at: str | None = None
    camera: str | None = None
    adobe_rgb: bool = False


def directories(data: bytes, most: int) -> Iterator[Directory]:
    """The chain of directories of a TIFF, or of an EXIF block after its `Exif` mark.

    Raises:
        CorruptOriginal: it is not a TIFF, or the chain leaves the data or returns to itself.
        OriginalTooLarge: it has more than `most` links.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:  # noqa: PLR2004 (its header)
        raise CorruptOriginal("no TIFF header")
    (offset,) = struct.unpack_from(order + "I", data, 4)
    seen: set[int] = set()
    while offset:
        if offset in seen:
            raise CorruptOriginal("the chain of TIFF directories has a loop")
        if len(seen) >= most:
            raise OriginalTooLarge(f"more than {most:,} pages or frames")
        seen.add(offset)
        directory = _directory(data, order, offset)
        yield directory
        offset = directory.next_offset


def _directory(data: bytes, order: str, offset: int) -> Directory:
    if offset + 2 > len(data):
        raise CorruptOriginal(f"a TIFF directory is at byte {offset:,} of {len(data):,}")
    (count,) = struct.unpack_from(order + "H", data, offset)
    end = offset + 2 + 12 * count
    if not 1 <= count <= _MAX_ENTRIES or end > len(data):
        raise CorruptOriginal(f"a TIFF directory of {count} entries does not fit the file")
    entries: dict[int, tuple[int, int, int]] = {}
    odd = []
    for at in range(offset + 2, end, 12):
        tag, kind, items, value = struct.unpack_from(order + "HHII", data, at)
        if kind not in _TYPES:
            odd.append(at)
        inline = _ITEM_BYTES.get(kind, 8) * items <= 4  # noqa: PLR2004 (an entry holds four bytes)
        entries.setdefault(tag, (kind, items, at + 8 if inline else value))
    # Some EXIF writers leave out the last link, which then reads as zero: the end.
    following = int.from_bytes(data[end : end + 4], "little" if order == "<" else "big")
    return Directory(data, order, entries, following, tuple(odd))


def is_raw(data: bytes) -> bool:
    """Whether a TIFF is a camera's raw file: its first picture is a preview at most.

    CR2, NEF, ARW, DNG, PEF, SRW and 3FR all begin like a TIFF; a decoder of TIFFs would turn their
    preview, often of 160 x 120 pixels, into the photo.
    """
    if data[8:10] == b"CR" or data[8:12] == b"IIII":
        return True
    first = next(directories(data, 1), None)
    if first is None:
        return False
    reduced = (first.number(_SUBFILE_TYPE) or 0) & 1
    return bool(
        _DNG_VERSION in first
        or (reduced and _SUB_IFDS in first)
        or first.number(_PHOTOMETRIC) in _SENSOR_PHOTOMETRICS
        or first.number(_COMPRESSION) in _RAW_COMPRESSIONS
    )


def read_exif(block: bytes) -> Exif:
    """Capture time and camera from an EXIF block or a TIFF; damage leaves them empty.

    The time is ISO 8601, with its offset where the camera wrote one; where it did not write when
    the picture was taken, when it was digitised or else written. The camera is maker and model
    without control characters, the maker only where the model does not begin with it.
    """
    block = block.removeprefix(b"Exif\0\0")
    try:
        first = next(directories(block, 1), None)
        if first is None:
            return Exif()
        camera = _camera(first.text(_MAKE), first.text(_MODEL))
    except CorruptOriginal:
        return Exif()
    at = first.number(_EXIF_IFD)
    order = "<" if block[:1] == b"I" else ">"
    try:
        details = _directory(block, order, at) if at else None
    except CorruptOriginal:
        details = None
    return Exif(
        taken_at=_taken_at(first, details),
        camera=camera,
        adobe_rgb=details is not None and _is_adobe_rgb(block, order, details),
    )


def read_orientation(block: bytes) -> int:
    """The orientation of an EXIF block, 1 to 8; 1 where there is none."""
    try:
        first = next(directories(block.removeprefix(b"Exif\0\0"), 1), None)
    except CorruptOriginal:
        return 1
    found = first.number(_ORIENTATION) if first else None
    return found if found is not None and 1 <= found <= 8 else 1  # noqa: PLR2004 (EXIF's eight)


def _is_adobe_rgb(block: bytes, order: str, details: Directory) -> bool:
    """Whether a camera says so in DCF's way: colours uncalibrated, interoperability R03."""
    at = details.number(_INTEROPERABILITY_IFD)
    if not at or details.number(_COLOUR_SPACE) != _UNCALIBRATED:
        return False
    try:
        return _directory(block, order, at).text(_INTEROPERABILITY) == "R03"
    except CorruptOriginal:
        return False


def _camera(maker: str, model: str) -> str | None:
    maker, model = (_clean(text) for text in (maker, model))
    if not model.casefold().startswith(maker.casefold()[:4]) or not model:
        model = f"{maker} {model}"
    return model.strip()[:_CAMERA_MAX_CHARS].strip() or None


def _clean(text: str) -> str:
    return " ".join("".join(c if c.isprintable() and c != "�" else " " for c in text).split())


def _taken_at(first: Directory, details: Directory | None) -> str | None:
    for tag, offset_tag in _TIMES:
        holder = first if tag == _DATE_TIME else details
        match = _DATE.match(holder.text(tag)) if holder else None
        if match is None:
            continue
        year, month, day, hour, minute, second = match.groups()
        time = f"{year}-{month}-{day}T{hour}:{minute}:{second}"
        if _is_real(time):
            offset = _OFFSET.match(details.text(offset_tag)) if details else None
            return time + offset[0] if offset and _is_real(time + offset[0]) else time
    return None


def _is_real(time: str) -> bool:
    """Whether such a day and hour exist; a camera whose clock is not set writes zeros."""
    try:
        datetime.fromisoformat(time)
    except ValueError:
        return False
    return True
