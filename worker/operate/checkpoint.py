"""Checkpoint: a file with the progress of a run, so that an interrupted run can go on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar

from worker.errors import UsageFault
from worker.telemetry.logs import Log

_SAVE_SECONDS: Final = 1.0


class Resumable(Protocol):
    """A report of a run so far: a dataclass of JSON's own types."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    prefix: str
    """Every place begins with it."""

    resumed_at: str | None
    complete: bool


R = TypeVar("R", bound=Resumable)


class Checkpoint(Generic[R]):
    """The progress of one run, for one thread. Without a file, it forgets everything.

    A write that fails is logged once, and the run goes on.
    """

    def __init__(
        self,
        file: str | None,
        *,
        run: Mapping[str, object],
        fresh: R,
        log: Log,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the file, or begin with the report `fresh`.

        `run` identifies the run. The file of another run is refused, so that an interrupted dry run
        cannot shorten the real run.

        Raises:
            UsageFault: the file cannot be written, is no checkpoint, or belongs to another run.
        """
        self._file = Path(file) if file else None
        self._run, self._log, self._monotonic = dict(run), log, monotonic
        self.place: str | None = None
        """The place after which the run continues; `None` at the start."""

        self.report = fresh
        self._saved, self._failed = monotonic(), False
        if self._file is not None:
            self._try_to_write(self._file)
            if self._file.exists():
                self._load(self._file)

    def reach(self, place: str) -> None:
        """Note that everything before `place` is done; write the file once a second at most."""
        self.place = place
        if self._monotonic() - self._saved >= _SAVE_SECONDS:
            self._write()

    def end(self) -> None:
        """Write the last place of an interrupted run; remove the file of a complete run."""
        if self.report.complete or self.place is not None:
            self._write()

    def _load(self, file: Path) -> None:
        try:
            kept = json.loads(file.read_text())
            run, place = kept["run"], kept["resume_at"]
            report = type(self.report)(**kept["report"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UsageFault(f"{file} is no checkpoint; name another file") from error
        if run != self._run:
            raise UsageFault(
                f"{file} is a checkpoint of another run ({_readable(run)}, not "
                f"{_readable(self._run)}); remove it to start anew, or name another file"
            )
        if not isinstance(place, str) or not place.startswith(report.prefix):
            raise UsageFault(f"{file} does not say where to go on; remove it to start anew")
        report.resumed_at = self.place = place
        self.report = report

    def _write(self) -> None:
        if self._file is None:
            return
        self._saved = self._monotonic()
        try:
            if self.report.complete:
                self._file.unlink(missing_ok=True)
                return
            kept = {"run": self._run, "resume_at": self.place, "report": asdict(self.report)}
            # The rename gives readers either the old file or the whole new file.
            half = _half(self._file)
            half.write_text(json.dumps(kept))
            half.replace(self._file)
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._log.error(
                    "the checkpoint cannot be kept", file=str(self._file), error=str(error)
                )

    @staticmethod
    def _try_to_write(file: Path) -> None:
        # Try at the start, because hours later a failure would lose the run's progress.
        try:
            if file.is_dir():
                raise UsageFault(f"{file} is a folder; name a file for the checkpoint")
            _half(file).write_text("")
            _half(file).unlink()
        except OSError as error:
            raise UsageFault(f"cannot write the checkpoint {file}: {error.strerror}") from error


def _half(file: Path) -> Path:
    return file.with_name(f".{file.name}.part")


def _readable(run: object) -> str:
    if not isinstance(run, Mapping):
        return "of no run"
    return ", ".join(f"{name} {value}" for name, value in run.items())
