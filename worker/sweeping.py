"""The `sweep` and `verify` verbs: one survey, from its start or a checkpoint to its end.

What a single photo comes to is decided in `sweep` and `verify`; here are totals, progress, and
where to go on after an interruption.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import typer

from worker.app import build_sweeper, open_store
from worker.config import Settings
from worker.errors import ExitCode, Transient, UsageFault
from worker.layout import Layout
from worker.progress import Show, progress
from worker.publish import EventPublisher
from worker.pubsub import PubSubPublisher
from worker.storage import GcsStore
from worker.survey import PARALLEL, Survey, SurveyedPhoto
from worker.sweep import Swept
from worker.telemetry import configure_logs

T = TypeVar("T")

LISTED = 1000
"""As many orphans and faults are kept by name; all of them are counted."""

INTERRUPTED = 128 + signal.SIGINT

_SAVE_SECONDS = 5.0


@dataclass(slots=True, kw_only=True)
class Report:
    """What a run came to; `--json` prints all of it."""

    bucket: str
    prefix: str
    complete: bool = False
    photos: int = 0
    objects: int = 0
    bytes: int = 0
    foreign: int = 0
    orphans_total: int = 0
    orphan_bytes: int = 0
    spared_total: int = 0
    faults_total: int = 0
    repaired_total: int = 0
    failures_total: int = 0
    seconds: float = 0.0
    orphans: list[str] = field(default_factory=list)
    faults: list[dict[str, str]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2)

    def counts(self) -> dict[str, object]:
        """What is worth showing while it runs."""
        return {
            "photos": self.photos,
            "objects": self.objects,
            "orphans": self.orphans_total,
            "faults": self.faults_total,
        }

    def summary(self) -> str:
        """The same for a terminal, in one line."""
        parts = [
            f"{self.photos:,} photos, {self.objects:,} objects",
            f"{self.orphans_total:,} orphans ({self.orphan_bytes:,} bytes)",
            f"{self.spared_total:,} too young to tell",
            f"{self.faults_total:,} faults"
            + f" ({self.repaired_total:,} repaired)" * bool(self.repaired_total),
            f"{self.failures_total:,} failures",
            f"{self.foreign:,} foreign objects",
        ]
        whole = "done" if self.complete else "NOT COMPLETE"
        return f"{whole} in {self.seconds:.1f} s: {'; '.join(parts)}"

    @property
    def exit_code(self) -> ExitCode:
        """7 if a manifest is untrue, or a photo could not be looked at."""
        wrong = self.faults_total > self.repaired_total or self.failures_total
        return ExitCode.SOME_FAILED if wrong else ExitCode.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A file that says where an interrupted run goes on; without one, nothing is kept."""

    file: Path | None
    bucket: str
    prefix: str

    def load(self) -> str | None:
        """Where to begin, or `None` at the start.

        Raises:
            UsageFault: the file is no checkpoint, or one of another bucket or prefix.
        """
        if self.file is None or not self.file.exists():
            return None
        try:
            kept = json.loads(self.file.read_text())
            resume_at = str(kept["resume_at"])
            where = (kept["bucket"], kept["prefix"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UsageFault(f"{self.file} is no checkpoint; remove it to start anew") from error
        if where != (self.bucket, self.prefix):
            raise UsageFault(
                f"{self.file} is a checkpoint of gs://{where[0]}/{where[1]}; "
                "remove it to start anew"
            )
        return resume_at

    def save(self, resume_at: str) -> None:
        """Keep it; a reader finds the old one or this one, never half of it."""
        if self.file is None:
            return
        kept = {"bucket": self.bucket, "prefix": self.prefix, "resume_at": resume_at}
        half = self.file.with_name(f".{self.file.name}.part")
        half.write_text(json.dumps(kept))
        half.replace(self.file)

    def clear(self) -> None:
        """The run has come to its end."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Failed:
    """A photo that could not be looked at now; the others go on."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """What the `sweep` verb was asked for."""

    older_than: timedelta
    dry_run: bool
    repair: bool
    checkpoint: str | None


def run_sweep(settings: Settings, options: SweepOptions, *, as_json: bool) -> int:
    """Sweep the renditions' bucket; the exit code.

    Raises:
        Fatal, Transient: the bucket cannot be listed (any more).
    """
    with ExitStack() as stack:
        store = _open(settings, stack)
        register_again = None
        if options.repair:
            publisher = PubSubPublisher(settings.pubsub_emulator_host)
            stack.callback(publisher.close)
            register_again = EventPublisher(store, publisher, settings.topic or "").publish
        sweeper = build_sweeper(
            settings,
            store,
            older_than=options.older_than,
            dry_run=options.dry_run,
            register_again=register_again,
        )
        run = Run(settings, store, options.checkpoint, as_json=as_json)
        return run("sweep", sweeper, "would remove" if options.dry_run else "removed")


def run_verify(settings: Settings, *, checkpoint: str | None, as_json: bool) -> int:
    """Verify the renditions' bucket; the exit code.

    Raises:
        Fatal, Transient: the bucket cannot be listed (any more).
    """
    with ExitStack() as stack:
        store = _open(settings, stack)
        sweeper = build_sweeper(
            settings, store, older_than=timedelta(), dry_run=True, register_again=None
        )
        run = Run(settings, store, checkpoint, as_json=as_json)
        return run("verify", lambda photo: Swept(faults=sweeper.verifier(photo).faults), "")


def _open(settings: Settings, stack: ExitStack) -> GcsStore:
    store = open_store(settings, connections=PARALLEL + 1)
    stack.callback(store.close)
    return store


class Run:
    """One run over a bucket, from its start or a checkpoint."""

    def __init__(
        self, settings: Settings, store: GcsStore, checkpoint: str | None, *, as_json: bool
    ) -> None:
        """Read the checkpoint.

        Raises:
            UsageFault: it is none, or one of another bucket.
        """
        bucket, prefix = settings.renditions_bucket or "", settings.output_prefix
        self._checkpoint = Checkpoint(
            file=Path(checkpoint) if checkpoint else None, bucket=bucket, prefix=prefix
        )
        self._survey = Survey(store, bucket, Layout(prefix), self._checkpoint.load())
        self._report = Report(bucket=bucket, prefix=prefix)
        self._log = configure_logs(settings.log_format, settings.log_level)
        self._as_json = as_json

    def __call__(self, verb: str, judge: Callable[[SurveyedPhoto], Swept], removed: str) -> int:
        """Judge each photo and print what it came to, also where it is cut short."""
        report, interrupted = self._report, False
        started = time.monotonic()
        try:
            with progress(verb, self._log) as show:
                self._judge_all(judge, removed, show)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            report.seconds = round(time.monotonic() - started, 3)
            typer.echo(report.to_json() if self._as_json else report.summary())
        return INTERRUPTED if interrupted else int(report.exit_code)

    def _judge_all(self, judge: Callable[[SurveyedPhoto], Swept], removed: str, show: Show) -> None:
        def guarded(photo: SurveyedPhoto) -> Swept | _Failed:
            try:
                return judge(photo)
            except Transient as error:
                return _Failed(f"{type(error).__name__}: {error}")

        resume_at: str | None = None
        saved = time.monotonic()
        try:
            for judged in self._survey.judge(guarded):
                self._count(judged.photo.photo_id, judged.result, removed)
                resume_at = judged.resume_at
                if resume_at is not None and time.monotonic() - saved >= _SAVE_SECONDS:
                    saved = time.monotonic()
                    self._checkpoint.save(resume_at)
                show(self._report.counts())
            self._report.complete = True
            self._checkpoint.clear()
        finally:
            if not self._report.complete and resume_at is not None:
                self._checkpoint.save(resume_at)

    def _count(self, photo_id: str, result: Swept | _Failed, removed: str) -> None:
        report, seen = self._report, self._survey.seen
        report.photos += 1
        report.objects, report.bytes, report.foreign = seen.objects, seen.bytes, seen.foreign
        if isinstance(result, _Failed):
            report.failures_total += 1
            _keep(report.failures, {"photo_id": photo_id, "message": result.message})
            self._tell(f"failed {photo_id}: {result.message}")
            return
        for orphan in result.orphans:
            report.orphans_total += 1
            report.orphan_bytes += orphan.size_bytes
            _keep(report.orphans, orphan.name)
            self._tell(f"{removed} {orphan.name}")
        report.spared_total += len(result.spared)
        for fault in result.faults:
            report.faults_total += 1
            report.repaired_total += result.repaired
            _keep(report.faults, fault.as_dict())
            registered = "; registered again" if result.repaired else ""
            self._tell(f"{fault.kind} {fault.object}: {fault.message}{registered}")

    def _tell(self, line: str) -> None:
        if not self._as_json:
            typer.echo(line)


def _keep(items: list[T], item: T) -> None:
    if len(items) < LISTED:
        items.append(item)
