"""The `dead-letters` verbs: list, show, replay, purge. Each is a function here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import typer

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
from worker.operate.dead_letters.replay import Letters, Replayer, ReplayReport
from worker.operate.dead_letters.views import facts_of, groups_text, letter_text
from worker.operate.publish import PacedPublisher, open_publisher
from worker.photo.dead_letter import DeadLetter, Filter, Groups, counted
from worker.render.probe import Probe
from worker.settings.settings import Settings
from worker.telemetry.logs import Log, configure_logs
from worker.wiring import buckets_of, now, open_probe, open_store, open_subscriber, originals_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """The options of `dead-letters replay`."""

    archive: Path | None
    limit: int | None
    rate: float | None
    canary: int
    canary_seconds: float
    max_replays: int
    dry_run: bool


def run_list(settings: Settings, meant: Filter, *, as_json: bool) -> ExitCode:
    """Print dead letters in groups with counts; all stay in the subscription."""
    log, groups = _log(settings), Groups()
    with _letterbox(settings, log) as letterbox:
        with progress("dead-letters list", log) as show:
            for letter in _matching(letterbox, meant):
                groups.add(letter)
                show({"letters": groups.total})
        found = [group.as_dict() for group in groups.largest_first()]
        _print(
            {"total": groups.total, "arrived": letterbox.arrived, "groups": found},
            lambda: groups_text(groups, arrived=letterbox.arrived, retention=letterbox.retention),
            as_json=as_json,
        )
    return ExitCode.OK


def run_show(settings: Settings, wanted: str, *, as_json: bool) -> ExitCode:
    """Print one dead letter, by its message id or its photo id, and what a replay would do.

    If several letters have the photo id, it prints the newest. With a message id, reading ends at
    that letter, and the photo's other letters are not counted.

    Raises:
        UsageFault: the subscription has no such letter.
    """
    log, found, seen, of_photo = _log(settings), None, 0, 0
    with _letterbox(settings, log) as letterbox:
        with progress("dead-letters show", log) as show:
            for letter in _matching(letterbox, Filter()):
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
        facts, others = _facts(settings, found), of_photo - 1 if of_photo else None
        _print(
            {**found.as_dict(), "others": others, **facts},
            partial(letter_text, found, facts, others=others),
            as_json=as_json,
        )
    return ExitCode.OK


def run_replay(
    settings: Settings, meant: Filter, options: ReplayOptions, *, as_json: bool
) -> ExitCode:
    """Send dead letters back to the topic; return 7 if the canaries failed.

    Raises:
        UsageFault, InvalidArchive: the archive cannot be read, or the file is no archive.
    """
    log, report = _log(settings), ReplayReport(dry_run=options.dry_run)
    with ExitStack() as stack:
        sender, watch = open_publisher(settings, stack), None
        if options.canary:
            store = open_store(settings)
            stack.callback(store.close)
            watch = _canary_watch(settings, store, options.canary_seconds)
        letters: Letters = (
            Archive(options.archive)
            if options.archive
            else stack.enter_context(_letterbox(settings, log))
        )
        replayer = Replayer(
            letters=letters,
            publish=PacedPublisher(partial(sender.publish_all, settings.topic or ""), options.rate),
            meant=meant,
            clock=now,
            limit=options.limit,
            max_replays=options.max_replays,
            canaries=options.canary,
            watch=watch,
        )
        begun = True
        try:
            with progress("dead-letters replay", log) as show:
                replayer(report, show)
        except (UsageFault, InvalidArchive):
            # An unreadable file leaves an empty report.
            begun = report.seen > 0
            raise
        finally:
            if begun:
                _print(asdict(report), report.summary, as_json=as_json)
    return ExitCode.SOME_FAILED if report.stopped_by_canary else ExitCode.OK


def run_purge(
    settings: Settings, meant: Filter, archive: Path | None, *, ask: bool, as_json: bool
) -> ExitCode:
    """Write dead letters to a file and delete them; with `ask`, only if the user agrees.

    Raises:
        UsageFault: the file exists already or cannot be written, or there is no user to ask.
    """
    # Standard input is unset if it was closed before the start.
    if ask and not (sys.stdin and sys.stdin.isatty()):
        raise UsageFault("purge asks before it deletes; where nobody can answer, give --yes")
    log, file = _log(settings), archive or Path(f"dead-letters-{now():%Y%m%dT%H%M%SZ}.jsonl")
    with _letterbox(settings, log) as letterbox, ExitStack() as stack:
        writer = ArchiveWriter(file)
        stack.callback(writer.close)
        count = purged = 0
        try:
            with progress("dead-letters purge", log) as show:
                for letter in _matching(letterbox, meant):
                    writer.write(letter)
                    count += 1
                    show({"archived": count})
            writer.sync()
            if count and (not ask or _agreed(count, file)):
                purged = count
        finally:
            if not purged:
                writer.discard()
        if purged:
            # Read the file again, so that only letters that it holds are deleted.
            letterbox.ack(Archive(file).letters())
        _print(
            {"purged": purged, "archive": str(file) if purged else None},
            lambda: f"purged {purged:,}, archived in {file}" if purged else "nothing was purged",
            as_json=as_json,
        )
    return ExitCode.OK


def _agreed(count: int, file: Path) -> bool:
    typer.echo(f"Delete {counted(count)}, to be kept in {file}? [y/N] ", err=True, nl=False)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _print(value: object, text: Callable[[], str], *, as_json: bool) -> None:
    Printer()(to_json(value) if as_json else text())


def _log(settings: Settings) -> Log:
    return configure_logs(settings.log_format, settings.log_level)


@contextmanager
def _letterbox(settings: Settings, log: Log) -> Iterator[Letterbox]:
    with ExitStack() as stack:
        client = open_subscriber(settings)
        stack.callback(client.close)
        subscription = settings.dead_letter_subscription or ""
        yield stack.enter_context(Letterbox(client, subscription, log))


def _matching(letterbox: Letterbox, meant: Filter) -> Iterator[DeadLetter]:
    moment = now()
    for page in letterbox.pages():
        yield from (letter for letter in page if meant.matches(letter, moment))


def _facts(settings: Settings, letter: DeadLetter) -> dict[str, object]:
    """Return the photo and what a replay would do; a hint if the photo cannot be read."""
    if not (settings.renditions_bucket and settings.originals_buckets):
        return {
            "forecast": None,
            "hint": "set WORKER_RENDITIONS_BUCKET and "
            "WORKER_ORIGINALS_BUCKETS to see the photo, and what a replay would do",
        }
    try:
        with ExitStack() as stack:
            store = open_store(settings)
            stack.callback(store.close)
            probe = stack.enter_context(open_probe(settings, store))
            return facts_of(_forecaster(settings, store, probe)(letter))
    except (Fatal, Permanent, Transient) as error:
        # The letter itself was found, so show it.
        return {"forecast": None, "hint": f"the photo cannot be looked at: {error}"}


def _forecaster(settings: Settings, store: GcsStore, probe: Probe) -> Forecaster:
    buckets = buckets_of(settings)
    return Forecaster(
        buckets=buckets,
        manifests=Manifests(store, buckets.renditions, buckets.layout),
        originals=originals_of(settings, store, buckets, grace_seconds=0.0),
        recipe=settings.recipe(probe.codec).fingerprint,
        probe=probe,
    )


def _canary_watch(settings: Settings, store: GcsStore, seconds: float) -> CanaryWatch:
    buckets = buckets_of(settings)
    manifests = Manifests(store, buckets.renditions, buckets.layout)
    return CanaryWatch(buckets=buckets, manifests=manifests, seconds=seconds)
