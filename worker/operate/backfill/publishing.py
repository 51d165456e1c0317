"""This module publishes an event for each original whose photo is missing or stale, in one pass.

The run saves its position after Pub/Sub has confirmed all events before it. After a kill, the next
run continues from there; it publishes at most one batch twice, which is harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from pydantic import ValidationError

from worker.console.stop import Stop
from worker.errors import PublishFailed, Transient
from worker.operate.backfill.comparison import Compared, Standing
from worker.operate.backfill.inventory import Left
from worker.operate.backfill.pages import Looked
from worker.operate.backfill.report import BackfillReport
from worker.operate.publish import PacedPublisher, message_of, upload
from worker.photo.events import explain
from worker.photo.ports import ObjectStore, OutgoingMessage

UPLOADS: Final = 8

PUBLISH_PAUSES_SECONDS: Final = (1.0, 5.0, 20.0, 60.0)
"""The pauses before each retry of a batch, so that a short outage does not end hours of work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillOptions:
    """The options of a backfill.

    `limit` is events of this run, `max_events` events of all its parts, `rate` events a second.
    """

    wanted: frozenset[Standing]
    limit: int | None
    max_events: int
    rate: float | None
    dry_run: bool


@dataclass(slots=True, kw_only=True)
class Backfill:
    """Publishes the events for pages of originals; used once, by one thread.

    It calls `published` with each batch (also in a dry run), and `keep` with the last finished
    name; a later run starts after that name.
    """

    store: ObjectStore
    publish: PacedPublisher
    options: BackfillOptions
    report: BackfillReport
    published: Callable[[Sequence[Compared]], object]
    keep: Callable[[str], object]
    tell: Callable[[str], object]
    stop: Stop
    _begun: list[Looked] = field(default_factory=list, init=False)
    _wanted: list[Compared] = field(default_factory=list, init=False)
    _sent: int = field(default=0, init=False)

    def __call__(
        self, pages: Iterable[list[Looked]], show: Callable[[dict[str, object]], object]
    ) -> None:
        """Go through all pages; the report is correct even if this raises.

        Raises:
            Transient: see `Comparer.pages`; PublishFailed: a batch was not confirmed.
            SubscriptionUnavailable: the topic is gone.
        """
        for page in pages:
            for looked in page:
                if not self._take(looked):
                    return
                if len(self._begun) == 1:
                    # Show the counts after each batch, because at a small rate a page takes long.
                    show(self.report.counts())
            self._flush()
            show(self.report.counts())
            if self.stop.asked:
                self.report.stopped_by = "signal"
                return
        self.report.complete = True

    def _take(self, looked: Looked) -> bool:
        """Take one original; return True if the run goes on after it."""
        compared = looked.compared
        if compared is not None and compared.standing in self.options.wanted:
            if len(self._wanted) >= self.publish.batch_size:
                self._flush()
            reached = "signal" if self.stop.asked else self._reached()
            if reached is not None:
                self._flush()
                self.report.stopped_by = reached
                return False
            self._wanted.append(compared)
        self._begun.append(looked)
        return True

    def _reached(self) -> str | None:
        """Return the limit that the next event would exceed, if any."""
        limit, waiting = self.options.limit, len(self._wanted)
        if limit is not None and self._sent + waiting >= limit:
            return "limit"
        if self.report.published + waiting >= self.options.max_events and not self.options.dry_run:
            return "max_events"
        return None

    def _flush(self) -> None:
        """Publish the gathered events; then count them, and save the position."""
        begun, wanted = self._begun, self._wanted
        if not begun:
            return
        self._begun, self._wanted = [], []
        settled = wanted if self.options.dry_run else self._upload(wanted)
        if not self.options.dry_run:
            settled, messages = self._messages(settled)
            if messages:
                self._publish(messages)
        if settled:
            self.published(settled)
        self._sent += len(settled)
        self.report.published += len(settled)
        self.report.published_bytes += sum(each.original.size_bytes for each in settled)
        for looked in begun:
            self._count(looked)
        self.keep(begun[-1].item.name)

    def _messages(self, settled: list[Compared]) -> tuple[list[Compared], list[OutgoingMessage]]:
        """Return the originals that can be events, and their messages; count the rest as failures.

        A manifest from elsewhere may hold a version or label that workers refuse.
        """
        sent, messages = [], []
        for each in settled:
            try:
                messages.append(message_of(each.event))
            except ValidationError as error:
                self._fail(each.original.name, f"no worker would accept it: {explain(error)}")
            else:
                sent.append(each)
        return sent, messages

    def _upload(self, wanted: list[Compared]) -> list[Compared]:
        """Upload every file and return the new comparisons; count and drop failed files."""

        def one(compared: Compared) -> Compared | str:
            if compared.file is None:
                return compared
            original = compared.original
            try:
                stored = upload(self.store, original.bucket, original.name, compared.file)
            except Transient as error:
                return f"{type(error).__name__}: {error}"
            except OSError as error:
                return f"cannot be read: {error.strerror or error}"
            return compared.uploaded(stored)

        if all(each.file is None for each in wanted):
            return wanted
        settled = []
        with ThreadPoolExecutor(UPLOADS, thread_name_prefix="upload") as threads:
            for before, after in zip(wanted, threads.map(one, wanted), strict=True):
                if isinstance(after, str):
                    self._fail(before.original.name, after)
                    continue
                settled.append(after)
                if before.file is not None:
                    self._count_upload(before, after)
        return settled

    def _count_upload(self, before: Compared, after: Compared) -> None:
        self.report.uploaded += 1
        self.report.uploaded_bytes += after.original.size_bytes
        if before.original.generation:
            self.report.replaced += 1
            self.tell(
                f"replaced gs://{after.original.bucket}/{after.original.name} "
                f"(generation {before.original.generation})"
            )

    def _publish(self, messages: list[OutgoingMessage]) -> None:
        for pause_seconds in PUBLISH_PAUSES_SECONDS:
            try:
                self.publish(messages)
            except PublishFailed:
                if self.stop.wait(pause_seconds):
                    raise
            else:
                return
        self.publish(messages)

    def _count(self, looked: Looked) -> None:
        item = looked.item
        self.report.names += 1
        if item.left is Left.IMPOSSIBLE:
            self._fail(item.name, item.why)
        elif item.left is Left.NOT_CHOSEN:
            self.report.not_chosen += 1
        elif item.left is Left.IGNORED:
            self.report.ignored += 1
        elif looked.compared is not None:
            self.report.add(looked.compared.standing, item.size_bytes)
        else:
            self._fail(item.name, looked.failure or "")

    def _fail(self, name: str, message: str) -> None:
        self.report.add_failure(name, message)
        self.tell(f"failed {name}: {message}")
