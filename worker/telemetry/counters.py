"""Counters and histograms, and the text of `/metrics` in the formats that Prometheus reads.

They live in a registry of their own. `service/gauges` adds what is read at each scrape, and
`service/health` serves the text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from worker.errors import Reason
from worker.telemetry import metrics
from worker.telemetry.metrics import Metric, Step

_NAMESPACE: Final = metrics.PREFIX.removesuffix("_")

_ACCEPT_MAX: Final = 1000

T = TypeVar("T", Counter, Gauge, Histogram)


class Counters:
    """The counts of one worker; thread-safe. All series with known labels exist from the start.

    `clock` gives Unix time.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._registry = CollectorRegistry()
        self._events = self._make(Counter, metrics.EVENTS)
        self._dead_letters = self._make(Counter, metrics.DEAD_LETTERS)
        self._original_bytes = self._make(Counter, metrics.ORIGINAL_BYTES)
        self._rendition_bytes = self._make(Counter, metrics.RENDITION_BYTES)
        self._render_cpu_seconds = self._make(Counter, metrics.RENDER_CPU_SECONDS)
        buckets = metrics.STEP_SECONDS.buckets
        self._step_seconds = self._make(Histogram, metrics.STEP_SECONDS, buckets=buckets)
        buckets = metrics.DELIVERY_ATTEMPTS.buckets
        self._attempts = self._make(Histogram, metrics.DELIVERY_ATTEMPTS, buckets=buckets)
        self._progress = self._make(Gauge, metrics.LAST_PROGRESS_SECONDS)
        self._progress.set(clock())
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def add(self, gauges: Collector) -> None:
        """Show these too; they are read at each scrape."""
        self._registry.register(gauges)

    def delivered(self, attempt: int | None) -> None:
        """A delivery has arrived; `attempt` is `None` where Pub/Sub does not count."""
        if attempt is not None:
            self._attempts.observe(attempt)

    def handled(self, kind: str, outcome: str, seconds: Iterable[tuple[Step, float]]) -> None:
        """A delivery has ended; `kind` is the event's type, `seconds` what each step took."""
        self._events.labels(kind, outcome).inc()
        for step, taken in seconds:
            self._step_seconds.labels(step).observe(taken)

    def rendered(self, *, bytes_in: int, bytes_out: int, cpu_seconds: float) -> None:
        """An original has been rendered to the end."""
        self._original_bytes.inc(bytes_in)
        self._rendition_bytes.inc(bytes_out)
        self._render_cpu_seconds.inc(cpu_seconds)

    def dead_lettered(self, reason: Reason) -> None:
        """A message has been published to the dead-letter topic."""
        self._dead_letters.labels(reason.value).inc()

    def progressed(self) -> None:
        """A message has been acked."""
        self._progress.set(self._clock())

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics and their content type, as `accept` asks, else in the oldest text format."""
        shown = _Shown(self._registry)
        # The format goes back in a header, so an odd `accept` is ignored.
        if len(accept) <= _ACCEPT_MAX and accept.isascii() and accept.isprintable():
            try:
                encode, content_type = choose_encoder(accept)
                return encode(shown), content_type
            except (TypeError, ValueError):
                # The client fails to compare a version that is not a number.
                pass
        return generate_latest(shown), CONTENT_TYPE_PLAIN_0_0_4

    def _make(self, kind: Callable[..., T], metric: Metric, **more: object) -> T:
        made = kind(
            metric.name,
            metric.help,
            metric.labels,
            namespace=_NAMESPACE,
            registry=self._registry,
            **more,
        )
        for values in metric.series:
            made.labels(*values)
        return made


class _Shown(CollectorRegistry):
    """A registry without the `_created` series that the client makes for each counter.

    They double what is stored and repeat the process's start time. The client's own switch for
    them holds for the whole process.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self._all = registry

    def collect(self) -> Iterable[Family]:
        for family in self._all.collect():
            family.samples = [
                sample for sample in family.samples if sample.name != f"{family.name}_created"
            ]
            yield family
