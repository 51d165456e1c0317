"""Dispatch: hand each delivery to its handler, then ack or nack it. Only this module acks.

An ack is sent after the effect, the outcome and, for a permanent failure, the dead letter are
confirmed. After an unknown exception the message is nacked, so a bug can delay a message but not
lose it. Dispatch asks the brake before it records a failure.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from dataclasses import dataclass, field

from worker.errors import Braked, Draining, Fatal, Permanent, RenderFailed, Transient
from worker.handlers.brake import Brake
from worker.handlers.deregister import DeregisterHandler
from worker.handlers.register import RegisterHandler
from worker.handlers.reject import Rejector
from worker.handlers.steps import Steps
from worker.photo.attributes import folded, shortened
from worker.photo.dead_letter import REPLAY_OF
from worker.photo.delivery import Delivery
from worker.photo.events import Buckets, Deregister, Event, Ignored, Register, parse
from worker.photo.outcome import Effect, Outcome, outcome_event
from worker.photo.ports import Publisher
from worker.telemetry.counters import Counters
from worker.telemetry.logs import Log
from worker.telemetry.metrics import IGNORED, INVALID, NACKED
from worker.telemetry.spans import UNTRACED, Tracer

RENDER_ATTEMPTS = 3
"""If a render crashes, hangs or runs out of memory, the message is nacked until this attempt; then
the picture is blamed. By then, another process that used too much memory has ended."""

NACK_PAUSE_SECONDS = 1.0
"""Pause before a nack, unless the worker drains. On a subscription without a backoff, a full disk
or a missing topic would otherwise use up all delivery attempts within seconds."""

BRAKED_PAUSE_SECONDS = 10.0
"""Pause before a nack while the brake is on and the stream is not closed yet. Without it Pub/Sub
redelivers the message on the same stream, and the message loses another attempt."""


_LETTER_TEXT_BYTES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """Full names of the topics that the worker publishes to; `None` for a topic that is not set."""

    outcome: str | None
    dead_letter: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a delivery ends: acked with an `effect`, or nacked because of an `error`."""

    effect: Effect | None = None
    error: Exception | None = None
    pause_seconds: float = 0.0
    """How long the worker waits before the nack."""

    level: int = logging.INFO
    traceback: bool = False

    @property
    def outcome(self) -> str:
        """The ending's name in logs, metrics and spans."""
        return NACKED if self.effect is None else self.effect.value

    def fields(self) -> dict[str, object]:
        """Return the log line's fields about the error; empty without an error."""
        if self.error is None:
            return {}
        fields: dict[str, object] = {"error": type(self.error).__name__, "detail": str(self.error)}
        return fields | {"exc_info": self.error} if self.traceback else fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatcher:
    """Handles deliveries, each in the thread that brings it; thread-safe.

    `wait_before_nack` waits for that many seconds, and returns early once the worker drains. The
    daemon reads `fatal_errors`; an error in this queue ends the worker.
    """

    buckets: Buckets
    register: RegisterHandler
    deregister: DeregisterHandler
    reject: Rejector
    publisher: Publisher
    topics: Topics
    fatal_errors: queue.SimpleQueue[Fatal]
    wait_before_nack: Callable[[float], object]
    worker_name: str
    log: Log
    brake: Brake = field(default_factory=Brake.disengaged)
    counters: Counters = field(default_factory=Counters)
    tracer: Tracer = UNTRACED

    def __call__(self, delivery: Delivery) -> None:
        """Handle one delivery and ack or nack it; only sending that answer may raise."""
        with self.tracer.receive(delivery) as spans:
            self.counters.delivered(delivery.attempt)
            steps = Steps(spans=spans)
            ending = self._handle(delivery, steps)
            answered = self._answer(delivery, steps, ending)
            self._report(delivery, steps, ending, answered=answered)

    def _handle(self, delivery: Delivery, steps: Steps) -> Ending:
        """Handle the event; turn an exception into an ending with a nack."""
        try:
            with steps.time("total"):
                outcome = self._carry_out(delivery, steps)
        except Transient as error:
            return Ending(error=error, pause_seconds=_pause_seconds(error), level=logging.WARNING)
        except Fatal as error:
            return Ending(error=error, level=logging.ERROR)
        except Exception as error:  # noqa: BLE001 (a bug may delay a message, never lose it)
            return Ending(
                error=error, pause_seconds=NACK_PAUSE_SECONDS, level=logging.ERROR, traceback=True
            )
        return Ending(effect=outcome.effect)

    def _carry_out(self, delivery: Delivery, steps: Steps) -> Outcome:
        """Do all work that must be durable before the ack; also record a permanent failure."""
        if not self.brake.admit():
            raise Braked("not begun: the brake is on")
        event: Event | None = None
        try:
            event = parse(delivery.data, delivery.attributes, self.buckets)
            steps.kind = IGNORED if isinstance(event, Ignored) else event.type
            steps.facts |= _about(event)
            outcome = self._call_handler(event, delivery, steps)
        except Permanent as error:
            if event is None:
                steps.kind = INVALID
            self._ask_brake(error, delivery, steps)
            outcome = self._refuse(event, error, delivery, steps)
        if outcome.manifest is not None and self.topics.outcome is not None:
            rejected = outcome.effect is Effect.REJECTED
            data, attributes = outcome_event(outcome.manifest, rejected=rejected)
            with steps.time("outcome"):
                self.publisher.publish(self.topics.outcome, data, attributes)
        return outcome

    def _call_handler(self, event: Event, delivery: Delivery, steps: Steps) -> Outcome:
        if isinstance(event, Ignored):
            return Outcome(effect=Effect.IGNORED)
        if isinstance(event, Deregister):
            return self.deregister(event, steps)
        # A replay is tried anew each time.
        known_by = None if REPLAY_OF in delivery.attributes else delivery.message_id
        try:
            return self.register(event, steps, known_by)
        except RenderFailed as error:
            if error.on_record:
                raise
            if delivery.attempt is not None and delivery.attempt < RENDER_ATTEMPTS:
                raise Transient(f"{error.reason}: {error}") from error
            self.log.warning(
                "render failed on its last attempt, trying once more",
                message_id=delivery.message_id,
                reason=error.reason.value,
            )
        # Pub/Sub also counts attempts that ended in a drain or with a lost machine, so this may be
        # the photo's first crash. It is rendered once more before it is dead-lettered.
        return self.register(event, steps, known_by)

    def _ask_brake(self, error: Permanent, delivery: Delivery, steps: Steps) -> None:
        """Check that this failure may be recorded.

        The brake ignores replayed messages: a second failure says nothing about the worker, and the
        message only returns to the dead-letter topic.

        Raises:
            Braked: the brake is on, or this failure turns it on.
            Draining: a drain has nacked the delivery; the next worker decides.
        """
        if delivery.settled:
            raise Draining(f"{error.reason}: {error} (given back before it was put on record)")
        if REPLAY_OF in delivery.attributes:
            return
        if not self.brake.record_failure(_photo(delivery, steps), error):
            raise Braked(f"{error.reason}: {error} (not put on record: the brake is on)")

    def _refuse(
        self, event: Event | None, error: Permanent, delivery: Delivery, steps: Steps
    ) -> Outcome:
        """Record a permanent failure, then dead-letter its message.

        If the manifest makes this failure irrelevant (newer or already current), do neither.

        Raises:
            Transient: the record or the dead letter was not confirmed, or there is no dead-letter
                topic.
        """
        outcome = Outcome(effect=Effect.REJECTED)
        if isinstance(event, Register):
            with steps.time("reject"):
                outcome = self.reject(event, error, delivery.message_id)
            if outcome.effect is not Effect.REJECTED:
                return outcome
        steps.facts |= {"reason": error.reason.value, "detail": str(error)}
        if self.topics.dead_letter is None:
            raise Transient(f"{error.reason}: {error} (no WORKER_DEAD_LETTER_TOPIC to send it to)")
        letter = {
            "dead_letter_reason": error.reason.value,
            "dead_letter_message": shortened(str(error), _LETTER_TEXT_BYTES),
            "dead_letter_worker": shortened(self.worker_name, _LETTER_TEXT_BYTES),
            "dead_letter_message_id": delivery.message_id,
        }
        with steps.time("dead_letter"):
            self.publisher.publish(
                self.topics.dead_letter,
                delivery.data,
                folded(delivery.attributes, letter),
                delivery.ordering_key,
            )
        self.counters.dead_lettered(error.reason)
        return outcome

    def _answer(self, delivery: Delivery, steps: Steps, ending: Ending) -> bool:
        """Ack or nack; return False if a drain has nacked the delivery before."""
        if ending.effect is not None:
            answered = delivery.ack()
            if answered:
                self.brake.acked(_photo(delivery, steps), ending.effect)
                self.counters.progressed()
            return answered
        # A delivery that a drain has already nacked is not part of the running trial.
        if not delivery.settled:
            self.brake.record_nack()
        if ending.pause_seconds:
            self.wait_before_nack(ending.pause_seconds)
        return delivery.nack()

    def _report(self, delivery: Delivery, steps: Steps, ending: Ending, *, answered: bool) -> None:
        """Count the ending, trace it, log it, and pass a fatal error on to the daemon."""
        self.counters.handled(steps.kind, ending.outcome, steps.seconds.items())
        self.counters.rendered(
            bytes_in=steps.bytes_in,
            bytes_out=steps.bytes_out,
            cpu_seconds=steps.render_cpu_seconds,
        )
        steps.spans.end(ending.outcome, steps.facts, ending.error)
        if isinstance(ending.error, Fatal):
            self.fatal_errors.put(ending.error)
        # Both dicts can have `detail`. The ending's wins, because it says why the message was
        # nacked.
        fields = {**steps.fields(), **ending.fields()}
        self.log.log(
            ending.level,
            "handled",
            message_id=delivery.message_id,
            delivery_attempt=delivery.attempt,
            outcome=ending.outcome,
            answered=answered,
            **fields,
        )


def _pause_seconds(error: Transient) -> float:
    if isinstance(error, Braked):
        return BRAKED_PAUSE_SECONDS
    return 0.0 if isinstance(error, Draining) else NACK_PAUSE_SECONDS


def _photo(delivery: Delivery, steps: Steps) -> str:
    """Return the key that the brake counts by: the photo id, or the message id without an event."""
    return str(steps.facts.get("photo_id", delivery.message_id))


def _about(event: Event) -> dict[str, str | int]:
    if isinstance(event, Ignored):
        return {"why": event.why}
    return {"type": event.type, "photo_id": event.photo_id, "version": event.version}
