"""Replay: the order of publish and ack, what is left alone, canaries, and when it stops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from tests.support.fakes import Clock, raising
from tests.support.letters import BY_WORKER, FakeLetters, event, letter
from worker.errors import PublishFailed
from worker.operate.dead_letters.canary import Tick, Verdict
from worker.operate.dead_letters.replay import Replayer, ReplayReport, Watch
from worker.operate.publish import BATCH, PacedPublisher
from worker.photo.dead_letter import DeadLetter, Filter
from worker.photo.ports import OutgoingMessage


class Killed(BaseException):
    """What SIGKILL is to a process, as far as a test in the same one can tell."""


@dataclass
class Run:
    """One replay over fakes. `journal` has pages, publishes and acks in order."""

    letters: FakeLetters
    meant: Filter = field(default_factory=Filter)
    limit: int | None = None
    rate: float | None = None
    max_replays: int = 3
    canaries: int = 0
    watch: Watch | None = None
    dry_run: bool = False
    before_publish: Callable[[], object] = lambda: None
    published: list[OutgoingMessage] = field(default_factory=list)
    shown: list[dict[str, object]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    seconds: float = 0.0
    publish_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.report = ReplayReport(dry_run=self.dry_run)

    def __call__(self) -> ReplayReport:
        replayer = Replayer(
            letters=self.letters,
            publish=PacedPublisher(
                self._publish, self.rate, wait=self._sleep, monotonic=lambda: self.seconds
            ),
            meant=self.meant,
            clock=Clock(),
            limit=self.limit,
            max_replays=self.max_replays,
            canaries=self.canaries,
            watch=self.watch,
        )
        replayer(self.report, self.shown.append)
        return self.report

    @property
    def journal(self) -> list[str]:
        return self.letters.journal

    @property
    def ids(self) -> list[str]:
        """Which letters were published again, in order."""
        return [each.attributes["replay_of"] for each in self.published]

    def _publish(self, messages: Sequence[OutgoingMessage]) -> None:
        self.before_publish()
        self.seconds += self.publish_seconds
        self.published += messages
        self.journal.append("publish " + " ".join(m.attributes["replay_of"] for m in messages))

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


def letters(*ids: str) -> list[DeadLetter]:
    return [letter(each, event(f"photo-{each}")) for each in ids]


def test_each_is_published_before_it_is_acked() -> None:
    run = Run(FakeLetters(letters("1", "2"), letters("3")))
    report = run()
    assert run.journal == ["page", "publish 1 2", "ack 1 2", "page", "publish 3", "ack 3"]
    assert (report.seen, report.matched, report.replayed) == (3, 3, 3)
    assert report.complete
    assert run.shown[-1] == {"letters": 3, "meant": 3, "replayed": 3}


def test_data_attributes_and_ordering_key_are_kept() -> None:
    original = letter("7", b"\x00 data", BY_WORKER | {"tenant": "blue"}, ordering_key="k")
    run = Run(FakeLetters([original]))
    run()
    assert run.published == [
        OutgoingMessage(
            data=b"\x00 data",
            attributes={"tenant": "blue", "replay_of": "7", "replay_count": "1"},
            ordering_key="k",
        )
    ]


def test_the_letters_of_one_message_are_one_replay() -> None:
    of_one = BY_WORKER | {"dead_letter_message_id": "7"}
    run = Run(FakeLetters([letter("a", attributes=of_one), letter("b", attributes=of_one)]))
    report = run()
    assert run.ids == ["a"]
    assert run.letters.acked == ["a", "b"]
    assert report.replayed == 1


def test_what_is_not_confirmed_is_not_acked() -> None:
    run = Run(FakeLetters(letters("1", "2")), before_publish=raising(PublishFailed("no")))
    with pytest.raises(PublishFailed):
        run()
    assert run.letters.acked == []
    assert (run.report.replayed, run.report.complete) == (0, False)
    assert "NOT COMPLETE" in run.report.summary()


def test_killed_between_publish_and_ack_a_letter_is_there_twice() -> None:
    source = FakeLetters(letters("1", "2"))
    source.before_ack = lambda: (_ for _ in ()).throw(Killed())
    run = Run(source)
    with pytest.raises(Killed):
        run()
    assert run.ids == ["1", "2"]
    assert source.acked == []


def test_large_pages_go_in_batches() -> None:
    run = Run(FakeLetters(letters(*map(str, range(BATCH + 1)))))
    assert run().replayed == BATCH + 1
    verbs = [line.split()[0] for line in run.journal]
    assert verbs == ["page", "publish", "ack", "publish", "ack"]


def test_only_what_is_meant_is_replayed() -> None:
    source = FakeLetters(letters("1", "2"), letters("3"))
    run = Run(source, meant=Filter(photo_id="photo-[23]"))
    report = run()
    assert (report.seen, report.matched, report.replayed) == (3, 2, 2)
    assert source.acked == ["2", "3"]


def test_a_limit_ends_the_run_without_another_pull() -> None:
    run = Run(FakeLetters(letters("1", "2"), letters("3", "4"), letters("5")), limit=3)
    report = run()
    assert run.ids == run.letters.acked == ["1", "2", "3"]
    assert run.journal.count("page") == 2
    assert report.complete


def test_a_rate_is_kept_to_within_and_between_pages() -> None:
    source = FakeLetters(letters(*map(str, range(7))), letters("8"))
    run = Run(source, rate=3.0, publish_seconds=0.25)
    run()
    assert [len(line.split()) - 1 for line in run.journal if "publish" in line] == [3, 3, 1, 1]
    assert run.slept == pytest.approx([0.75, 0.75, 1 / 3 - 0.25])


def test_what_was_replayed_too_often_stays() -> None:
    pages = [
        letter(str(count), attributes=BY_WORKER | {"replay_count": str(count)})
        for count in range(5)
    ]
    run = Run(FakeLetters(pages), max_replays=3)
    report = run()
    assert run.ids == ["0", "1", "2"]
    assert (report.looping, report.matched) == (2, 3)
    assert "left 2 that were replayed too often" in report.summary()


def test_a_dry_run_counts_and_touches_nothing() -> None:
    run = Run(FakeLetters(letters("1", "2"), letters("3")), limit=2, dry_run=True)
    run.canaries, run.watch = 1, lambda _: pytest.fail("nothing to watch")
    report = run()
    assert (run.published, run.letters.acked) == ([], [])
    assert (report.matched, report.replayed) == (2, 0)
    assert report.summary() == "would replay 2 of 2 dead letters looked at"


def test_an_empty_subscription_is_complete() -> None:
    report = Run(FakeLetters())()
    assert report.complete
    assert report.seen == 0


def test_what_arrives_meanwhile_is_told() -> None:
    source = FakeLetters(letters("1"))
    source.arrived = 4
    assert "4 more arrived meanwhile" in Run(source)().summary()


class KnownVerdicts:
    """A canary watch that knows its verdicts beforehand."""

    def __init__(self, journal: list[str], *, ok: bool) -> None:
        self.journal = journal
        self.ok = ok

    def __call__(self, watched: Sequence[DeadLetter]) -> Callable[[Tick], list[Verdict]]:
        self.journal.append("watch " + " ".join(each.message_id for each in watched))

        def wait(tick: Tick) -> list[Verdict]:
            self.journal.append("wait")
            tick(len(watched))
            return [
                Verdict(message_id=each.message_id, photo_id=each.photo_id, ok=self.ok, why="so")
                for each in watched
            ]

        return wait


def with_canary(
    *pages: list[DeadLetter], count: int, ok: bool = True, limit: int | None = None
) -> Run:
    source = FakeLetters(*pages)
    watch = KnownVerdicts(source.journal, ok=ok)
    return Run(source, canaries=count, watch=watch, limit=limit)


def test_canaries_that_come_to_something_let_the_others_follow() -> None:
    run = with_canary(letters("1", "2", "3"), letters("4"), count=2)
    report = run()
    assert run.journal == [
        *("page", "watch 1 2", "publish 1 2", "ack 1 2", "wait"),
        *("publish 3", "ack 3", "page", "publish 4", "ack 4"),
    ]
    assert (report.complete, report.stopped_by_canary, len(report.canary)) == (True, False, 2)
    assert run.shown[1] == {"letters": 3, "meant": 3, "replayed": 2, "canaries waited for": 2}


def test_canaries_that_fail_stop_it() -> None:
    run = with_canary(letters("1", "2", "3"), letters("4"), count=2, ok=False)
    report = run()
    assert run.letters.acked == run.ids == ["1", "2"]
    assert (report.complete, report.stopped_by_canary) == (False, True)
    assert report.canary[0] == {"message_id": "1", "photo_id": "photo-1", "ok": False, "why": "so"}
    assert "canary FAILED: photo-1 (so)" in report.summary()
    assert "the others are where they were" in report.summary()


def test_canaries_are_gathered_over_pages() -> None:
    run = with_canary(letters("1"), letters("2"), letters("3", "4"), count=3)
    run()
    assert run.journal == [
        *("page", "page", "page", "watch 1 2 3", "publish 1 2 3", "ack 1 2 3", "wait"),
        *("publish 4", "ack 4"),
    ]


@pytest.mark.parametrize("ok", [True, False])
def test_fewer_letters_than_canaries_are_all_canaries(*, ok: bool) -> None:
    run = with_canary(letters("1"), letters("2"), count=5, ok=ok)
    report = run()
    assert run.ids == run.letters.acked == ["1", "2"]
    assert report.complete is ok
    assert report.stopped_by_canary is not ok


def test_a_limit_below_the_canaries() -> None:
    run = with_canary(letters("1", "2", "3"), count=3, limit=2)
    report = run()
    assert run.ids == ["1", "2"]
    assert (len(report.canary), report.complete) == (2, True)


def test_no_letters_no_canaries() -> None:
    run = with_canary(count=3)
    assert run().complete
    assert run.journal == []
