"""Traces by OpenTelemetry: continue the publisher's trace, and pass it on with published messages.

This module owns the names and attributes of spans, by the semantic conventions for messaging. It
uses only the API; `exporters` sends the spans. Google's tracing of its own clients is not enough:
its spans end when the callback starts or do not know the steps, and are not current in the thread
that handles the message.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Final

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from worker.errors import Braked, Draining, Permanent, WorkerError
from worker.photo.delivery import Delivery
from worker.photo.header import PictureFacts
from worker.photo.ports import (
    BatchPublisher,
    OutgoingMessage,
    RenderCost,
    Rendered,
    Renderer,
    Rendering,
)
from worker.photo.recipe import Recipe
from worker.telemetry.propagation import dead_letter_context, read_context, with_context
from worker.telemetry.spans import Fact, Spans

OWN: Final = "photo_worker."
"""The prefix of attribute names that are not in the conventions."""

WHOLE: Final = "total"
"""The step that contains all other steps; its span is the delivery's own."""

_FACTS: Final = ("type", "photo_id", "version", "reason", "why", "deleted", "bytes_in", "bytes_out")
"""The facts that go on the delivery's span. Error texts go to the log only."""


class EventTracer:
    """`spans.Tracer` for the deliveries of one subscription; `subscription` is its full name."""

    def __init__(self, tracer: trace.Tracer, subscription: str) -> None:
        self._tracer = tracer
        self._subscription = _short(subscription)
        self._project = subscription.split("/")[1] if "/" in subscription else ""

    @contextmanager
    def receive(self, delivery: Delivery) -> Iterator[Spans]:
        """See `spans.Tracer`."""
        parent = read_context(delivery.attributes)
        attributes: dict[str, Fact] = {
            **_messaging("process", "process"),
            "messaging.destination.subscription.name": self._subscription,
            "messaging.message.id": delivery.message_id,
            "messaging.message.body.size": len(delivery.data),
            "gcp.project_id": self._project,
        }
        if delivery.attempt is not None:
            attributes["messaging.gcp_pubsub.message.delivery_attempt"] = delivery.attempt
        if delivery.ordering_key:
            attributes["messaging.gcp_pubsub.message.ordering_key"] = delivery.ordering_key
        with self._tracer.start_as_current_span(
            f"process {self._subscription}",
            context=parent or otel.Context(),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=() if parent else _links(delivery.attributes),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield EventSpans(self._tracer, span)


class EventSpans:
    """`spans.Spans` below the span of one delivery."""

    def __init__(self, tracer: trace.Tracer, whole: Span) -> None:
        self._tracer = tracer
        self._whole = whole

    def span(self, name: str, **facts: Fact) -> AbstractContextManager[object]:
        """See `spans.Spans`."""
        if name == WHOLE:
            return nullcontext()
        # Take the surrounding span from this thread, because the block may run in another.
        return _span(self._tracer, name, otel.get_current(), facts)

    def end(
        self, outcome: str, facts: Mapping[str, Fact], error: BaseException | None = None
    ) -> None:
        """See `spans.Spans`."""
        self._whole.set_attribute(f"{OWN}outcome", outcome)
        self._whole.set_attributes(
            {f"{OWN}{name}": facts[name] for name in _FACTS if name in facts}
        )
        if error is not None:
            _fail(self._whole, error)
        elif "reason" in facts:
            self._whole.set_attribute("error.type", facts["reason"])
            self._whole.set_status(Status(StatusCode.ERROR, str(facts["reason"])))


class TracedPublisher:
    """`ports.Publisher` that sends the trace along with each message; thread-safe.

    Each message has a span of its own, below the span that surrounds the call. In a verb this span
    begins a trace.
    """

    def __init__(self, publisher: BatchPublisher, tracer: trace.Tracer) -> None:
        self._publisher = publisher
        self._tracer = tracer

    def publish(
        self, topic: str, data: bytes, attributes: Mapping[str, str], ordering_key: str = ""
    ) -> str:
        """See `ports.Publisher`."""
        with self._sending(topic, data, attributes) as span:
            carried = with_context(attributes, span)
            message_id = self._publisher.publish(topic, data, carried, ordering_key)
            span.set_attribute("messaging.message.id", message_id)
            return message_id

    def publish_all(self, topic: str, messages: Sequence[OutgoingMessage]) -> None:
        """See `ports.BatchPublisher`."""
        with ExitStack() as spans:
            outer = otel.get_current()
            carried = []
            for message in messages:
                # With `outer` as their parent, the spans do not nest.
                sending = self._sending(topic, message.data, message.attributes, outer)
                span = spans.enter_context(sending)
                attributes = with_context(message.attributes, span)
                carried.append(replace(message, attributes=attributes))
            self._publisher.publish_all(topic, carried)

    def _sending(
        self,
        topic: str,
        data: bytes,
        attributes: Mapping[str, str],
        parent: otel.Context | None = None,
    ) -> AbstractContextManager[Span]:
        facts: dict[str, Fact] = {
            **_messaging("send", "send"),
            "messaging.destination.name": _short(topic),
            "messaging.message.body.size": len(data),
        }
        return _span(
            self._tracer,
            f"send {_short(topic)}",
            otel.get_current() if parent is None else parent,  # an empty context is false
            facts,
            kind=SpanKind.PRODUCER,
            links=_links(attributes),
        )


class TracedRenderer:
    """`ports.Renderer` with a span for each render in a child process; thread-safe."""

    def __init__(self, renderer: Renderer, tracer: trace.Tracer) -> None:
        self._renderer = renderer
        self._tracer = tracer

    @property
    def recipe(self) -> Recipe:
        """See `ports.Renderer`."""
        return self._renderer.recipe

    def render(self, original: Path, folder: Path) -> Rendering:
        """See `ports.Renderer`."""
        return _TracedRendering(self._renderer.render(original, folder), self._tracer)


class _TracedRendering:
    """`ports.Rendering`; the span leaves out the wait for a slot."""

    def __init__(self, rendering: Rendering, tracer: trace.Tracer) -> None:
        self._rendering = rendering
        self._tracer = tracer

    def __iter__(self) -> Iterator[Rendered]:
        """See `ports.Rendering`."""
        queued_at = time.time_ns()
        made = made_bytes = 0
        try:
            for rendered in self._rendering:
                made, made_bytes = made + 1, made_bytes + rendered.size_bytes
                yield rendered
        except Exception as error:
            # It is unknown when the child began, so the span begins when the render was queued.
            span = self._tracer.start_span("render", start_time=queued_at)
            _fail(span, error)
            span.end()
            raise
        ended_at = time.time_ns()
        began_at = max(queued_at, ended_at - int(self.cost.seconds * 1e9))
        facts: dict[str, Fact] = {
            "format": self.facts.format,
            "pixels": self.facts.width * self.facts.height,
            "renditions": made,
            "bytes_out": made_bytes,
            "cpu_seconds": self.cost.cpu_seconds,
            "peak_bytes": self.cost.peak_bytes,
            "queued_seconds": (began_at - queued_at) / 1e9,
        }
        span = self._tracer.start_span("render", start_time=began_at, attributes=_own(facts))
        span.end(ended_at)

    @property
    def facts(self) -> PictureFacts:
        """See `ports.Rendering`."""
        return self._rendering.facts

    @property
    def cost(self) -> RenderCost:
        """See `ports.Rendering`."""
        return self._rendering.cost


@contextmanager
def _span(
    tracer: trace.Tracer,
    name: str,
    parent: otel.Context,
    facts: Mapping[str, Fact],
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    links: Sequence[Link] = (),
) -> Iterator[Span]:
    with tracer.start_as_current_span(
        name,
        context=parent,
        kind=kind,
        attributes=_own(facts),
        links=links,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except BaseException as error:
            _fail(span, error)
            raise


def _links(attributes: Mapping[str, str]) -> list[Link]:
    """Return the link from a replay, which begins its own trace, to its dead letter's trace."""
    ended = dead_letter_context(attributes)
    return [] if ended is None else [Link(ended, {f"{OWN}link": "replay_of"})]


def _fail(span: Span, error: BaseException) -> None:
    """Record the type of an error, but not its text, which may hold a secret or file names."""
    kind = type(error)
    own = isinstance(error, WorkerError)
    span.set_attribute("error.type", kind.__name__ if own else f"{kind.__module__}.{kind.__name__}")
    if isinstance(error, Draining | Braked):
        return  # the message was nacked on purpose
    reason = error.reason.value if isinstance(error, Permanent) else None
    span.set_status(Status(StatusCode.ERROR, reason))


def _messaging(name: str, kind: str) -> dict[str, Fact]:
    return {
        "messaging.system": "gcp_pubsub",
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
    }


def _own(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    return {name if "." in name else f"{OWN}{name}": value for name, value in facts.items()}


def _short(path: str) -> str:
    """Return the last part of a topic's or subscription's full name."""
    return path.rpartition("/")[2]
