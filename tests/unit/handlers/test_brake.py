"""The brake: when it comes on, what it lets pass, its trials, and when it gives up."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.stubs import Ticks
from worker.errors import BrakeHeld, CorruptOriginal, ExitCode, ForbiddenSource, Permanent
from worker.handlers.brake import TRIAL_DELIVERIES, Brake, BrakeAction
from worker.photo.outcome import Effect

FAILED = CorruptOriginal("half a picture")
SOUND = [
    Effect.REGISTERED,
    Effect.DEREGISTERED,
    Effect.ALREADY_CURRENT,
    Effect.SUPERSEDED,
]


class Bench:
    """A brake of ten photos and 300 seconds, and its clock."""

    def __init__(self, share: float = 0.9, events: int = 10, seconds: float = 300) -> None:
        self.clock = Ticks()
        self.brake = Brake(share=share, events=events, seconds=seconds, clock=self.clock)

    def fail(self, count: int, stem: str = "bad", error: Permanent = FAILED) -> list[bool]:
        return [self.brake.record_failure(f"{stem}-{number}", error) for number in range(count)]

    def sound(self, count: int, effect: Effect = Effect.REGISTERED, stem: str = "good") -> None:
        for number in range(count):
            self.brake.acked(f"{stem}-{number}", effect)

    def come_on(self) -> None:
        self.fail(10)
        assert self.brake.next_action() is BrakeAction.STOP

    def begin_trial(self) -> None:
        self.clock.now += self.brake.next_trial_seconds
        assert self.brake.next_action() is BrakeAction.TRY


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_it_comes_on_with_the_failure_that_makes_the_share_and_refuses_it(bench: Bench) -> None:
    assert bench.fail(9) == [True] * 8 + [False]
    assert bench.brake.on
    assert bench.fail(50, "later") == [False] * 50
    assert not bench.brake.admit()


@pytest.mark.parametrize(
    ("share", "events", "let_pass"), [(0.9, 50, 44), (0.55, 100, 54), (1, 10, 9), (0.01, 10, 0)]
)
def test_of_a_backlog_that_fails_so_many_are_let_pass(
    share: float, events: int, let_pass: int
) -> None:
    assert sum(Bench(share, events).fail(200)) == let_pass


def test_a_share_of_zero_never_comes_on() -> None:
    for brake in (Bench(0).brake, Brake.disengaged()):
        assert all(brake.record_failure(str(number), FAILED) for number in range(200))
        assert not brake.on
        assert brake.admit()
        assert brake.next_action() is None


@pytest.mark.parametrize("effect", SOUND)
def test_two_sound_photos_among_ten_keep_it_off(bench: Bench, effect: Effect) -> None:
    for number in range(20):
        bench.sound(2, effect, stem=f"good-{number}")
        assert bench.fail(8, stem=f"bad-{number}") == [True] * 8


def test_what_is_ignored_or_rejected_is_nothing_sound(bench: Bench) -> None:
    bench.fail(8)
    bench.sound(10, Effect.IGNORED)
    bench.sound(10, Effect.REJECTED, stem="rejected")
    assert bench.fail(1, "last") == [False]


@given(st.randoms(use_true_random=False), st.floats(0, 0.44), st.integers(20, 60))
def test_a_poisoned_minority_never_brings_it_on(
    chance: random.Random, poisoned: float, events: int
) -> None:
    """In whatever order: at worst all that is bad in one stretch meets all of the next."""
    bench = Bench(events=events)
    bad = int(poisoned * events)
    for stretch in range(5):
        ends = [True] * bad + [False] * (events - bad)
        chance.shuffle(ends)
        for number, fails in enumerate(ends):
            photo = f"{stretch}-{number}"
            if fails:
                assert bench.brake.record_failure(photo, FAILED)
            else:
                bench.brake.acked(photo, Effect.REGISTERED)


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans())), st.integers(1, 20))
def test_it_is_on_just_when_the_last_photos_failed_so_often(
    ends: list[tuple[int, bool]], events: int
) -> None:
    """Against the definition, computed from the whole history."""
    bench = Bench(share=0.5, events=events)
    history: list[tuple[str, bool]] = []
    for photo, fails in ends:
        history = [end for end in history if end[0] != str(photo)] + [(str(photo), fails)]
        if fails:
            too_many = sum(failed for _, failed in history[-events:]) >= 0.5 * events
            assert bench.brake.record_failure(str(photo), FAILED) is not too_many
            assert bench.brake.on is too_many
            if too_many:
                return
        else:
            bench.brake.acked(str(photo), Effect.REGISTERED)
            assert not bench.brake.on


def test_it_says_what_failed_how_often_and_mostly_why(bench: Bench) -> None:
    bench.sound(1)
    bench.fail(3, "foreign", ForbiddenSource("gs://elsewhere is not allowed"))
    bench.fail(2, "earlier", CorruptOriginal("an earlier one"))
    bench.fail(4)
    cause = bench.brake.cause
    assert cause is not None
    assert (cause.failed, cause.of, cause.reason_count) == (9, 10, 6)
    assert str(cause) == (
        "9 of the last 10 photos failed permanently, 6 of them as corrupt_original (half a picture)"
    )


@pytest.fixture
def often() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("often")
def test_threads_that_fail_together_are_let_pass_no_more_than_one_that_fails_alone() -> None:
    for _ in range(20):
        bench = Bench(events=50)
        let_pass: list[bool] = []
        start = threading.Barrier(8)

        def fail(name: str, *, bench: Bench = bench, start: threading.Barrier = start) -> None:
            start.wait()
            let_pass.extend(bench.fail(50, name))  # noqa: B023 (joined below)

        threads = [threading.Thread(target=fail, args=(f"t{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(let_pass) == 44


def test_a_trial_hands_out_a_few_deliveries(bench: Bench) -> None:
    bench.come_on()
    bench.begin_trial()
    assert [bench.brake.admit() for _ in range(5)] == [True] * TRIAL_DELIVERIES + [False] * 2
    assert bench.brake.on, "not ready, and nothing is put on record"


def test_a_trial_that_succeeds_takes_it_off_with_a_clean_slate(bench: Bench) -> None:
    bench.come_on()
    bench.begin_trial()
    bench.sound(TRIAL_DELIVERIES - 1)
    assert bench.brake.on
    bench.sound(1)
    assert not bench.brake.on
    assert bench.brake.admit()
    assert bench.brake.next_action() is BrakeAction.GO
    assert bench.brake.next_action() is None
    # What the trial was not told of is forgotten: it takes nine failures again.
    assert bench.fail(9, "again") == [True] * 8 + [False]


@pytest.mark.parametrize("before", range(TRIAL_DELIVERIES))
@pytest.mark.parametrize("failure", ["permanent", "given back"])
def test_one_failure_ends_a_trial(bench: Bench, before: int, failure: str) -> None:
    bench.come_on()
    bench.begin_trial()
    bench.sound(before)
    if failure == "permanent":
        assert not bench.brake.record_failure("bad", FAILED)
    bench.brake.record_nack()
    bench.sound(5, stem="late")
    assert bench.brake.on
    assert not bench.brake.admit()
    assert bench.brake.next_action() is BrakeAction.REST
    assert bench.brake.next_action() is None


@pytest.mark.parametrize(
    "effect", [Effect.IGNORED, Effect.REJECTED, Effect.ALREADY_CURRENT, Effect.SUPERSEDED]
)
def test_a_trial_that_has_shown_nothing_leaves_it_on(bench: Bench, effect: Effect) -> None:
    bench.come_on()
    bench.begin_trial()
    bench.sound(TRIAL_DELIVERIES, effect)
    assert bench.brake.on
    assert bench.brake.next_action() is BrakeAction.REST


def test_trials_are_few_and_come_more_and_more_rarely(bench: Bench) -> None:
    bench.come_on()
    began, trials = bench.clock.now, []
    for _ in range(3000):
        bench.clock.now += 0.1
        try:
            move = bench.brake.next_action()
        except BrakeHeld:
            break
        if move is BrakeAction.TRY:
            trials.append(round(bench.clock.now - began))
            bench.brake.record_failure("bad", FAILED)
    assert trials == [10, 30, 70, 130, 190, 250]
    assert bench.clock.now - began == pytest.approx(300, abs=0.2)


def test_it_gives_up_with_8_and_says_why(bench: Bench) -> None:
    bench.come_on()
    bench.clock.now += 299.9
    assert bench.brake.next_action() is BrakeAction.TRY
    bench.clock.now += 0.2
    with pytest.raises(
        BrakeHeld, match=r"300 s .* 9 of the last 9 photos .*subscription"
    ) as caught:
        bench.brake.next_action()
    assert caught.value.exit_code is ExitCode.BRAKE


def test_without_any_time_it_stops_and_then_gives_up() -> None:
    bench = Bench(seconds=0)
    bench.come_on()
    with pytest.raises(BrakeHeld):
        bench.brake.next_action()


def test_a_trial_that_runs_out_of_messages_counts_by_what_came(bench: Bench) -> None:
    bench.come_on()
    bench.begin_trial()
    bench.sound(1)
    bench.clock.now += 299
    assert bench.brake.next_action() is BrakeAction.GO
    assert not bench.brake.on
    assert bench.brake.next_action() is None


def test_it_may_come_on_again_before_anybody_has_looked(bench: Bench) -> None:
    bench.come_on()
    bench.begin_trial()
    bench.sound(TRIAL_DELIVERIES)
    bench.fail(9, "again")
    assert bench.brake.next_action() is BrakeAction.STOP
    assert bench.brake.next_trial_seconds == 10
