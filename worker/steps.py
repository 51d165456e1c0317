"""How long each step of one event took, and what it moved: gathered for the event's log line."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from worker.ports import RenderCost


@dataclass(slots=True)
class Steps:
    """Seconds by step, and facts by name; used by the one thread that handles the event."""

    clock: Callable[[], float] = time.perf_counter
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    facts: dict[str, str | int | float] = field(default_factory=dict)

    @contextmanager
    def time(self, step: str) -> Iterator[None]:
        """Add the block's seconds to a step, also when the block raises."""
        started = self.clock()
        try:
            yield
        finally:
            self.seconds[step] += self.clock() - started

    def note_render(self, *, bytes_in: int, bytes_out: int, cost: RenderCost) -> None:
        """Keep what a render took and made."""
        self.seconds["render"] += cost.seconds
        self.facts |= {
            "bytes_in": bytes_in,
            "bytes_out": bytes_out,
            "render_cpu_seconds": cost.cpu_seconds,
            "child_peak_bytes": cost.peak_bytes,
        }

    def fields(self) -> dict[str, object]:
        """The log line's part: seconds rounded to the millisecond."""
        rounded = {step: round(seconds, 3) for step, seconds in self.seconds.items()}
        return {"seconds": rounded, **self.facts}
