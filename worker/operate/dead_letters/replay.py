"""Replay: dead letters go back to the topic. Publish, wait for the confirmation, and only then ack.

Killed between the two, a message exists twice, which changes nothing; it is never lost.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from worker.operate.dead_letters.canary import Tick, Verdict
from worker.photo.dead_letter import DeadLetter, Filter, counted, replay_attributes
from worker.photo.ports import OutgoingMessage

BATCH = 500
"""Published in one request, and acked in one."""


class Letters(Protocol):
    """Where dead letters come from: a subscription, or an archive."""

    @property
    def arrived(self) -> int:
        """How many came while these were read; they are for the next run."""

    def pages(self) -> Iterator[list[DeadLetter]]:
        """Page after page, each letter once, until there are no more."""

    def ack(self, letters: Iterable[DeadLetter]) -> None:
        """Take these away for good."""


@dataclass(slots=True, kw_only=True)
class ReplayReport:
    """What a replay came to. What was not replayed lies where it lay."""

    dry_run: bool
    seen: int = 0
    matched: int = 0
    replayed: int = 0
    looping: int = 0
    """Meant, but replayed too often already."""

    arrived: int = 0
    """Came while this ran, among them what failed again."""

    canary: list[dict[str, object]] = field(default_factory=list)
    stopped_by_canary: bool = False
    complete: bool = False

    def counts(self) -> dict[str, object]:
        """What is worth showing while it runs."""
        return {"letters": self.seen, "meant": self.matched, "replayed": self.replayed}

    def summary(self) -> str:
        """The same for a terminal."""
        verb = "would replay" if self.dry_run else "replayed"
        count = self.matched if self.dry_run else self.replayed
        lines = []
        for verdict in self.canary:
            ok = "ok" if verdict["ok"] else "FAILED"
            lines.append(f"canary {ok}: {verdict['photo_id']} ({verdict['why']})")
        lines.append(f"{verb} {count:,} of {counted(self.seen)} looked at")
        if self.looping:
            lines.append(f"left {self.looping:,} that were replayed too often (--max-replays)")
        if self.arrived:
            lines.append(f"{self.arrived:,} more arrived meanwhile, for another run")
        if self.stopped_by_canary:
            lines.append("stopped by the canary: the others are where they were")
        elif not self.complete:
            lines.append("NOT COMPLETE: what was not replayed is where it was")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """Replay so many first, and go on only if they come to something.

    `watch` is given them before they are published; what it returns waits for their verdicts.
    """

    count: int
    watch: Callable[[Sequence[DeadLetter]], Callable[[Tick], list[Verdict]]]


@dataclass(slots=True, kw_only=True)
class Replayer:
    """Replays what a filter means; used once, by one thread.

    `publish` returns once all are confirmed. `rate` is messages a second.
    """

    letters: Letters
    publish: Callable[[Sequence[OutgoingMessage]], object]
    meant: Filter
    clock: Callable[[], datetime]
    limit: int | None
    rate: float | None
    max_replays: int
    canary: Canary | None
    sleep: Callable[[float], object] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    _due: float = field(default=-math.inf, init=False)
    """The rate allows the next batch from then on."""

    def __call__(self, report: ReplayReport, show: Callable[[dict[str, object]], object]) -> None:
        """Replay them; the report holds also if this raises.

        Raises:
            PublishFailed: no confirmation; what was not acked is still there.
            SubscriptionUnavailable, PubSubUnavailable: the subscription or topic fails.
            Transient: a canary's manifest cannot be read.
        """
        wanted = self.canary.count if self.canary and not report.dry_run else 0
        canaries: list[DeadLetter] = []
        tried = not wanted
        for page in self._chosen(report):
            others = page
            if not tried:
                # The first ones are held back until they are enough to learn from.
                missing = wanted - len(canaries)
                canaries += page[:missing]
                others = page[missing:]
                tried = len(canaries) == wanted
                if tried and not self._try(canaries, report, show):
                    return
            self._send(others, report, show)
            show(report.counts())
        if not tried and canaries and not self._try(canaries, report, show):
            return
        report.complete = True

    def _chosen(self, report: ReplayReport) -> Iterator[list[DeadLetter]]:
        """What of each page is to be replayed."""
        for page in self.letters.pages():
            report.seen += len(page)
            report.arrived = self.letters.arrived
            now = self.clock()
            meant = [letter for letter in page if self.meant.matches(letter, now)]
            chosen = [letter for letter in meant if letter.replays < self.max_replays]
            report.looping += len(meant) - len(chosen)
            if self.limit is not None:
                chosen = chosen[: self.limit - report.matched]
            report.matched += len(chosen)
            yield chosen
            if self.limit is not None and report.matched >= self.limit:
                return
        report.arrived = self.letters.arrived

    def _try(
        self,
        canaries: list[DeadLetter],
        report: ReplayReport,
        show: Callable[[dict[str, object]], object],
    ) -> bool:
        """Replay the canaries, and see whether the others may follow."""
        if self.canary is None:
            return True
        wait = self.canary.watch(canaries)
        self._send(canaries, report, show)
        verdicts = wait(lambda left: show(report.counts() | {"canaries waited for": left}))
        report.canary = [verdict.as_dict() for verdict in verdicts]
        report.stopped_by_canary = not all(verdict.ok for verdict in verdicts)
        return not report.stopped_by_canary

    def _send(
        self,
        chosen: list[DeadLetter],
        report: ReplayReport,
        show: Callable[[dict[str, object]], object],
    ) -> None:
        if report.dry_run:
            return
        size = BATCH if self.rate is None else max(1, min(BATCH, int(self.rate)))
        for start in range(0, len(chosen), size):
            some = chosen[start : start + size]
            # Before a batch instead of behind it: nobody waits for nothing after the last.
            if (wait := self._due - self.monotonic()) > 0:
                self.sleep(wait)
            if self.rate is not None:
                self._due = self.monotonic() + len(some) / self.rate
            self.publish([_outgoing(letter) for letter in some])
            self.letters.ack(some)
            report.replayed += len(some)
            show(report.counts())


def _outgoing(letter: DeadLetter) -> OutgoingMessage:
    return OutgoingMessage(
        data=letter.data,
        attributes=replay_attributes(letter),
        ordering_key=letter.ordering_key,
    )
