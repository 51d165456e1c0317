"""The `sweep` and `verify` verbs: one survey, from its start or a checkpoint to its end.

What a single photo comes to is decided in `sweep` and `verify`; here are totals, progress, and
where to go on after an interruption.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType

from worker.console.printer import Printer
from worker.console.progress import Show, progress
from worker.console.text import plain
from worker.errors import ExitCode, Transient
from worker.gcs.store import GcsStore
from worker.handlers.manifests import Manifests
from worker.handlers.renditions import Renditions
from worker.operate.checkpoint import Checkpoint
from worker.operate.publish import EventPublisher
from worker.operate.sweep.leftovers import Sweeper, Swept
from worker.operate.sweep.report import Report
from worker.operate.sweep.survey import PARALLEL, Survey, SurveyedPhoto
from worker.operate.sweep.verify import Verifier
from worker.photo.events import Register
from worker.photo.layout import Layout
from worker.pubsub.clients import PubSubPublisher
from worker.settings.settings import Settings
from worker.telemetry.exporters import traced
from worker.telemetry.logs import configure_logs
from worker.wiring import fresh_id, now, open_store

_SIGNAL_EXIT = 128

_SAVE_SECONDS = 5.0


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
            # Before a manifest is touched for the sake of an event that cannot be published.
            publisher.check_topic(settings.topic or "")
            sender = traced(publisher, stack)
            register_again = EventPublisher(store, sender, settings.topic or "").publish
        sweeper = _sweeper(
            settings,
            store,
            older_than=options.older_than,
            dry_run=options.dry_run,
            register_again=register_again,
        )
        doing = {
            "verb": "sweep",
            "dry_run": options.dry_run,
            "repair": options.repair,
            "older_than_seconds": options.older_than.total_seconds(),
        }
        run = Run(settings, store, doing, options.checkpoint, as_json=as_json)
        return run(sweeper, "would remove" if options.dry_run else "removed")


def run_verify(settings: Settings, *, checkpoint: str | None, as_json: bool) -> int:
    """Verify the renditions' bucket; the exit code.

    Raises:
        Fatal, Transient: the bucket cannot be listed (any more).
    """
    with ExitStack() as stack:
        store = _open(settings, stack)
        verifier = _verifier(settings, store)
        run = Run(settings, store, {"verb": "verify"}, checkpoint, as_json=as_json)
        return run(lambda photo: Swept(faults=verifier(photo).faults), "")


def _open(settings: Settings, stack: ExitStack) -> GcsStore:
    store = open_store(settings, connections=PARALLEL + 1)
    stack.callback(store.close)
    return store


class Run:
    """One run over a bucket, from its start or a checkpoint."""

    def __init__(
        self,
        settings: Settings,
        store: GcsStore,
        doing: Mapping[str, object],
        checkpoint: str | None,
        *,
        as_json: bool,
    ) -> None:
        """Read the checkpoint; `doing` is the verb and what it was asked for.

        Raises:
            UsageFault: it is none, or one of another run.
        """
        bucket, prefix = settings.renditions_bucket or "", settings.output_prefix
        self._checkpoint = Checkpoint(
            file=Path(checkpoint) if checkpoint else None,
            run={**doing, "bucket": bucket, "prefix": prefix},
            report=Report,
        )
        start, self._report = self._checkpoint.load() or (
            None,
            Report(bucket=bucket, prefix=prefix),
        )
        self._survey = Survey(store, bucket, Layout(prefix), start)
        seen = self._survey.seen
        seen.objects, seen.bytes = self._report.objects, self._report.bytes
        seen.foreign = self._report.foreign
        self._log = configure_logs(settings.log_format, settings.log_level)
        self._verb = str(doing["verb"])
        self._as_json = as_json
        self._printer = Printer()
        self._signal: int | None = None

    def __call__(self, judge: Callable[[SurveyedPhoto], Swept], removed: str) -> int:
        """Judge each photo and print what it came to, also where it is cut short."""
        report = self._report
        before, started = report.seconds, time.monotonic()
        if report.resumed_at is not None:
            self._log.info("resumed", at=report.resumed_at, photos=report.photos)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        try:
            with progress(self._verb, self._log) as show:
                self._judge_all(judge, removed, show)
        except Transient as error:
            self._finish(before + time.monotonic() - started, removed)
            self._log.error("the bucket cannot be listed any more", error=str(error))
            return int(ExitCode.SOME_FAILED if report.photos else ExitCode.STREAM_LOST)
        self._finish(before + time.monotonic() - started, removed)
        if self._signal is not None:
            return _SIGNAL_EXIT + self._signal
        if not report.objects:
            self._log.warning(
                "nothing lies there: see WORKER_RENDITIONS_BUCKET and WORKER_OUTPUT_PREFIX",
                bucket=report.bucket,
                prefix=report.prefix,
            )
        return int(report.exit_code)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        """Finish the photos that were begun; a second signal does not wait for them."""
        if self._signal is not None:
            raise KeyboardInterrupt
        self._signal = number
        self._survey.stop()

    def _finish(self, seconds: float, removed: str) -> None:
        self._report.seconds = round(seconds, 3)
        if self._as_json:
            self._printer(self._report.to_json())
            return
        self._printer(self._report.summary())
        if self._report.objects:
            self._printer(self._report.closing(removed))

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
                    self._checkpoint.save(resume_at, self._report)
                show(self._report.counts())
            self._report.complete = self._signal is None or resume_at is None
            if self._report.complete:
                self._checkpoint.clear()
        finally:
            if not self._report.complete and resume_at is not None:
                self._checkpoint.save(resume_at, self._report)

    def _count(self, photo_id: str, result: Swept | _Failed, removed: str) -> None:
        report, seen = self._report, self._survey.seen
        report.photos += 1
        report.objects, report.bytes, report.foreign = seen.objects, seen.bytes, seen.foreign
        if isinstance(result, _Failed):
            report.add_failure(photo_id, result.message)
            self._tell(f"failed {photo_id}: {result.message}")
            return
        for orphan in result.orphans:
            report.add_orphan(orphan.name, orphan.size_bytes)
            self._tell(f"{removed} {orphan.name}")
        report.spared_total += len(result.spared)
        report.fences_total += result.fenced
        for fault in result.faults:
            report.add_fault(fault.as_dict(), repaired=result.repaired)
            registered = "; registered again" if result.repaired else ""
            self._tell(f"{fault.kind} {fault.object}: {fault.message}{registered}")

    def _tell(self, line: str) -> None:
        if not self._as_json:
            # Names come from a bucket: they must not move the cursor, or turn the line round.
            self._printer(plain(line))


def _verifier(settings: Settings, store: GcsStore) -> Verifier:
    """A verifier of the renditions' bucket."""
    bucket = settings.renditions_bucket or ""
    return Verifier(store, bucket, Manifests(store, bucket, Layout(settings.output_prefix)))


def _sweeper(
    settings: Settings,
    store: GcsStore,
    *,
    older_than: timedelta,
    dry_run: bool,
    register_again: Callable[[Register], object] | None,
) -> Sweeper:
    """A sweeper of the renditions' bucket."""
    layout, bucket = Layout(settings.output_prefix), settings.renditions_bucket or ""
    manifests = Manifests(store, bucket, layout)
    return Sweeper(
        verifier=_verifier(settings, store),
        manifests=manifests,
        renditions=Renditions(store, bucket, layout),
        layout=layout,
        clock=now,
        fresh_id=fresh_id,
        older_than=older_than,
        dry_run=dry_run,
        register_again=register_again,
    )
