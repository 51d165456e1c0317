"""Checkpoint: a file that says where an interrupted run goes on, and what it had come to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from worker.errors import UsageFault


class Resumable(Protocol):
    """What a run came to so far: a dataclass of JSON's own types."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    prefix: str
    """Every place begins with it."""

    resumed_at: str | None


R = TypeVar("R", bound=Resumable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint(Generic[R]):
    """One run's; without a file nothing is kept.

    `run` says what the run does and where. A checkpoint of anything else is refused: a dry run that
    was interrupted must not shorten the real one. `report` is what reports are made of.
    """

    file: Path | None
    run: Mapping[str, object]
    report: type[R]

    def load(self) -> tuple[str, R] | None:
        """Where to begin and the report so far, or `None` at the start.

        Raises:
            UsageFault: the file cannot be written, is no checkpoint, or is one of another run.
        """
        if self.file is None:
            return None
        self._try_to_write(self.file)
        if not self.file.exists():
            return None
        try:
            kept = json.loads(self.file.read_text())
            run, resume_at = kept["run"], kept["resume_at"]
            report = self.report(**kept["report"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UsageFault(f"{self.file} is no checkpoint; name another file") from error
        if run != dict(self.run):
            raise UsageFault(
                f"{self.file} is a checkpoint of another run ({_readable(run)}, not "
                f"{_readable(self.run)}); remove it to start anew, or name another file"
            )
        if not isinstance(resume_at, str) or not resume_at.startswith(report.prefix):
            raise UsageFault(f"{self.file} does not say where to go on; remove it to start anew")
        report.resumed_at = resume_at
        return resume_at, report

    def save(self, resume_at: str, report: R) -> None:
        """Keep it; a reader finds the old one or this one, never half of it.

        Raises:
            OSError: the disk is full, or the folder gone.
        """
        if self.file is not None:
            kept = {"run": dict(self.run), "resume_at": resume_at, "report": asdict(report)}
            half = self._half(self.file)
            half.write_text(json.dumps(kept))
            half.replace(self.file)

    def clear(self) -> None:
        """The run has come to its end."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)

    def _try_to_write(self, file: Path) -> None:
        # Now, and not when the first hours of a run are to be kept.
        try:
            if file.is_dir():
                raise UsageFault(f"{file} is a folder; name a file for the checkpoint")
            self._half(file).write_text("")
            self._half(file).unlink()
        except OSError as error:
            raise UsageFault(f"cannot write the checkpoint {file}: {error.strerror}") from error

    @staticmethod
    def _half(file: Path) -> Path:
        return file.with_name(f".{file.name}.part")


def _readable(run: object) -> str:
    if not isinstance(run, Mapping):
        return "of no run"
    return ", ".join(f"{name} {value}" for name, value in run.items())
