"""What tracing asks of whoever handles an event: spans by name. Knows no tracing library.

The handlers measure their steps anyway (`steps`); with a tracer, each of them is a span too.
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
        """A span around one block, below the one that surrounds this call.

        The block may be another thread's. What it raises is noted by its type alone: words of an
        error may quote a URL that is a secret.
        """

    def end(
        self, outcome: str, facts: Mapping[str, Fact], error: BaseException | None = None
    ) -> None:
        """Note what became of the event, on the span that is all of it."""


class Tracer(Protocol):
    """Begins the span of a delivery; thread-safe."""

    def receive(self, delivery: Delivery) -> AbstractContextManager[Spans]:
        """Everything about one delivery, in its publisher's trace; current in this thread."""


class _NoSpans:
    """`Spans` and `Tracer` that do nothing, for next to nothing."""

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
