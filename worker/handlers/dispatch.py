"""Dispatch: a delivery to its handler, and the answer back. The only room that acks.

An ack is sent only after the effect, the outcome and, for a permanent failure, the dead letter
are confirmed. Whatever is not understood is nacked: a bug may delay a message, never lose it. No
failure is put on record before the brake has been asked.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass, field

from worker.errors import Braked, Draining, Fatal, Permanent, RenderFailed, Transient
from worker.handlers.brake import Brake
from worker.handlers.deregister import DeregisterHandler
from worker.handlers.register import RegisterHandler
from worker.handlers.reject import Rejector
from worker.handlers.steps import Steps
from worker.photo.dead_letter import REPLAY_OF
from worker.photo.delivery import Delivery
from worker.photo.events import Buckets, Deregister, Event, Ignored, Register, parse
from worker.photo.outcome import Effect, Outcome, outcome_event
from worker.photo.ports import Publisher
from worker.telemetry.counters import Measures
from worker.telemetry.logs import Log
from worker.telemetry.metrics import IGNORED, INVALID, NACKED
from worker.telemetry.spans import UNTRACED, Tracer

RENDER_ATTEMPTS = 3
"""Deliveries that a crashed, hung or starved render gets before it counts as the picture's fault.
A neighbour that ate the memory is gone by then."""

NACK_PAUSE_SECONDS = 1.0
"""Held before a nack, unless the worker drains: on a subscription without a backoff of its own, a
full disk or a missing topic would otherwise use up every delivery attempt within seconds."""

BRAKED_PAUSE_SECONDS = 10.0
"""The same once the brake is on, until the stream is closed: nacked a moment before that, a message
would come straight back, and lose another attempt."""

_LETTER_MESSAGE_BYTES = 1000
"""Pub/Sub refuses attribute values of more than 1,024 bytes of UTF-8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """Full names of the topics that are written to; `None` where none is set."""

    outcome: str | None
    dead_letter: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatcher:
    """Handles deliveries, each in the thread that brings it; thread-safe.

    `pause` waits so many seconds, or less once the worker drains.
    """

    buckets: Buckets
    register: RegisterHandler
    deregister: DeregisterHandler
    reject: Rejector
    publisher: Publisher
    topics: Topics
    troubles: queue.SimpleQueue[Fatal]
    pause: Callable[[float], object]
    worker_name: str
    log: Log
    brake: Brake = field(default_factory=Brake.disengaged)
    measures: Measures = field(default_factory=Measures)
    tracer: Tracer = UNTRACED

    def __call__(self, delivery: Delivery) -> None:
        """Handle one delivery and answer it; raises only what its answering raises."""
        with self.tracer.receive(delivery) as spans:
            self._answer(delivery, Steps(spans=spans))

    def _answer(self, delivery: Delivery, steps: Steps) -> None:
        self.measures.delivered(delivery.attempt)
        log = self.log.bind(message_id=delivery.message_id, delivery_attempt=delivery.attempt)
        try:
            with steps.time("total"):
                outcome = self._settle(delivery, steps)
        except Transient as error:
            answered = self._give_back(delivery, _pause_seconds(error))
            self._count(NACKED, steps)
            steps.spans.end(NACKED, steps.facts, error)
            # Also over a refusal's own detail: what the nack waits for is what must be mended.
            steps.facts["detail"] = str(error)
            log = log.bind(error=type(error).__name__)
            log.warning("handled", outcome=NACKED, answered=answered, **steps.fields())
        except Fatal as error:
            # No event can be handled now; the daemon ends the worker, and says what to mend.
            answered = self._give_back(delivery, 0.0)
            self._count(NACKED, steps)
            steps.spans.end(NACKED, steps.facts, error)
            self.troubles.put(error)
            log = log.bind(error=type(error).__name__, detail=str(error))
            log.error("handled", outcome=NACKED, answered=answered)  # noqa: TRY400
        except Exception as error:
            answered = self._give_back(delivery, NACK_PAUSE_SECONDS)
            self._count(NACKED, steps)
            steps.spans.end(NACKED, steps.facts, error)
            steps.facts["detail"] = str(error)
            log = log.bind(error=type(error).__name__, answered=answered)
            log.exception("handled", outcome=NACKED, **steps.fields())
        else:
            answered = delivery.ack()
            if answered:
                self.brake.acked(_photo(delivery, steps), outcome.effect)
                self.measures.progressed()
            self._count(outcome.effect.value, steps)
            steps.spans.end(outcome.effect.value, steps.facts)
            log.info("handled", outcome=outcome.effect.value, answered=answered, **steps.fields())

    def _count(self, outcome: str, steps: Steps) -> None:
        self.measures.handled(steps.kind, outcome, steps.seconds.items())
        self.measures.rendered(
            bytes_in=steps.bytes_in,
            bytes_out=steps.bytes_out,
            cpu_seconds=steps.render_cpu_seconds,
        )

    def _give_back(self, delivery: Delivery, pause_seconds: float) -> bool:
        # What a pause has given back already is no part of the trial that runs by now.
        if not delivery.settled:
            self.brake.giving_back()
        if pause_seconds:
            self.pause(pause_seconds)
        return delivery.nack()

    def _settle(self, delivery: Delivery, steps: Steps) -> Outcome:
        """Everything that must be durable before the ack."""
        if not self.brake.admits():
            raise Braked("not begun: the brake is on")
        event: Event | None = None
        try:
            event = parse(delivery.data, delivery.attributes, self.buckets)
            steps.kind = IGNORED if isinstance(event, Ignored) else event.type
            steps.facts |= _about(event)
            outcome = self._handle(event, delivery, steps)
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

    def _handle(self, event: Event, delivery: Delivery, steps: Steps) -> Outcome:
        if isinstance(event, Ignored):
            return Outcome(effect=Effect.IGNORED)
        if isinstance(event, Deregister):
            return self.deregister(event, steps)
        try:
            return self.register(event, steps)
        except RenderFailed as error:
            if delivery.attempt is not None and delivery.attempt < RENDER_ATTEMPTS:
                raise Transient(f"{error.reason}: {error}") from error
            self.log.warning(
                "render failed on its last attempt, trying once more",
                message_id=delivery.message_id,
                reason=error.reason.value,
            )
        # Drains and vanished machines count as attempts too, so the last one gets a second try:
        # a sound photo is never dead-lettered for its first crash.
        return self.register(event, steps)

    def _ask_brake(self, error: Permanent, delivery: Delivery, steps: Steps) -> None:
        """See that this failure may be put on record.

        A replayed message is not the brake's business: that it fails again tells nothing about the
        worker, and it only goes back to where it came from.

        Raises:
            Braked: the brake is on, or comes on with it.
            Draining: the delivery was given back meanwhile, so whoever gets it next decides.
        """
        if delivery.settled:
            raise Draining(f"{error.reason}: {error} (given back before it was put on record)")
        if REPLAY_OF in delivery.attributes:
            return
        if not self.brake.may_fail(_photo(delivery, steps), error):
            raise Braked(f"{error.reason}: {error} (not put on record: the brake is on)")

    def _refuse(
        self, event: Event | None, error: Permanent, delivery: Delivery, steps: Steps
    ) -> Outcome:
        """Record a permanent failure and dead-letter its message, in this order.

        A registration that a newer version has overtaken meanwhile needs neither.

        Raises:
            Transient: one of the two was not confirmed, or there is no dead-letter topic.
        """
        outcome = Outcome(effect=Effect.REJECTED)
        if isinstance(event, Register):
            with steps.time("reject"):
                outcome = self.reject(event, error)
            if outcome.effect is not Effect.REJECTED:
                return outcome
        steps.facts |= {"reason": error.reason.value, "detail": str(error)}
        if self.topics.dead_letter is None:
            raise Transient(f"{error.reason}: {error} (no WORKER_DEAD_LETTER_TOPIC to send it to)")
        letter = {
            "dead_letter_reason": error.reason.value,
            "dead_letter_message": _fit(str(error)),
            "dead_letter_worker": self.worker_name,
        }
        with steps.time("dead_letter"):
            self.publisher.publish(
                self.topics.dead_letter,
                delivery.data,
                {**delivery.attributes, **letter},
                delivery.ordering_key,
            )
        self.measures.dead_lettered(error.reason)
        return Outcome(effect=Effect.REJECTED, manifest=outcome.manifest)


def _pause_seconds(error: Transient) -> float:
    if isinstance(error, Braked):
        return BRAKED_PAUSE_SECONDS
    return 0.0 if isinstance(error, Draining) else NACK_PAUSE_SECONDS


def _photo(delivery: Delivery, steps: Steps) -> str:
    """Whose end this is: what is no event at all stands for itself."""
    return str(steps.facts.get("photo_id", delivery.message_id))


def _fit(text: str) -> str:
    return text.encode(errors="replace")[:_LETTER_MESSAGE_BYTES].decode(errors="ignore")


def _about(event: Event) -> dict[str, str | int]:
    if isinstance(event, Ignored):
        return {"why": event.why}
    return {"type": event.type, "photo_id": event.photo_id, "version": event.version}
