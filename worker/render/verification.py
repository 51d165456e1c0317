"""This module checks the child's answers. The parent treats a wrong answer as a crash.

A hostile picture may take over a child and send any answer. The parent accepts a value only if just
the child can know it, if it is in the possible range, and if the child has not sent it before. The
parent itself names the files, derives every size from the header, and expects all rungs before the
end.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Final, TypeAlias

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
from worker.photo.header import Header, PictureFacts
from worker.photo.ladder import RungSize
from worker.photo.looks import OutputFormat
from worker.photo.ports import Rendered
from worker.render.formats.formats import RENDERED
from worker.render.protocol import Answer, Done, Finished, Ready, Refused, RungWritten, Unavailable

Refusal: TypeAlias = Permanent | SlotUnavailable
"""The answer of a healthy child that cannot render: the original is bad, or the slot fails now."""

_MOST_BITS: Final = 64
_COLOR: Final = re.compile(r"#[0-9a-f]{6}")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{4,64}={0,2}")
_CHECKSUM: Final = re.compile(r"[A-Za-z0-9+/]{6}==")

_BYTES_A_PIXEL: Final = 8
_SMALLEST_BYTES: Final = 1 << 16
"""The size limit is 8 bytes a pixel plus 64 KiB; every WebP or PNG is smaller."""

_REFUSALS: Final = (UnsupportedFormat, OriginalTooLarge, CorruptOriginal, RenderFailed)


def verified_ready(answer: Answer) -> Ready:
    """Return the child's first answer.

    Raises:
        RenderCrashed: the answer is not `Ready`.
    """
    if not isinstance(answer, Ready):
        raise _out_of_turn(answer)
    return answer


def verified_header(answer: Answer, max_pixels: int) -> Header | Refusal:
    """Return the checked header of an original, or the child's refusal.

    Raises:
        RenderCrashed: the header has impossible values, or the child sent another kind of answer.
    """
    if not isinstance(answer, Header):
        return _refusal(answer)
    if (
        min(answer.width, answer.height, answer.bands, answer.bits) < 1
        or answer.format not in RENDERED
        or answer.bits > _MOST_BITS
        or answer.pixels > max_pixels
    ):
        raise _impossible(answer)
    return answer


def verified_done(answer: Answer) -> Refusal | None:
    """Return the child's refusal of a probe or a watermark, or `None` if the child accepted it.

    Raises:
        RenderCrashed: the child sent another kind of answer.
    """
    return None if isinstance(answer, Done) else _refusal(answer)


class ExpectedRenditions:
    """Checks the answers to one render: each rung once, and then the facts."""

    def __init__(
        self,
        header: Header,
        sizes: tuple[RungSize, ...],
        folder: Path,
        *,
        suffix: OutputFormat,
        placeholder: bool,
    ) -> None:
        """Expect the `sizes` that this header asks for; the child writes them into `folder`."""
        self._header = header
        self._missing = {size.rung: size for size in sizes}
        self._folder = folder
        self._suffix = suffix
        self._placeholder = placeholder

    def verified(self, answer: Answer) -> Rendered | Finished | Refusal:
        """Return the next answer; every answer except `Rendered` ends the render.

        Raises:
            RenderCrashed: the answer has impossible values or comes at the wrong time.
        """
        if isinstance(answer, RungWritten):
            return self._rendered(answer)
        if not isinstance(answer, Finished):
            return _refusal(answer)
        if self._missing:
            raise RenderCrashed(f"the child ends without {', '.join(self._missing)}")
        self._check(answer.facts)
        if answer.cpu_seconds < 0:
            raise _impossible(answer)
        return answer

    def _rendered(self, answer: RungWritten) -> Rendered:
        size = self._missing.pop(answer.size.rung, None)
        if size is None:
            raise RenderCrashed(
                f"the child answers with a rung nobody asked for: {answer.size.rung[:80]!r}"
            )
        if (
            answer.size != size
            or not 1 <= answer.size_bytes <= _most_bytes(size)
            or not _CHECKSUM.fullmatch(answer.crc32c)
        ):
            raise _impossible(answer)
        path = Path(self._folder, f"{size.rung}.{self._suffix}")
        try:
            found = path.lstat()
        except OSError as error:
            raise RenderCrashed(f"the child claims what is not there: {error}") from error
        if not stat.S_ISREG(found.st_mode) or found.st_size != answer.size_bytes:
            raise RenderCrashed(
                f"the child claims {answer.size_bytes} bytes, {found.st_size} are there"
            )
        return Rendered(size=size, path=path, size_bytes=answer.size_bytes, crc32c=answer.crc32c)

    def _check(self, facts: PictureFacts) -> None:
        header = self._header
        measured = (header.format, header.width, header.height, header.pages)
        if (facts.format, facts.width, facts.height, facts.pages) != measured:
            raise RenderCrashed(f"the child renders something else than it measured: {facts}")
        sound = (
            _BASE64.fullmatch(facts.thumbhash) and _COLOR.fullmatch(facts.color)
            if self._placeholder
            else not facts.thumbhash and not facts.color
        )
        if not sound:
            raise _impossible(facts)


def _most_bytes(size: RungSize) -> int:
    return _BYTES_A_PIXEL * size.width * size.height + _SMALLEST_BYTES


def _refusal(answer: Answer) -> Refusal:
    if isinstance(answer, Unavailable) and answer.message.isprintable():
        return SlotUnavailable(answer.message)
    if not isinstance(answer, Refused):
        raise _out_of_turn(answer)
    for known, kind in PERMANENT_BY_REASON.items():
        if known.value == answer.reason and issubclass(kind, _REFUSALS):
            return kind(answer.message)
    raise _impossible(answer)


def _out_of_turn(answer: Answer) -> RenderCrashed:
    return RenderCrashed(f"the child answers out of turn: {repr(answer)[:80]}")


def _impossible(answer: object) -> RenderCrashed:
    return RenderCrashed(f"the child answers nonsense: {repr(answer)[:200]}")
