"""Outcomes of pictures, of names that the walk finds, and of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from worker.console.stop import Stop
from worker.errors import Fatal, Permanent
from worker.photo.header import PictureFacts
from worker.photo.ports import RenderCost


class PictureFault(StrEnum):
    """The reasons of a failed picture, besides those of `errors.Reason`: a closed set."""

    UNREADABLE = "unreadable"
    NAME_TAKEN = "name_taken"
    NAME_COLLISION = "name_collision"
    NAME_TOO_LONG = "name_too_long"
    UNWRITABLE = "unwritable"


class Passed(StrEnum):
    """The reasons for which the walk passes a name over: a closed set."""

    NO_PICTURE = "no_picture"
    LINKED_FOLDER = "linked_folder"
    SPECIAL_FILE = "special_file"
    EXCLUDED = "excluded"
    ANOTHER_OUTPUT = "another_output"


class OutputFails(Fatal):
    """The disk is full or broken, so the run ends. The same command continues it later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An original; `name` is its path below the folder that is converted, with `/`."""

    name: str
    path: str
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """A file or folder that the walk passes over."""

    name: str
    why: Passed


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An original without new renditions; those of an earlier run stay."""

    name: str
    reason: str
    message: str

    @classmethod
    def by(cls, name: str, error: Permanent) -> Failed:
        """Return the failure that a render reported."""
        return cls(name=name, reason=error.reason.value, message=str(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The facts of an original when it was read; `sha256` is the hash of its bytes."""

    size_bytes: int
    mtime_ns: int
    sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The state's row of an original.

    `made` names the recipe of the files, and is unset while they are replaced. `files` has all
    files of the original that may be in the output: their bytes, by the suffix of its name.
    """

    content: Content
    made: str | None
    files: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """A finished rendition in the scratch folder; its place is the original's name and `suffix`."""

    rung: str
    suffix: str
    path: Path
    size_bytes: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """All renditions of an original, smallest first; `kept` if the last is the original itself."""

    found: Found
    known: Known | None
    content: Content
    files: tuple[NewFile, ...]
    kept: bool
    facts: PictureFacts
    cost: RenderCost
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """The renditions are current; `renewed` is set if only the original's time has changed."""

    name: str
    renewed: Known | None = None


Outcome: TypeAlias = Converted | Unchanged | Failed | PassedOver


class RunEnd:
    """The reason why a run ends before its last original; any thread may set it."""

    def __init__(self, signals: Stop) -> None:
        self.signals = signals
        self.fatal: Fatal | None = None
        self.limited = False
        """The run has found as many originals as `--limit` allows."""

    @property
    def asked(self) -> bool:
        """Return True if the run should only finish the pictures that it has begun."""
        return self.signals.asked or self.fatal is not None

    def fail(self, error: Fatal) -> None:
        """End the run; only the first error is reported."""
        self.fatal = self.fatal or error
