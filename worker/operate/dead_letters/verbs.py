"""The `dead-letters` verbs: list, show, replay, purge.

What a letter is, which are meant, and how a replay goes, is decided in `dead_letters`, `replay`,
`canary` and `forecast`; here they are put together and counted.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from worker.console.printer import Printer
from worker.console.progress import progress
from worker.console.text import to_json
from worker.errors import ExitCode, Fatal, InvalidArchive, Permanent, Transient, UsageFault
from worker.gcs.store import GcsStore
from worker.handlers.manifests import Manifests
from worker.operate.dead_letters.archive import Archive, ArchiveWriter
from worker.operate.dead_letters.canary import CanaryWatch
from worker.operate.dead_letters.forecast import Forecaster
from worker.operate.dead_letters.letterbox import Letterbox
from worker.operate.dead_letters.replay import Canary, Letters, Replayer, ReplayReport
from worker.operate.dead_letters.views import facts_of, groups_text, letter_text
from worker.photo.dead_letter import DeadLetter, Filter, Groups
from worker.pubsub.clients import PubSubPublisher
from worker.render.probe import Probe
from worker.settings.settings import Settings
from worker.telemetry.exporters import traced
from worker.telemetry.logs import Log, configure_logs
from worker.wiring import buckets_of, open_probe, open_store, open_subscriber, originals_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """What `dead-letters replay` was asked for."""

    archive: Path | None
    limit: int | None
    rate: float | None
    canary: int
    canary_seconds: float
    max_replays: int
    dry_run: bool


class Desk:
    """One run of a verb; a context manager that gives back what it held."""

    def __init__(self, settings: Settings, *, as_json: bool) -> None:
        """Open nothing yet."""
        self._settings = settings
        self._as_json = as_json
        self._printer = Printer()
        self._log: Log = configure_logs(settings.log_format, settings.log_level)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Nothing is opened before it is needed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give back what is held and close what was opened."""
        self._stack.close()

    def list(self, meant: Filter) -> ExitCode:
        """Count dead letters by what they have in common; all of them stay where they are."""
        letterbox, groups = self._letterbox(), Groups()
        with progress("dead-letters list", self._log) as show:
            for letter in _meant(letterbox, meant):
                groups.add(letter)
                show({"letters": groups.total})
        found = [group.as_dict() for group in groups.largest_first()]
        self._print(
            {"total": groups.total, "arrived": letterbox.arrived, "groups": found},
            lambda: groups_text(groups, arrived=letterbox.arrived, retention=letterbox.retention),
        )
        return ExitCode.OK

    def show(self, wanted: str) -> ExitCode:
        """One dead letter, by its message id or its photo id, and what a replay would do.

        Of several with one photo id it is the newest. By a message id the others of its photo are
        not looked for: reading goes no further than to the letter.

        Raises:
            UsageFault: there is none.
        """
        found, seen, of_photo = None, 0, 0
        with progress("dead-letters show", self._log) as show:
            for letter in _meant(self._letterbox(), Filter()):
                seen += 1
                show({"letters": seen})
                if wanted == letter.message_id:
                    found, of_photo = letter, 0
                    break
                if wanted == letter.photo_id:
                    of_photo += 1
                    if found is None or letter.published_at > found.published_at:
                        found = letter
        if found is None:
            raise UsageFault(
                f"no dead letter among {seen} has the message id or photo id {wanted!r}"
            )
        letter, facts = found, self._facts(found)
        others = of_photo - 1 if of_photo else None
        self._print(
            {**letter.as_dict(), "others": others, **facts},
            lambda: letter_text(letter, facts, others=others),
        )
        return ExitCode.OK

    def replay(self, meant: Filter, options: ReplayOptions) -> ExitCode:
        """Send dead letters back to the topic; 7 if the canaries failed.

        Raises:
            UsageFault: a number is none, or the archive cannot be read.
            InvalidArchive: the file is none.
        """
        for flag, number in (
            ("--rate", options.rate),
            ("--canary-seconds", options.canary_seconds),
        ):
            if number is not None and not math.isfinite(number):
                raise UsageFault(f"{flag} {number}: must be a finite number")
        publisher = PubSubPublisher(self._settings.pubsub_emulator_host)
        self._stack.callback(publisher.close)
        topic = self._settings.topic or ""
        publisher.check_topic(topic)
        sender = traced(publisher, self._stack)
        canary = None
        if options.canary:
            store = open_store(self._settings)
            self._stack.callback(store.close)
            watch = _canary_watch(self._settings, store, options.canary_seconds)
            canary = Canary(count=options.canary, watch=watch)
        letters: Letters = Archive(options.archive) if options.archive else self._letterbox()
        replayer = Replayer(
            letters=letters,
            publish=lambda messages: sender.publish_all(topic, messages),
            meant=meant,
            clock=_now,
            limit=options.limit,
            rate=options.rate,
            max_replays=options.max_replays,
            canary=canary,
        )
        report, begun = ReplayReport(dry_run=options.dry_run), True
        try:
            with progress("dead-letters replay", self._log) as show:
                replayer(report, show)
        except (UsageFault, InvalidArchive):
            # Of a file that cannot be read there is nothing to report.
            begun = report.seen > 0
            raise
        finally:
            if begun:
                self._print(asdict(report), report.summary)
        return ExitCode.SOME_FAILED if report.stopped_by_canary else ExitCode.OK

    def purge(
        self, meant: Filter, archive: Path, confirm: Callable[[int], bool] | None
    ) -> ExitCode:
        """Delete dead letters, each written to a file first; `confirm` of `None` does not ask.

        Raises:
            UsageFault: the file exists already or cannot be written, or nobody can be asked.
        """
        # Python has no standard input where it was closed before the start.
        if confirm is not None and not (sys.stdin and sys.stdin.isatty()):
            raise UsageFault("purge asks before it deletes; where nobody can answer, give --yes")
        letterbox = self._letterbox()
        writer = self._stack.enter_context(ArchiveWriter(archive))
        count = purged = 0
        try:
            with progress("dead-letters purge", self._log) as show:
                for letter in _meant(letterbox, meant):
                    writer.write(letter)
                    count += 1
                    show({"archived": count})
            writer.sync()
            if count and (confirm is None or confirm(count)):
                purged = count
        finally:
            if not purged:
                writer.discard()
        if purged:
            # What goes is what the file has, read back from it.
            letterbox.ack(Archive(archive).letters())
        kept = str(archive) if purged else None
        self._print(
            {"purged": purged, "archive": kept},
            lambda: f"purged {purged:,}, archived in {kept}" if purged else "nothing was purged",
        )
        return ExitCode.OK

    def _print(self, value: object, text: Callable[[], str]) -> None:
        self._printer(to_json(value) if self._as_json else text())

    def _letterbox(self) -> Letterbox:
        client = open_subscriber(self._settings)
        self._stack.callback(client.close)
        subscription = self._settings.dead_letter_subscription or ""
        return self._stack.enter_context(Letterbox(client, subscription, self._log))

    def _facts(self, letter: DeadLetter) -> dict[str, object]:
        """What a replay would do, as far as it can be told; a hint where it cannot."""
        if not (self._settings.renditions_bucket and self._settings.originals_buckets):
            return {
                "forecast": None,
                "hint": "set WORKER_RENDITIONS_BUCKET and "
                "WORKER_ORIGINALS_BUCKETS to see the photo, and what a replay would do",
            }
        try:
            store = open_store(self._settings)
            self._stack.callback(store.close)
            with open_probe(self._settings, store) as probe:
                return facts_of(_forecaster(self._settings, store, probe)(letter))
        except (Fatal, Permanent, Transient) as error:
            # The letter itself has been found, and is worth showing.
            return {"forecast": None, "hint": f"the photo cannot be looked at: {error}"}


def _meant(letterbox: Letterbox, meant: Filter) -> Iterator[DeadLetter]:
    now = _now()
    for page in letterbox.pages():
        yield from (letter for letter in page if meant.matches(letter, now))


def _now() -> datetime:
    return datetime.now(UTC)


def _forecaster(settings: Settings, store: GcsStore, probe: Probe) -> Forecaster:
    """Tells what a worker with these settings would make of a dead letter."""
    buckets = buckets_of(settings)
    return Forecaster(
        buckets=buckets,
        manifests=Manifests(store, buckets.renditions, buckets.layout),
        originals=originals_of(settings, store, buckets, grace_seconds=0.0),
        recipe=settings.recipe(probe.codec).fingerprint,
        probe=probe,
    )


def _canary_watch(settings: Settings, store: GcsStore, seconds: float) -> CanaryWatch:
    """Watches what becomes of replayed dead letters, for so many seconds."""
    buckets = buckets_of(settings)
    return CanaryWatch(
        buckets=buckets,
        manifests=Manifests(store, buckets.renditions, buckets.layout),
        seconds=seconds,
    )
