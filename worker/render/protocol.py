"""What a child may answer: JSON becomes typed values here, or the child is taken for crashed.

A child that a hostile picture has taken over answers what it likes. It is believed about what only
it can know, within what is possible, and about each thing once: it chooses no file, no size but
those that follow from the header, and no end before everything is there.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeAlias

from worker.errors import (
    PERMANENT_BY_REASON,
    CorruptOriginal,
    OriginalTooLarge,
    Permanent,
    RenderCrashed,
    RenderFailed,
    SlotUnavailable,
    UnsupportedFormat,
)
from worker.photo.header import Header
from worker.photo.ladder import RungSize
from worker.photo.ports import PictureFacts, Rendered
from worker.photo.recipe import OutputFormat
from worker.render.formats.formats import RENDERED

Answer: TypeAlias = Mapping[str, Any]

Refusal: TypeAlias = Permanent | SlotUnavailable
"""What a sound child answers instead: the original cannot be rendered, or not here and now."""

_MOST: Final = 1 << 53
_TEXT_CHARS: Final = 512
_MESSAGE_CHARS: Final = 4096
_MOST_BITS: Final = 64
_COLOR: Final = re.compile(r"#[0-9a-f]{6}")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{4,64}={0,2}")
_NOTHING: Final = re.compile("")
_CHECKSUM: Final = re.compile(r"[A-Za-z0-9+/]{6}==")

_BYTES_A_PIXEL: Final = 8
_SMALLEST_BYTES: Final = 1 << 16
"""More than any WebP or PNG takes: what is larger is no rendition of that size."""

_REFUSALS: Final = (UnsupportedFormat, OriginalTooLarge, CorruptOriginal, RenderFailed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A child is up: its codecs, and which parts of its sandbox the kernel refused."""

    codec: str
    unconfined: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The last answer to a render: facts, and what `ports.RenderCost` says.

    How long it took is not the child's to say.
    """

    facts: PictureFacts
    cpu_seconds: float
    peak_bytes: int
    seconds: float = 0.0


def read_ready(answer: Answer) -> Ready:
    """The first answer of all.

    Raises:
        RenderCrashed: it is none.
    """
    fields = _fields(answer, "ready")
    unconfined = fields.get("unconfined")
    if not isinstance(unconfined, list):
        raise _nonsense("unconfined", unconfined)
    return Ready(
        codec=_text(fields, "codec"),
        unconfined=[_text({"unconfined": each}, "unconfined") for each in unconfined],
    )


def read_header(answer: Answer, max_pixels: int) -> Header | Refusal:
    """What an original promises, within the limits that every child checks.

    Raises:
        RenderCrashed: this is no answer to the question.
    """
    if refusal := _refusal(answer):
        return refusal
    told = _fields(answer, "header")
    header = Header(**{name: read(told, name) for name, read in _HEADER_FIELDS})
    if min(header.width, header.height, header.bands, header.bits) < 1:
        raise _nonsense("header", told)
    if header.format not in RENDERED:
        raise _nonsense("format", header.format)
    if header.bits > _MOST_BITS:
        raise _nonsense("bits", header.bits)
    if header.pixels > max_pixels:
        raise _nonsense("size", f"{header.width}x{header.height}")
    return header


def read_decoded(answer: Answer) -> Refusal | None:
    """The end of a probe: nothing against the original, or what.

    Raises:
        RenderCrashed: this is no answer to the question.
    """
    refusal = _refusal(answer)
    if refusal is None and answer.get("decoded") is not True:
        raise _nonsense("decoded", answer.get("decoded"))
    return refusal


def read_kept(answer: Answer) -> Refusal | None:
    """The answer to a watermark: nothing against it, or what.

    Raises:
        RenderCrashed: this is no answer to the question.
    """
    refusal = _refusal(answer)
    if refusal is None and answer.get("kept") is not True:
        raise _nonsense("kept", answer.get("kept"))
    return refusal


class RenderAnswers:
    """The answers to one render, of which each rung comes once, and facts after all of them."""

    def __init__(
        self,
        header: Header,
        expected: tuple[RungSize, ...],
        folder: Path,
        *,
        suffix: OutputFormat = "webp",
        placeholder: bool = True,
    ) -> None:
        """The ladder that this header asks for, and where its files are written."""
        self._header = header
        self._expected = {size.rung: size for size in expected}
        self._folder = folder
        self._suffix = suffix
        self._placeholder = placeholder

    def read(self, answer: Answer) -> Rendered | Finished | Refusal:
        """The next one; all but `Rendered` are the last.

        Raises:
            RenderCrashed: this is no answer, or none that may come now.
        """
        if refusal := _refusal(answer):
            return refusal
        if "facts" not in answer:
            return self._rendered(_fields(answer, "rendered"))
        if self._expected:
            raise RenderCrashed(f"the child ends without {', '.join(self._expected)}")
        facts, cost = _fields(answer, "facts"), _fields(answer, "cost")
        return Finished(
            facts=self._facts(facts),
            cpu_seconds=_seconds(cost, "cpu_seconds"),
            peak_bytes=_number(cost, "peak_bytes"),
        )

    def _rendered(self, fields: Answer) -> Rendered:
        size = fields.get("size")
        rung = size.get("rung") if isinstance(size, dict) else None
        expected = self._expected.pop(rung, None) if isinstance(rung, str) else None
        if expected is None:
            raise RenderCrashed(f"the child answers with a rung nobody asked for: {_cut(rung)}")
        if size != {"rung": rung, "width": expected.width, "height": expected.height}:
            raise _nonsense("size", size)
        size_bytes = _number(fields, "size_bytes", 1)
        if size_bytes > _BYTES_A_PIXEL * expected.width * expected.height + _SMALLEST_BYTES:
            raise _nonsense("size_bytes", size_bytes)
        path = Path(self._folder, f"{expected.rung}.{self._suffix}")
        try:
            found = path.lstat()
        except OSError as error:
            raise RenderCrashed(f"the child claims what is not there: {error}") from error
        if not stat.S_ISREG(found.st_mode) or found.st_size != size_bytes:
            raise RenderCrashed(f"the child claims {size_bytes} bytes, {found.st_size} are there")
        crc32c = _matching(fields, "crc32c", _CHECKSUM)
        return Rendered(size=expected, path=path, size_bytes=size_bytes, crc32c=crc32c)

    def _facts(self, fields: Answer) -> PictureFacts:
        header = self._header
        facts = PictureFacts(
            format=_text(fields, "format"),
            width=_number(fields, "width"),
            height=_number(fields, "height"),
            pages=_number(fields, "pages"),
            taken_at=_text_or_none(fields, "taken_at"),
            camera=_text_or_none(fields, "camera"),
            thumbhash=_matching(fields, "thumbhash", _BASE64 if self._placeholder else _NOTHING),
            color=_matching(fields, "color", _COLOR if self._placeholder else _NOTHING),
        )
        measured = (header.format, header.width, header.height, header.pages)
        if (facts.format, facts.width, facts.height, facts.pages) != measured:
            raise RenderCrashed(f"the child renders something else than it measured: {facts}")
        return facts


def _refusal(answer: Answer) -> Refusal | None:
    if "unavailable" in answer:
        return SlotUnavailable(_text(answer, "unavailable", _MESSAGE_CHARS))
    if "refused" not in answer:
        return None
    fields = _fields(answer, "refused")
    reason = fields.get("reason")
    for known, kind in PERMANENT_BY_REASON.items():
        if known.value == reason and issubclass(kind, _REFUSALS):
            message = fields.get("message")
            if not isinstance(message, str) or len(message) > _MESSAGE_CHARS:
                break
            # Libraries quote what they read: half a surrogate pair would break the log's line.
            return kind(message.encode(errors="replace").decode())
    raise _nonsense("refused", fields)


def _fields(answer: Answer, name: str) -> Answer:
    fields = answer.get(name)
    if not isinstance(fields, dict):
        raise _nonsense(name, fields)
    return fields


def _number(fields: Answer, name: str, least: int = 0) -> int:
    value = fields.get(name)
    # Not isinstance: true is an int as well.
    if type(value) is not int or not least <= value <= _MOST:
        raise _nonsense(name, value)
    return value


def _seconds(fields: Answer, name: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST:
        raise _nonsense(name, value)
    return float(value)


def _flag(fields: Answer, name: str) -> bool:
    value = fields.get(name)
    if not isinstance(value, bool):
        raise _nonsense(name, value)
    return value


def _text(fields: Answer, name: str, most: int = _TEXT_CHARS) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or len(value) > most or not value.isprintable():
        raise _nonsense(name, value)
    return value


def _text_or_none(fields: Answer, name: str) -> str | None:
    return None if fields.get(name) is None else _text(fields, name)


_READERS: Final[Mapping[Any, Callable[[Answer, str], Any]]] = {
    "int": _number,
    "bool": _flag,
    "str": _text,
}
_HEADER_FIELDS: Final = tuple((each.name, _READERS[each.type]) for each in fields(Header))


def _matching(fields: Answer, name: str, pattern: re.Pattern[str]) -> str:
    value = _text(fields, name)
    if not pattern.fullmatch(value):
        raise _nonsense(name, value)
    return value


def _nonsense(name: str, value: object) -> RenderCrashed:
    return RenderCrashed(f"the child answers nonsense: {name} {_cut(value)}")


def _cut(value: object) -> str:
    return repr(value)[:80]
