"""What a picture comes to, and what the walk tells of names: the values of `convert`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from worker.errors import Fatal, Permanent


class Fault(StrEnum):
    """Why a picture failed, besides what `errors.Reason` knows: a closed set."""

    UNREADABLE = "unreadable"
    NAME_TAKEN = "name_taken"
    NAME_COLLISION = "name_collision"
    NAME_TOO_LONG = "name_too_long"
    UNWRITABLE = "unwritable"


class Passed(StrEnum):
    """Why the walk passes something over: a closed set."""

    NO_PICTURE = "no_picture"
    LINKED_FOLDER = "linked_folder"
    SPECIAL_FILE = "special_file"
    EXCLUDED = "excluded"
    ANOTHER_OUTPUT = "another_output"


class OutputFails(Fatal):
    """Nothing more can be written: the disk is full or broken. The same command goes on later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An original; `name` is its path below the folder that is converted, with `/`."""

    name: str
    path: str
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """Something that is no original."""

    name: str
    why: Passed


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """One that has no new renditions; those of an earlier run stay."""

    name: str
    reason: str
    message: str

    @classmethod
    def by(cls, name: str, error: Permanent) -> Failed:
        """What a render said against it."""
        return cls(name=name, reason=error.reason.value, message=str(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What an original was when it was read; `sha256` is of its bytes."""

    size_bytes: int
    mtime_ns: int
    sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An original of an earlier run.

    `made` names the recipe of its files, or is `None` while they are replaced. `files` are bytes by
    the suffix of the original's name: everything of it that may lie in the output.
    """

    source: Source
    made: str | None
    files: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """An original that has to be looked into, and what is known of it."""

    found: Found
    known: Known | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """One finished file in the scratch folder, to be placed at the original's name and `suffix`."""

    rung: str
    suffix: str
    path: Path
    size_bytes: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """All renditions of an original, smallest first; `kept` if the last is the original itself.

    `seconds` are those of its render slot, `cpu_seconds` those of the child.
    """

    found: Found
    known: Known | None
    source: Source
    renditions: tuple[Rendition, ...]
    kept: bool
    format: str
    width: int
    height: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """Its renditions are those of its bytes and recipe; `source` where its time is another."""

    found: Found
    known: Known
    source: Source | None = None


Outcome: TypeAlias = Converted | Unchanged | Failed | PassedOver


@dataclass(slots=True)
class Stop:
    """Whether the run shall end, and why; set by signals and by a failing output.

    Plain attributes, no locks: a signal's handler may interrupt anything.
    """

    signal: int | None = None
    fatal: Fatal | None = None
    full: bool = field(default=False)
    """As many as `--limit` allows have been found."""

    @property
    def asked(self) -> bool:
        """Whether nothing new may begin."""
        return self.signal is not None or self.fatal is not None
