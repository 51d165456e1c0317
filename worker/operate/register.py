"""The `register` and `deregister` verbs: publish events, and print each one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict

from worker.console.printer import Printer, complain
from worker.console.text import plain, to_json
from worker.errors import ExitCode
from worker.operate.publish import EventPublisher, Published, Unread, open_publisher
from worker.operate.sources import check_allowed, find_sources
from worker.settings.settings import Settings
from worker.wiring import open_store


def run_register(
    settings: Settings,
    arguments: Sequence[str],
    *,
    photo_id: str | None,
    labels: dict[str, str],
    version: int | None,
    as_json: bool,
) -> ExitCode:
    """Register every original that the arguments name; return 7 if an original could not be read.

    Raises:
        UsageFault, ConfigurationError: see `find_sources` and `check_allowed`.
        InvalidEvent, StorageUnavailable, PublishFailed: see `EventPublisher.register`.
    """
    sources = find_sources(arguments, photo_id)
    for bucket in sorted({source.bucket for source in sources if source.bucket}):
        check_allowed(bucket, settings.originals_buckets)
    uploads = next(iter(settings.originals_buckets), None)
    return _publish(
        settings,
        lambda events: events.register(sources, bucket=uploads, labels=labels, version=version),
        as_json=as_json,
    )


def run_deregister(
    settings: Settings, photo_ids: Sequence[str], *, version: int | None, as_json: bool
) -> ExitCode:
    """Deregister photos.

    Raises:
        InvalidEvent, PublishFailed: see `EventPublisher.deregister`.
    """
    return _publish(settings, lambda events: events.deregister(photo_ids, version), as_json=as_json)


def _publish(
    settings: Settings,
    send: Callable[[EventPublisher], Iterable[Published | Unread]],
    *,
    as_json: bool,
) -> ExitCode:
    """Print the published events, even if an error ends it; standard error shows the failures."""
    sent, code, printer = [], ExitCode.OK, Printer()
    with ExitStack() as stack:
        store = open_store(settings)
        stack.callback(store.close)
        publisher = open_publisher(settings, stack, check_topic=False)
        try:
            for each in send(EventPublisher(store, publisher, settings.topic or "")):
                if isinstance(each, Unread):
                    code = ExitCode.SOME_FAILED
                    complain(f"{plain(str(each.file))} {each.message}")
                    continue
                sent.append(asdict(each))
                if not as_json:
                    printer(f"{each.photo_id}  version {each.version}  message {each.message_id}")
        finally:
            if as_json:
                printer(to_json(sent))
    return code
