"""The `backfill` verb: one run, from its start or a checkpoint to its end.

`comparison` and `publishing` decide about each original. This module has the clients, progress,
signals, the sample of a dry run, and the wait for outcomes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from itertools import takewhile
from typing import Final

from worker.console.printer import Printer
from worker.console.progress import Show, progress
from worker.console.stop import Stop
from worker.console.text import plain
from worker.errors import ExitCode, Fatal, RendererBroken, RenderFailed, Transient
from worker.gcs.patience import Patience
from worker.gcs.store import GcsStore
from worker.handlers.manifests import Manifests
from worker.operate.backfill.comparison import Compared, Standing
from worker.operate.backfill.estimate import Prices, Reservoir, estimate, look_at, summary
from worker.operate.backfill.following import Follower, Outcomes, Pending
from worker.operate.backfill.inventory import Inventory, open_inventory, prefix_of
from worker.operate.backfill.pages import FILES, PAGE, PARALLEL, Comparer
from worker.operate.backfill.publishing import UPLOADS, Backfill, BackfillOptions
from worker.operate.backfill.recipes import RecipeWatch
from worker.operate.backfill.remaining import Remaining, time_left
from worker.operate.backfill.report import BackfillReport
from worker.operate.checkpoint import Checkpoint
from worker.operate.publish import PacedPublisher, open_publisher
from worker.photo.layout import Layout
from worker.photo.ports import OutgoingMessage
from worker.render.probe import Probe
from worker.settings.settings import Settings
from worker.telemetry.logs import configure_logs
from worker.wiring import open_probe, open_store

_PATIENCE: Final = Patience(retry_seconds=45.0, attempts=100)
"""A request to a bucket may take half a minute; meanwhile, Ctrl-C waits for the answer."""

_AGAIN_FROM_THERE: Final = "the same command goes on from there"
_AGAIN_FROM_THE_START: Final = (
    "another run compares everything again; what is on its way already may be published twice, "
    "which changes nothing (--checkpoint FILE would spare it)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillRequest:
    """The options of the command line.

    If `wait_seconds` is `None`, the verb does not wait for outcomes. `usual` are the settings
    without the recipe's flags; `None` if there are no such flags.
    """

    source: str
    options: BackfillOptions
    checkpoint: str | None
    sample: int
    prices: Prices
    wait_seconds: float | None
    usual: Settings | None


def run_backfill(settings: Settings, request: BackfillRequest, *, as_json: bool) -> int:
    """Backfill, print the report (even if an error ends it), and return the exit code.

    Raises:
        UsageFault, ConfigurationError: the source or the settings are wrong.
        Fatal, Transient: a bucket or the topic is missing, forbidden or does not answer.
    """
    with ExitStack() as stack:
        store = open_store(settings, connections=PARALLEL + UPLOADS + 2, patience=_PATIENCE)
        stack.callback(store.close)
        inventory = open_inventory(request.source, settings, store)
        # Use the usual time-outs here, so that a bucket that does not answer ends the run early.
        with closing(open_store(settings)) as hasty:
            for bucket in sorted({inventory.bucket, settings.renditions_bucket or ""}):
                hasty.check_bucket(bucket)
        publish = _publish_nothing
        if not request.options.dry_run:
            sender = open_publisher(settings, stack)
            publish = partial(sender.publish_all, settings.topic or "")
        try:
            probe = stack.enter_context(open_probe(settings, store))
        except RenderFailed as error:
            raise RendererBroken(f"no child process, which knows the codecs: {error}") from error
        recipe = settings.recipe(probe.codec).fingerprint
        # Enter `Stop` last, so that Ctrl-C still ends the verb at once while it connects.
        stop = stack.enter_context(Stop())
        run = _BackfillRun(settings, request, store, inventory, recipe, stop, as_json=as_json)
        stack.callback(run.close)
        return run(PacedPublisher(publish, request.options.rate, wait=stop.wait), probe)


def _publish_nothing(_: Sequence[OutgoingMessage]) -> None:
    """Stands in for the topic in a dry run, which does not call it."""


class _BackfillRun:
    """One run. After a signal, it only finishes the current batch."""

    def __init__(  # noqa: PLR0913
        self,
        settings: Settings,
        request: BackfillRequest,
        store: GcsStore,
        inventory: Inventory,
        recipe: str,
        stop: Stop,
        *,
        as_json: bool,
    ) -> None:
        """Read the checkpoint.

        Raises:
            UsageFault: see `Checkpoint`.
        """
        self._settings, self._request, self._store = settings, request, store
        self._inventory, self._recipe, self._stop = inventory, recipe, stop
        self._as_json, self._printer = as_json, Printer()
        self._log = configure_logs(settings.log_format, settings.log_level)
        fresh = BackfillReport(
            source=request.source,
            bucket=inventory.bucket,
            prefix=prefix_of(request.source),
            recipe=recipe,
            dry_run=request.options.dry_run,
        )
        self._checkpoint = Checkpoint(
            request.checkpoint, run=self._identity(), fresh=fresh, log=self._log
        )
        self._report = self._checkpoint.report
        self._report.stopped_by = self._report.outcomes = None
        self._sample: Reservoir[Compared] = Reservoir(request.sample)
        self._pending = Pending()

    def _identity(self) -> dict[str, object]:
        """Return the values that all parts of this run have in common."""
        settings, options = self._settings, self._request.options
        return {
            "verb": "backfill",
            "source": self._request.source,
            "bucket": self._inventory.bucket,
            "wanted": sorted(options.wanted),
            "include": list(settings.include),
            "exclude": list(settings.exclude),
            "dry_run": options.dry_run,
            "topic": settings.topic,
            "renditions": f"gs://{settings.renditions_bucket}/{settings.output_prefix}",
            "recipe": self._recipe,
        }

    def close(self) -> None:
        """Delete the list of published events."""
        self._pending.close()

    def __call__(self, publish: PacedPublisher, probe: Probe) -> int:
        """Go through all originals, wait or estimate, print, and return the exit code."""
        report, before, started = self._report, self._report.seconds, time.monotonic()
        if report.resumed_at is not None:
            self._log.info("resumed", behind=report.resumed_at, published=report.published)
        broken: Transient | Fatal | None = None
        try:
            self._go(publish, probe)
        except (Transient, Fatal) as error:
            broken = error
        report.seconds = round(before + time.monotonic() - started, 3)
        self._printer(report.to_json() if self._as_json else self._text())
        return self._end(broken)

    def _go(self, publish: PacedPublisher, probe: Probe) -> None:
        report, request = self._report, self._request
        try:
            with progress("backfill", self._log) as show:
                self._publish_all(publish, probe, show)
        finally:
            self._checkpoint.end()
        if report.dry_run:
            if not self._stop.asked and request.sample:
                # Decoding a thousand originals takes minutes; a signal makes the sample smaller.
                sample = takewhile(lambda _: not self._stop.asked, self._sample.kept)
                found = look_at(sample, probe)
                report.estimate = estimate(report.published, found, self._settings, request.prices)
        elif request.wait_seconds is not None:
            with progress("backfill --wait", self._log) as show:
                self._wait(request.wait_seconds, show)

    def _publish_all(self, publish: PacedPublisher, probe: Probe, show: Show) -> None:
        options, usual = self._request.options, self._request.usual
        backfill = Backfill(
            store=self._store,
            publish=publish,
            options=options,
            report=self._report,
            published=self._note,
            keep=self._checkpoint.reach,
            tell=self._tell,
            stop=self._stop,
        )
        comparer = Comparer(
            self._store,
            originals=self._inventory.bucket,
            renditions=self._settings.renditions_bucket or "",
            layout=Layout(self._settings.output_prefix),
            recipe=self._recipe,
            page=PAGE if self._request.source.startswith("gs://") else FILES,
        )
        watch = RecipeWatch(
            here=self._recipe,
            usual=usual.recipe(probe.codec).fingerprint if usual else None,
            dry_run=options.dry_run,
            log=self._log,
        )
        before, behind = self._report.names, self._checkpoint.place
        # With a limit, the end depends on events and not on names, so the time left is unknown.
        counting = options.limit is None
        with Remaining(self._inventory, behind) if counting else nullcontext() as remaining:

            def show_with_time(counts: dict[str, object]) -> None:
                show(counts | (remaining.left(self._report.names - before) if remaining else {}))

            pages = comparer.pages(self._inventory.items(behind))
            if options.wanted >= {Standing.STALE_RECIPE}:
                pages = watch(pages)
            backfill(pages, show_with_time)

    def _note(self, settled: Sequence[Compared]) -> None:
        if self._request.options.dry_run:
            for each in settled:
                self._sample.add(each)
        elif self._request.wait_seconds is not None:
            self._pending.add((each.original.name, each.version, each.seen) for each in settled)

    def _wait(self, stalled_seconds: float, show: Show) -> None:
        settings = self._settings
        layout = Layout(settings.output_prefix)
        manifests = Manifests(self._store, settings.renditions_bucket or "", layout)
        follower = Follower(read=manifests.read, stop=self._stop, stalled_seconds=stalled_seconds)
        started, total = time.monotonic(), len(self._pending)

        def show_outcomes(outcomes: Outcomes) -> None:
            ended = total - outcomes.pending
            show(outcomes.counts() | time_left(time.monotonic() - started, ended, total))

        outcomes = follower(self._pending, show_outcomes)
        self._report.outcomes = {
            **asdict(outcomes),
            "seconds": round(time.monotonic() - started, 3),
        }

    def _end(self, broken: Transient | Fatal | None) -> int:
        report = self._report
        if not report.complete:
            again = _AGAIN_FROM_THERE if self._request.checkpoint else _AGAIN_FROM_THE_START
            self._log.warning("not complete", stopped_by=report.stopped_by, then=again)
        if report.stopped_by == "max_events":
            self._log.error(
                "more events than --max-events allows: look at --dry-run, and allow more",
                max_events=self._request.options.max_events,
            )
        if isinstance(broken, Fatal):
            raise broken
        if broken is not None:
            self._log.error("a service does not answer any more", error=str(broken))
            return int(ExitCode.SOME_FAILED if report.names else ExitCode.STREAM_LOST)
        if self._stop.exit_code is not None:
            return self._stop.exit_code
        if report.complete and not report.originals:
            self._log.warning("no original lies there", source=report.source)
        return int(report.exit_code)

    def _text(self) -> str:
        text = self._report.summary()
        if self._report.estimate is not None and self._report.published:
            text += f"\n{summary(self._report.estimate)}"
        return "\n".join(plain(line) for line in text.split("\n"))

    def _tell(self, line: str) -> None:
        if not self._as_json:
            # `plain`, because names come from a bucket and could control the terminal.
            self._printer(plain(line))
