"""`photo-worker run` under SIGKILL: every message is handled, and every promise holds.

One seed by default. `make soak` goes from seed to seed for SOAK_SECONDS, beginning with SOAK_SEED;
SOAK_EVENTS is the number of events for each of them.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1.types import DeadLetterPolicy, Subscription

from tests.e2e.account import Account, Reader
from tests.e2e.havoc import IN_FLIGHT, Crew
from tests.e2e.script import write_script
from tests.e2e.stage import Stage, set_up
from tests.support.waiting import eventually
from worker.lab.emulator.server import EmbeddedBroker, Faults

SEED = int(os.environ.get("SOAK_SEED", "1"))
SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "0"))
EVENTS = int(os.environ.get("SOAK_EVENTS", "210"))
PHOTOS = 40
BURSTS = 6

MAX_ATTEMPTS = 10
"""Of the stage's subscription: what is delivered more often becomes a dead letter."""

QUIET_SECONDS = 20.0
"""A lease on an emulator, and a little more: who was waiting for one to expire has been heard."""


@pytest.mark.timeout(300 + 2 * SOAK_SECONDS)
def test_killed_workers_lose_no_message_and_break_no_promise(
    storage_url: str, tmp_path: Path
) -> None:
    blows = {"kill": 9, "drain": 3, "killed drain": 2, "child": 4, "sweep": 2, "killed sweep": 1}
    scale = -(-EVENTS // 210)
    blows = {blow: count * scale for blow, count in blows.items()}
    give_up = time.monotonic() + SOAK_SECONDS
    seed = SEED
    while True:
        faults = Faults(seed=seed, duplicate=0.2, reorder=True, reset_stream_after=60)
        with (
            EmbeddedBroker(faults=faults) as broker,
            set_up(broker.address, storage_url, tmp_path) as stage,
        ):
            havoc = Havoc(stage, seed, blows, lull_seconds=(0.3, 2.5))
            havoc.wreak(lambda: _is_empty(broker, stage.subscription))
        seed += 1
        if time.monotonic() > give_up:
            break


@pytest.mark.skipif(not SOAK_SECONDS, reason="a minute of waiting for leases: make soak")
@pytest.mark.timeout(300)
def test_killed_workers_lose_no_message_on_googles_emulator(google_stage: Stage) -> None:
    """With few kills: each leaves a stream behind, to which the emulator goes on giving messages.

    What goes there is lost to the living for a lease, and has used up an attempt, again and again.
    Production has no such streams, so here their number of attempts must not decide.
    """
    _allow_attempts(google_stage, 100)
    blows = {"kill": 2, "drain": 2, "child": 2, "sweep": 1}
    havoc = Havoc(
        google_stage, SEED, blows, lull_seconds=(1.0, 6.0), max_attempts=100, reinforcement=3
    )
    havoc.wreak(havoc.is_accounted_for)


def _allow_attempts(stage: Stage, attempts: int) -> None:
    stage.subscriber.update_subscription(
        subscription=Subscription(
            name=stage.subscription,
            topic=stage.topic,
            dead_letter_policy=DeadLetterPolicy(
                dead_letter_topic=stage.dead_letter_topic, max_delivery_attempts=attempts
            ),
        ),
        update_mask=FieldMask(paths=["dead_letter_policy"]),
    )


def _is_empty(broker: EmbeddedBroker, subscription: str) -> bool:
    """Whether a subscription is empty: its backlog, and what is leased."""
    with broker._shared.locked() as state:
        return not state._find(subscription)._entries


class Havoc:
    """One run: events in bursts, blows in between, and the account afterwards."""

    def __init__(
        self,
        stage: Stage,
        seed: int,
        blows: dict[str, int],
        *,
        lull_seconds: tuple[float, float],
        max_attempts: int = MAX_ATTEMPTS,
        reinforcement: int = 0,
    ) -> None:
        self._stage = stage
        self._max_attempts = max_attempts
        self._reinforcement = reinforcement
        self._seed = seed
        rng = random.Random(seed)  # noqa: S311 (a failing seed must fail again)
        self._blows = list(Counter(blows).elements())
        rng.shuffle(self._blows)
        self._script = write_script(seed, events=EVENTS, bursts=BURSTS)
        assert len(self._script.photo_ids) == PHOTOS
        self._account = Account(stage, self._script)
        self._started = time.monotonic()
        self._crew = Crew(stage, rng, lull_seconds=lull_seconds)
        self._heard = (0, self._started)
        _say(f"seed {seed}")

    def wreak(self, is_drained: Callable[[], bool]) -> None:
        """Publish, strike, wait until `is_drained`, and see that everything is as promised."""
        account, crew = self._account, self._crew
        with Reader(self._stage, self._script, self._seed) as reader:
            for n, burst in enumerate(self._script.bursts):
                account.publish(burst)
                for blow in self._blows[n::BURSTS]:
                    crew.wait_for_a_random_moment()
                    crew.strike(blow)
                    reader.assert_all_true()
            _say(f"{time.monotonic() - self._started:.1f} s: all blows have fallen")
            crew.reinforce(self._reinforcement)
            self._wait_until_all_end_well()
            _say(f"{time.monotonic() - self._started:.1f} s: all photos have ended well")
            eventually(is_drained, "every message is accounted for", seconds=90)
            _say(f"{time.monotonic() - self._started:.1f} s: every message is accounted for")
            crew.go_home()
        reader.assert_all_true()
        account.assert_manifests_are_right()
        letters = account.assert_dead_letters_are_right()
        account.assert_outcomes_were_told()
        crew.assert_no_surprises()
        handled = crew.handled()
        # A worker that is killed right after an ack has not logged it.
        assert len(account.unlogged(handled)) <= crew.killed * IN_FLIGHT
        attempts = account.attempts(handled)
        assert max(attempts.values()) < self._max_attempts, attempts
        orphans = _assert_only_what_is_named_remains(self._stage, self._script.photo_ids)
        self._tell(attempts, letters=letters, orphans=orphans, photos_read=reader.photos)

    def _wait_until_all_end_well(self) -> None:
        try:
            eventually(lambda: not self._account.unfinished(), "all photos end well", seconds=120)
        except AssertionError as error:
            raise AssertionError(f"not as they should be: {self._account.unfinished()}") from error

    def is_accounted_for(self) -> bool:
        """Whether all messages were acked, as far as logs tell, or the workers are quiet."""
        if (count := self._crew.count()) != self._heard[0]:
            self._heard = (count, time.monotonic())
        is_quiet = time.monotonic() - self._heard[1] > QUIET_SECONDS
        return is_quiet or not self._account.unlogged(self._crew.handled())

    def _tell(self, attempts: dict[str, int], **figures: int) -> None:
        handled = self._crew.handled()
        figures |= {
            "events": len(self._account.messages),
            "killed in mid-photo": self._crew.caught,
            "redeliveries": sum(attempts.values()) - len(attempts),
            "max attempts": max(attempts.values()),
            "unlogged": len(self._account.unlogged(handled)),
            **self._crew.blows,
            **Counter(line["outcome"] for line in handled),
            **Counter(line["error"] for line in handled if "error" in line),
        }
        told = ", ".join(f"{count} {name}" for name, count in figures.items())
        _say(f"{time.monotonic() - self._started:.1f} s: {told}")


def _assert_only_what_is_named_remains(stage: Stage, photo_ids: list[str]) -> int:
    """Verify, then sweep twice; how many orphans the first sweep has found."""
    assert stage.verb("verify")["faults_total"] == 0
    swept = stage.verb("sweep", "--older-than", "0s")
    again = stage.verb("sweep", "--older-than", "0s")
    assert swept["faults_total"] == again["faults_total"] == 0
    assert swept["foreign"] == again["foreign"] == 0
    assert again["orphans_total"] == again["spared_total"] == 0
    stage.assert_nothing_stray(*photo_ids)
    for photo_id in photo_ids:
        manifest = stage.manifest(photo_id)
        assert manifest is not None
        stage.assert_ready_is_true(manifest)
    return int(swept["orphans_total"])


def _say(text: str) -> None:
    """For `make soak`, and for the report of a failure."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
