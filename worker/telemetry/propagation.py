"""The context of a trace (W3C) in a message's attributes.

Two names are in use: `traceparent`, and `googclient_traceparent` of Google's client. Baggage is
ignored, because it comes from strangers and would go to strangers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import Span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker.photo.dead_letter import REPLAY_TRACE

MAX_ATTRIBUTES: Final = 100
"""Pub/Sub refuses messages with more attributes. A message matters more than its trace."""

_GOOGLE: Final = "googclient_"
_NAMES: Final = ("traceparent", "tracestate")
_CARRIED: Final = (*_NAMES, *(_GOOGLE + name for name in _NAMES))
_W3C: Final = TraceContextTextMapPropagator()


def read_context(attributes: Mapping[str, str]) -> otel.Context | None:
    """Return the context in a message, under either name; `None` without one."""
    for prefix in (_GOOGLE, ""):
        if context := _extract(attributes, prefix):
            return context
    return None


def with_context(attributes: Mapping[str, str], span: Span) -> dict[str, str]:
    """Return the attributes with this span as their context instead of an earlier one.

    The context has both names if there is room, because Google's client reads only its own name.
    """
    context: dict[str, str] = {}
    _W3C.inject(context, trace.set_span_in_context(span, otel.Context()))
    bare = {name: value for name, value in attributes.items() if name not in _CARRIED}
    whole = bare | context
    for candidate in (whole | {_GOOGLE + name: value for name, value in context.items()}, whole):
        if len(candidate) <= MAX_ATTRIBUTES:
            return candidate
    return bare


def _extract(attributes: Mapping[str, str], prefix: str) -> otel.Context | None:
    carrier = {name: attributes[prefix + name] for name in _NAMES if prefix + name in attributes}
    context = _W3C.extract(carrier, otel.Context())
    return context if trace.get_current_span(context).get_span_context().is_valid else None


def dead_letter_context(attributes: Mapping[str, str]) -> trace.SpanContext | None:
    """Return the context of the dead letter that a replay comes from; `None` without one."""
    context = _extract({"traceparent": attributes.get(REPLAY_TRACE, "")}, "")
    return None if context is None else trace.get_current_span(context).get_span_context()
