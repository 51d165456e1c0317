"""Spans: the tracing protocol for handlers, independent of any tracing library.

The handlers measure their steps anyway (`steps`). With a tracer, each step is also a span.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol

from worker.photo.delivery import Delivery

Fact = str | int | float


class Spans(Protocol):
    """The spans of one event; thread-safe."""

    def span(self, name: str, **facts: Fact) -> AbstractContextManager[object]:
        """Return a span around one block, below the span that surrounds this call.

        The block may run in another thread. Only the type of an exception is recorded, because its
        text may quote a secret URL.
        """

    def end(
        self, outcome: str, facts: Mapping[str, Fact], error: BaseException | None = None
    ) -> None:
        """Record on the delivery's own span how the event ended."""


class Tracer(Protocol):
    """A tracer that begins the span of a delivery; thread-safe."""

    def receive(self, delivery: Delivery) -> AbstractContextManager[Spans]:
        """Begin the span of a delivery, in its publisher's trace and current in this thread."""


class _NoSpans:
    """`Spans` and `Tracer` for untraced events."""

    def span(self, name: str, **facts: Fact) -> AbstractContextManager[object]:  # noqa: ARG002
        """See `Spans`."""
        return _NOTHING

    def end(
        self, outcome: str, facts: Mapping[str, Fact], error: BaseException | None = None
    ) -> None:
        """See `Spans`."""

    def receive(self, delivery: Delivery) -> AbstractContextManager[Spans]:  # noqa: ARG002
        """See `Tracer`."""
        return _NO_EVENT


UNTRACED: Final = _NoSpans()
_NOTHING: Final = nullcontext()
_NO_EVENT: Final = nullcontext(UNTRACED)
