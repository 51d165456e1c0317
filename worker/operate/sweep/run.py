"""The `sweep` and `verify` verbs: one survey, from its start or a checkpoint to its end.

`leftovers` and `verify` decide about a single photo. This module has the totals, the progress, and
the checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import timedelta

from worker.console.printer import Printer
from worker.console.progress import Show, progress
from worker.console.stop import Stop
from worker.console.text import plain
from worker.errors import ExitCode, Transient
from worker.gcs.store import GcsStore
from worker.handlers.manifests import Manifests
from worker.handlers.renditions import Renditions
from worker.operate.checkpoint import Checkpoint
from worker.operate.publish import EventPublisher, open_publisher
from worker.operate.sweep.leftovers import Sweeper, Swept
from worker.operate.sweep.report import SweepReport
from worker.operate.sweep.survey import PARALLEL, Survey, SurveyedPhoto
from worker.operate.sweep.verify import Verifier
from worker.photo.layout import Layout
from worker.settings.settings import Settings
from worker.telemetry.logs import configure_logs
from worker.wiring import fresh_id, now, open_store


@dataclass(frozen=True, slots=True)
class _Failed:
    """A photo that could not be checked; the run continues with the next photos."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """The options of the `sweep` verb."""

    older_than: timedelta
    dry_run: bool
    repair: bool
    checkpoint: str | None


def run_sweep(settings: Settings, options: SweepOptions, *, as_json: bool) -> int:
    """Sweep the renditions' bucket and return the exit code.

    Raises:
        Fatal, Transient: the bucket cannot be listed (any more).
    """
    with ExitStack() as stack:
        store = _open(settings, stack)
        register_again = None
        if options.repair:
            # Open the publisher first, because a repair changes the manifest before it publishes.
            publisher = open_publisher(settings, stack)
            register_again = EventPublisher(store, publisher, settings.topic or "").publish
        verifier, layout = _verifier(settings, store), Layout(settings.output_prefix)
        sweeper = Sweeper(
            verifier=verifier,
            manifests=verifier.manifests,
            renditions=Renditions(store, settings.renditions_bucket or "", layout),
            layout=layout,
            clock=now,
            fresh_id=fresh_id,
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
        stop = stack.enter_context(Stop())
        run = _SweepRun(settings, store, doing, options.checkpoint, stop, as_json=as_json)
        return run(sweeper, "would remove" if options.dry_run else "removed")


def run_verify(settings: Settings, *, checkpoint: str | None, as_json: bool) -> int:
    """Verify the renditions' bucket and return the exit code.

    Raises:
        Fatal, Transient: the bucket cannot be listed (any more).
    """
    with ExitStack() as stack:
        store = _open(settings, stack)
        verifier = _verifier(settings, store)
        stop = stack.enter_context(Stop())
        run = _SweepRun(settings, store, {"verb": "verify"}, checkpoint, stop, as_json=as_json)
        return run(lambda photo: Swept(faults=verifier(photo).faults), "")


def _open(settings: Settings, stack: ExitStack) -> GcsStore:
    store = open_store(settings, connections=PARALLEL + 1)
    stack.callback(store.close)
    return store


def _verifier(settings: Settings, store: GcsStore) -> Verifier:
    bucket = settings.renditions_bucket or ""
    return Verifier(store, bucket, Manifests(store, bucket, Layout(settings.output_prefix)))


class _SweepRun:
    """One run over a bucket. After a signal, it only finishes the photos that it has begun."""

    def __init__(
        self,
        settings: Settings,
        store: GcsStore,
        doing: Mapping[str, object],
        checkpoint: str | None,
        stop: Stop,
        *,
        as_json: bool,
    ) -> None:
        """Read the checkpoint; `doing` is the verb and its options.

        Raises:
            UsageFault: see `Checkpoint`.
        """
        bucket, prefix = settings.renditions_bucket or "", settings.output_prefix
        self._log = configure_logs(settings.log_format, settings.log_level)
        self._checkpoint = Checkpoint(
            checkpoint,
            run={**doing, "bucket": bucket, "prefix": prefix},
            fresh=SweepReport(bucket=bucket, prefix=prefix),
            log=self._log,
        )
        self._report = self._checkpoint.report
        self._survey = Survey(store, bucket, Layout(prefix), self._checkpoint.place, stop)
        seen = self._survey.seen
        seen.objects, seen.bytes = self._report.objects, self._report.bytes
        seen.foreign = self._report.foreign
        self._stop = stop
        self._verb = str(doing["verb"])
        self._as_json = as_json
        self._printer = Printer()

    def __call__(self, judge: Callable[[SurveyedPhoto], Swept], removed: str) -> int:
        """Judge each photo, print the totals (even after an error), and return the exit code."""
        report, broken = self._report, None
        before, started = report.seconds, time.monotonic()
        if report.resumed_at is not None:
            self._log.info("resumed", at=report.resumed_at, photos=report.photos)
        try:
            with progress(self._verb, self._log) as show:
                self._judge_all(judge, removed, show)
        except Transient as error:
            broken = error
        report.seconds = round(before + time.monotonic() - started, 3)
        self._print(removed)
        if broken is not None:
            self._log.error("the bucket cannot be listed any more", error=str(broken))
            return int(ExitCode.SOME_FAILED if report.photos else ExitCode.STREAM_LOST)
        if self._stop.exit_code is not None:
            return self._stop.exit_code
        if not report.objects:
            self._log.warning(
                "nothing lies there: see WORKER_RENDITIONS_BUCKET and WORKER_OUTPUT_PREFIX",
                bucket=report.bucket,
                prefix=report.prefix,
            )
        return int(report.exit_code)

    def _judge_all(self, judge: Callable[[SurveyedPhoto], Swept], removed: str, show: Show) -> None:
        def guarded(photo: SurveyedPhoto) -> Swept | _Failed:
            try:
                return judge(photo)
            except Transient as error:
                return _Failed(f"{type(error).__name__}: {error}")

        resume_at: str | None = None
        try:
            for judged in self._survey.judge(guarded):
                self._count(judged.photo.photo_id, judged.result, removed)
                resume_at = judged.resume_at
                if resume_at is not None:
                    self._checkpoint.reach(resume_at)
                show(self._report.counts())
            self._report.complete = not self._stop.asked or resume_at is None
        finally:
            self._checkpoint.end()

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
            report.add_fault(asdict(fault), repaired=result.repaired)
            registered = "; registered again" if result.repaired else ""
            self._tell(f"{fault.kind} {fault.object}: {fault.message}{registered}")

    def _tell(self, line: str) -> None:
        if not self._as_json:
            # `plain`, because names come from a bucket and could control the terminal.
            self._printer(plain(line))

    def _print(self, removed: str) -> None:
        if self._as_json:
            self._printer(self._report.to_json())
            return
        self._printer(self._report.summary())
        if self._report.objects:
            self._printer(self._report.closing(removed))
