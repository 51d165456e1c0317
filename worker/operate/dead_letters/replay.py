"""A replay sends dead letters back to the topic: publish, wait for the confirmation, and then ack.

If the process is killed in between, a message exists twice, which is harmless; none is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Protocol

from worker.operate.dead_letters.canary import Tick, Verdict
from worker.operate.publish import PacedPublisher
from worker.photo.dead_letter import DeadLetter, Filter, Firsts, counted, replay_attributes
from worker.photo.ports import OutgoingMessage

Show = Callable[[dict[str, object]], object]
Watch = Callable[[Sequence[DeadLetter]], Callable[[Tick], list[Verdict]]]


class Letters(Protocol):
    """A source of dead letters: a subscription or an archive."""

    @property
    def arrived(self) -> int:
        """Return how many letters came during the reading; they are for the next run."""

    def pages(self) -> Iterator[list[DeadLetter]]:
        """Yield page after page, each letter once."""

    def ack(self, letters: Iterable[DeadLetter]) -> None:
        """Delete these letters."""


@dataclass(slots=True, kw_only=True)
class ReplayReport:
    """The result of a replay. Letters that were not replayed stay in the subscription."""

    dry_run: bool
    seen: int = 0
    matched: int = 0
    replayed: int = 0
    looping: int = 0
    """Letters that the filter chose, but that were left because they were replayed too often."""

    arrived: int = 0
    """Letters that came during the replay, such as those that failed again."""

    canary: list[dict[str, object]] = field(default_factory=list)
    stopped_by_canary: bool = False
    complete: bool = False

    def counts(self) -> dict[str, object]:
        """Return the counts for the progress line."""
        return {"letters": self.seen, "meant": self.matched, "replayed": self.replayed}

    def summary(self) -> str:
        """Return the report for a terminal."""
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


@dataclass(slots=True, kw_only=True)
class Replayer:
    """Replays the letters that a filter chooses; used once, by one thread.

    With `watch`, it replays `canaries` letters first, and continues only if they succeed. It calls
    `watch` before it publishes them, and then the function that `watch` returned, which waits.
    """

    letters: Letters
    publish: PacedPublisher
    meant: Filter
    clock: Callable[[], datetime]
    limit: int | None
    max_replays: int
    canaries: int
    watch: Watch | None
    _is_first: Firsts = field(default_factory=Firsts)

    def __call__(self, report: ReplayReport, show: Show) -> None:
        """Replay the letters; the report is correct even if this raises.

        Raises:
            PublishFailed: no confirmation came; letters that were not acked are still there.
            SubscriptionUnavailable, PubSubUnavailable: the subscription or topic fails.
            Transient: a canary's manifest cannot be read.
        """
        wanted = self.canaries if self.watch and not report.dry_run else 0
        canaries: list[DeadLetter] = []
        tried = not wanted
        for page in self._chosen(report):
            others = page
            if not tried:
                # Hold the first letters until there are enough canaries.
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
        """Yield the letters of each page that the filter chooses."""
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
        show: Show,
    ) -> bool:
        """Replay the canaries; return True if the other letters may follow."""
        if self.watch is None:
            return True
        wait = self.watch(canaries)
        self._send(canaries, report, show)
        verdicts = wait(lambda left: show(report.counts() | {"canaries waited for": left}))
        report.canary = [asdict(verdict) for verdict in verdicts]
        report.stopped_by_canary = not all(verdict.ok for verdict in verdicts)
        return not report.stopped_by_canary

    def _send(self, chosen: list[DeadLetter], report: ReplayReport, show: Show) -> None:
        if report.dry_run:
            return
        size = self.publish.batch_size
        for start in range(0, len(chosen), size):
            some = chosen[start : start + size]
            # What one message has left behind is replayed once.
            first = [letter for letter in some if self._is_first(letter)]
            if first:
                self.publish([_outgoing(letter) for letter in first])
            self.letters.ack(some)
            report.replayed += len(first)
            show(report.counts())


def _outgoing(letter: DeadLetter) -> OutgoingMessage:
    return OutgoingMessage(
        data=letter.data,
        attributes=replay_attributes(letter),
        ordering_key=letter.ordering_key,
    )
