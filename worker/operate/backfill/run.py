"""The `backfill` verb: one run, from its start or a checkpoint to its end.

What a single original comes to is decided in `comparison` and `backfill`; here are clients,
progress, signals, the sample of a dry run, and the wait for outcomes.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from types import FrameType
from typing import Final

from worker.console.printer import Printer
from worker.console.progress import Show, progress
from worker.console.text import plain
from worker.errors import ExitCode, Fatal, RendererBroken, RenderFailed, Transient
from worker.gcs.patience import Patience
from worker.gcs.store import GcsStore
from worker.handlers.manifests import Manifests
from worker.operate.backfill.comparison import Compared, Standing
from worker.operate.backfill.estimate import Prices, estimate, summary
from worker.operate.backfill.following import Follower, Outcomes
from worker.operate.backfill.headway import Headway, left
from worker.operate.backfill.inventory import Inventory
from worker.operate.backfill.pages import FILES, PAGE, PARALLEL, Comparer
from worker.operate.backfill.pending import Pending
from worker.operate.backfill.place import Place
from worker.operate.backfill.publishing import UPLOADS, Backfill, BackfillOptions
from worker.operate.backfill.recipes import RecipeWatch
from worker.operate.backfill.report import BackfillReport
from worker.operate.backfill.sampling import Reservoir, look_at
from worker.operate.backfill.source import inventory_of, prefix_of
from worker.operate.checkpoint import Checkpoint
from worker.photo.layout import Layout
from worker.photo.ports import OutgoingMessage
from worker.pubsub.clients import PubSubPublisher
from worker.render.probe import Probe
from worker.settings.settings import Settings
from worker.telemetry.exporters import traced
from worker.telemetry.logs import configure_logs
from worker.wiring import open_probe, open_store

_SIGNAL_EXIT: Final = 128

_PATIENCE: Final = Patience(retry_seconds=45.0, attempts=100)
"""Half a minute without a bucket ends no hours of work; meanwhile, Ctrl-C waits for an answer."""

_Publish = Callable[[Sequence[OutgoingMessage]], object]

_AGAIN_FROM_THERE: Final = "the same command goes on from there"
_AGAIN_FROM_THE_START: Final = (
    "another run compares everything again; what is on its way already may be published twice, "
    "which changes nothing (--checkpoint FILE would spare it)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillRequest:
    """What the `backfill` verb was asked for. `wait_seconds`: `None` waits for no outcome.

    `usual`: the settings without the recipe's flags, `None` where none was given.
    """

    source: str
    options: BackfillOptions
    checkpoint: str | None
    sample: int
    prices: Prices
    wait_seconds: float | None
    usual: Settings | None


def run_backfill(settings: Settings, request: BackfillRequest, *, as_json: bool) -> int:
    """Backfill, and print what it came to, also where it is cut short; the exit code.

    Raises:
        UsageFault, ConfigurationError: it cannot be meant; nothing has been touched.
        Fatal, Transient: a bucket or the topic is missing, forbidden or does not answer.
    """
    with ExitStack() as stack:
        store = open_store(settings, connections=PARALLEL + UPLOADS + 2, patience=_PATIENCE)
        stack.callback(store.close)
        inventory = inventory_of(request.source, settings, store)
        # Nobody waits long for the first answer of all.
        with closing(open_store(settings)) as hasty:
            for bucket in sorted({inventory.bucket, settings.renditions_bucket or ""}):
                hasty.check_bucket(bucket)
        # A dry run has no topic, and never calls this.
        publish: _Publish = len
        if not request.options.dry_run:
            publisher = PubSubPublisher(settings.pubsub_emulator_host)
            stack.callback(publisher.close)
            publisher.check_topic(settings.topic or "")
            publish = partial(traced(publisher, stack).publish_all, settings.topic or "")
        try:
            probe = stack.enter_context(open_probe(settings, store))
        except RenderFailed as error:
            raise RendererBroken(f"no child process, which knows the codecs: {error}") from error
        recipe = settings.recipe(probe.codec).fingerprint
        run = _Run(settings, request, store, inventory, recipe, as_json=as_json)
        stack.callback(run.close)
        return run(publish, probe)


class _Run:
    """One run, from its start or a checkpoint."""

    def __init__(
        self,
        settings: Settings,
        request: BackfillRequest,
        store: GcsStore,
        inventory: Inventory,
        recipe: str,
        *,
        as_json: bool,
    ) -> None:
        """Read the checkpoint.

        Raises:
            UsageFault: it is none, or one of another run.
        """
        self._settings, self._request, self._store = settings, request, store
        self._inventory, self._recipe, self._as_json = inventory, recipe, as_json
        self._log = configure_logs(settings.log_format, settings.log_level)
        checkpoint = Checkpoint(
            file=Path(request.checkpoint) if request.checkpoint else None,
            run=self._identity(),
            report=BackfillReport,
        )
        self._place = Place(checkpoint, self._fresh_report, self._log)
        self._report = self._place.report
        self._report.stopped_by = self._report.outcomes = None
        self._printer = Printer()
        self._sample: Reservoir[Compared] = Reservoir(request.sample)
        self._pending = Pending()
        self._stopping = threading.Event()
        self._signal: int | None = None

    def _fresh_report(self) -> BackfillReport:
        return BackfillReport(
            source=self._request.source,
            bucket=self._inventory.bucket,
            prefix=prefix_of(self._request.source),
            recipe=self._recipe,
            dry_run=self._request.options.dry_run,
        )

    def _identity(self) -> dict[str, object]:
        """What a checkpoint must be of, to be gone on from."""
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
        """Forget what was published."""
        self._pending.close()

    def __call__(self, publish: _Publish, probe: Probe) -> int:
        """Go through everything, then wait or estimate, and print; the exit code."""
        report, before, started = self._report, self._report.seconds, time.monotonic()
        if report.resumed_at is not None:
            self._log.info("resumed", behind=report.resumed_at, published=report.published)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        broken: Transient | Fatal | None = None
        try:
            self._go(publish, probe)
        except (Transient, Fatal) as error:
            broken = error
        report.seconds = round(before + time.monotonic() - started, 3)
        self._printer(report.to_json() if self._as_json else self._text())
        return self._end(broken)

    def _go(self, publish: _Publish, probe: Probe) -> None:
        report, request = self._report, self._request
        try:
            with progress("backfill", self._log) as show:
                self._publish_all(publish, probe, show)
        finally:
            self._place.keep_for_good()
        if report.dry_run:
            if self._signal is None and request.sample:
                # Decoding a thousand takes minutes; a signal leaves a smaller sample.
                sample = takewhile(lambda _: not self._stopping.is_set(), self._sample.kept)
                found = look_at(sample, probe)
                report.estimate = estimate(report.published, found, self._settings, request.prices)
        elif request.wait_seconds is not None:
            with progress("backfill --wait", self._log) as show:
                self._wait(request.wait_seconds, show)

    def _publish_all(self, publish: _Publish, probe: Probe, show: Show) -> None:
        options = self._request.options
        backfill = Backfill(
            store=self._store,
            publish=publish,
            options=options,
            report=self._report,
            published=self._note,
            keep=self._place.keep,
            tell=self._tell,
            stopping=self._stopping,
        )
        comparer = Comparer(
            self._store,
            originals=self._inventory.bucket,
            renditions=self._settings.renditions_bucket or "",
            layout=Layout(self._settings.output_prefix),
            recipe=self._recipe,
            page=PAGE if self._request.source.startswith("gs://") else FILES,
        )
        usual = self._request.usual
        heed = RecipeWatch(
            here=self._recipe,
            usual=usual.recipe(probe.codec).fingerprint if usual else None,
            dry_run=options.dry_run,
            log=self._log,
        )
        before = self._report.names
        # A limit is reached by events, not by names; nobody can tell when.
        counting = options.limit is None
        behind = self._place.behind
        with Headway(self._inventory, behind) if counting else nullcontext() as headway:

            def show_with_eta(counts: dict[str, object]) -> None:
                show(counts | (headway.left(self._report.names - before) if headway else {}))

            pages = comparer.pages(self._inventory.items(behind))
            backfill(
                heed(pages) if options.wanted >= {Standing.STALE_RECIPE} else pages, show_with_eta
            )

    def _note(self, settled: Sequence[Compared]) -> None:
        if self._request.options.dry_run:
            for each in settled:
                self._sample.add(each)
        elif self._request.wait_seconds is not None:
            self._pending.add((each.original.name, each.version, each.seen) for each in settled)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        """Finish the batch under way; a second signal does not wait for it."""
        if self._signal is not None:
            raise KeyboardInterrupt
        self._signal = number
        self._stopping.set()

    def _wait(self, stalled_seconds: float, show: Show) -> None:
        settings = self._settings
        layout = Layout(settings.output_prefix)
        manifests = Manifests(self._store, settings.renditions_bucket or "", layout)
        follower = Follower(
            read=manifests.read, stopping=self._stopping, stalled_seconds=stalled_seconds
        )
        started, total = time.monotonic(), len(self._pending)

        def show_outcomes(outcomes: Outcomes) -> None:
            ended = total - outcomes.pending
            show(outcomes.counts() | left(time.monotonic() - started, ended, total))

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
        if self._signal is not None:
            return _SIGNAL_EXIT + self._signal
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
            # Names come from a bucket: they must not move the cursor, or turn the line round.
            self._printer(plain(line))
