"""The seconds of each step of one event, and its facts, for its log line and the metrics."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from worker.photo.ports import RenderCost
from worker.telemetry.metrics import UNREAD, Step
from worker.telemetry.spans import UNTRACED, Fact, Spans


@dataclass(slots=True)
class Steps:
    """Seconds by step, and facts by name. Only the thread that handles the event may use it.

    `kind` is the `type` label of `metrics.EVENTS`: the event's type, `ignored`, `invalid` or
    `unread`.
    """

    clock: Callable[[], float] = time.perf_counter
    seconds: dict[Step, float] = field(default_factory=lambda: defaultdict(float))
    facts: dict[str, str | int | float] = field(default_factory=dict)
    spans: Spans = UNTRACED
    kind: str = UNREAD
    bytes_in: int = 0
    bytes_out: int = 0
    render_cpu_seconds: float = 0.0

    @contextmanager
    def time(self, step: Step) -> Iterator[None]:
        """Add the block's seconds to a step, even if the block raises."""
        started = self.clock()
        try:
            with self.spans.span(step):
                yield
        finally:
            self.seconds[step] += self.clock() - started

    def span(self, name: str, **facts: Fact) -> AbstractContextManager[object]:
        """Return a span for another thread's work; `seconds` already covers this time."""
        return self.spans.span(name, **facts)

    def note_render(self, *, bytes_in: int, bytes_out: int, cost: RenderCost) -> None:
        """Record the bytes and the cost of a finished render."""
        self.seconds["render"] += cost.seconds
        self.bytes_in, self.bytes_out = bytes_in, bytes_out
        self.render_cpu_seconds = cost.cpu_seconds
        self.facts |= {
            "bytes_in": bytes_in,
            "bytes_out": bytes_out,
            "render_cpu_seconds": cost.cpu_seconds,
            "child_peak_bytes": cost.peak_bytes,
        }

    def fields(self) -> dict[str, object]:
        """Return the fields for the log line; seconds are rounded to the millisecond."""
        rounded = {step: round(seconds, 3) for step, seconds in self.seconds.items()}
        return {"seconds": rounded, **self.facts}
