"""The protocol of a parent and its child: a class for each kind of message, a JSON object a line.

It uses JSON instead of pickle, so that a child that a hostile picture has taken over cannot run
code in its parent. Decoding checks only the form: kind, fields, types and ranges. `verification`
checks if answers are possible.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from worker.errors import RenderCrashed
from worker.photo.header import Header, PictureFacts
from worker.photo.ladder import Ladder, RungSize
from worker.photo.looks import Looks
from worker.photo.watermark import Watermark

Words: TypeAlias = str
"""A message for people, up to 4,096 characters; other texts are one printable line of up to 512."""

_MOST: Final = 1 << 53
_TEXT_CHARS: Final = 512
_WORDS_CHARS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The limits of one request. `drawn_px` is the longest edge that a drawing is drawn at."""

    max_pixels: int
    memory_bytes: int
    cpu_seconds: float
    drawn_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepRequest:
    """Decode the watermark in this file and keep it for renders. The answer is `Done`."""

    file: Path
    watermark: Watermark


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureRequest:
    """Read the header of an original. The answer is `Header`."""

    original: Path
    bounds: Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest:
    """Write all rungs into a folder. The answers are a `RungWritten` for each, then `Finished`."""

    original: Path
    folder: Path
    ladder: Ladder
    looks: Looks
    placeholder: bool
    bounds: Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """Decode an original. The answers are `Header` before the decode, and `Done` after it."""

    original: Path
    max_pixels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A child is up; it names its codecs, and the parts of its sandbox that the kernel refused."""

    codec: str
    unconfined: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RungWritten:
    """A rendition is in the render's folder; `crc32c` is base64 as GCS states it."""

    size: RungSize
    size_bytes: int
    crc32c: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """All rungs are written. `peak_bytes` is the child's peak memory so far."""

    facts: PictureFacts
    cpu_seconds: float
    peak_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The original cannot be rendered; `reason` is one of `errors.Reason`."""

    reason: str
    message: Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """A file cannot be read or written now; the picture is not the cause."""

    message: Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The request is done."""


Request: TypeAlias = KeepRequest | MeasureRequest | RenderRequest | ProbeRequest
Answer: TypeAlias = Ready | Header | RungWritten | Finished | Refused | Unavailable | Done

_REQUESTS: Final = {
    kind.__name__: kind for kind in (KeepRequest, MeasureRequest, RenderRequest, ProbeRequest)
}
_ANSWERS: Final[Mapping[str, type]] = {
    kind.__name__: kind
    for kind in (Ready, Header, RungWritten, Finished, Refused, Unavailable, Done)
}


def encode(message: Request | Answer) -> bytes:
    """Return the message as one line, with its newline."""
    told = {"kind": type(message).__name__, **_fields_of(message)}
    return json.dumps(told, default=_as_json).encode() + b"\n"


def decode_request(line: str) -> Request:
    """Return a parent's request from its line; the parent is trusted.

    Raises:
        ValueError: the line is not a request.
    """
    return cast("Request", _message(_REQUESTS, json.loads(line)))


def decode_answer(line: bytes) -> Answer:
    """Return a child's answer from its line.

    Raises:
        RenderCrashed: the line is not an answer.
    """
    try:
        told = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RenderCrashed(f"the child answers nonsense: {line[:80]!r}") from error
    try:
        return cast("Answer", _message(_ANSWERS, told))
    except ValueError as error:
        raise RenderCrashed(f"the child answers nonsense: {error}") from error


def _fields_of(record: Any) -> dict[str, Any]:  # noqa: ANN401 (any dataclass)
    return {each.name: getattr(record, each.name) for each in fields(record)}


def _as_json(value: object) -> object:
    return str(value) if isinstance(value, Path | Ladder) else _fields_of(value)


def _message(kinds: Mapping[str, type], told: object) -> object:
    if not isinstance(told, dict):
        raise _nonsense("line", told)
    name = told.pop("kind", None)
    kind = kinds.get(name) if isinstance(name, str) else None
    if kind is None:
        raise _nonsense("kind", name)
    return _record(kind, told)


def _record(kind: type, told: object) -> Any:  # noqa: ANN401 (an instance of `kind`)
    readers = _readers(kind)
    if not isinstance(told, dict) or told.keys() != readers.keys():
        raise _nonsense(kind.__name__, told)
    return kind(**{name: read(name, told[name]) for name, read in readers.items()})


@cache
def _readers(kind: type) -> dict[str, _Reader]:
    return {each.name: _READERS[str(each.type)] for each in fields(kind)}


def _number(name: str, value: object) -> int:
    # `isinstance` would accept `True`.
    if type(value) is not int or not 0 <= value <= _MOST:
        raise _nonsense(name, value)
    return value


def _real(name: str, value: object) -> float:
    if type(value) not in {int, float} or not -_MOST <= cast("float", value) <= _MOST:
        raise _nonsense(name, value)
    return float(cast("float", value))


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _nonsense(name, value)
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > _TEXT_CHARS or not value.isprintable():
        raise _nonsense(name, value)
    return value


def _texts(name: str, value: object) -> list[str]:
    if not isinstance(value, list):
        raise _nonsense(name, value)
    return [_text(name, each) for each in value]


def _words(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > _WORDS_CHARS:
        raise _nonsense(name, value)
    # Libraries quote the file in messages. Half of a surrogate pair would break the log's line.
    return value.encode(errors="replace").decode()


def _nonsense(name: str, value: object) -> ValueError:
    return ValueError(f"{name} {repr(value)[:80]}")


_Reader: TypeAlias = Callable[[str, Any], Any]


def _optional(read: _Reader) -> _Reader:
    return lambda name, value: None if value is None else read(name, value)


def _nested(kind: type) -> _Reader:
    return lambda _, value: _record(kind, value)


_READERS: Final[Mapping[str, _Reader]] = {
    "int": _number,
    "int | None": _optional(_number),
    "float": _real,
    "float | None": _optional(_real),
    "bool": _flag,
    "str": _text,
    "str | None": _optional(_text),
    "list[str]": _texts,
    "Words": _words,
    "OutputFormat": _text,
    "Position": _text,
    "Path": lambda _, value: Path(value),
    "Ladder": lambda _, value: Ladder.exactly(value),
    "RungSize": _nested(RungSize),
    "PictureFacts": _nested(PictureFacts),
    "Bounds": _nested(Bounds),
    "Looks": _nested(Looks),
    "Watermark": _nested(Watermark),
    "Watermark | None": _optional(_nested(Watermark)),
}
"""The reader of a field, by its annotation."""
