"""Counters and histograms, and the text of `/metrics` in the formats that Prometheus reads.

They have a registry of their own. `service/gauges` adds the metrics that are read at each scrape,
and `service/health` serves the text.
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
        """Add gauges, which are read at each scrape."""
        self._registry.register(gauges)

    def delivered(self, attempt: int | None) -> None:
        """Count a delivery that has arrived; `attempt` is `None` if Pub/Sub does not count."""
        if attempt is not None:
            self._attempts.observe(attempt)

    def handled(self, kind: str, outcome: str, seconds: Iterable[tuple[Step, float]]) -> None:
        """Count a delivery that has ended.

        `kind` is the event's type, `seconds` the time of each step.
        """
        self._events.labels(kind, outcome).inc()
        for step, taken in seconds:
            self._step_seconds.labels(step).observe(taken)

    def rendered(self, *, bytes_in: int, bytes_out: int, cpu_seconds: float) -> None:
        """Count an original that was rendered to the end."""
        self._original_bytes.inc(bytes_in)
        self._rendition_bytes.inc(bytes_out)
        self._render_cpu_seconds.inc(cpu_seconds)

    def dead_lettered(self, reason: Reason) -> None:
        """Count a message that was published to the dead-letter topic."""
        self._dead_letters.labels(reason.value).inc()

    def progressed(self) -> None:
        """Record that a message was acked now."""
        self._progress.set(self._clock())

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Return all metrics and their content type.

        The format is the one that `accept` asks for, otherwise the oldest text format.
        """
        shown = _Shown(self._registry)
        # A part of `accept` goes back in a header, so odd values are ignored.
        if len(accept) <= _ACCEPT_MAX and accept.isascii() and accept.isprintable():
            try:
                encode, content_type = choose_encoder(accept)
                return encode(shown), content_type
            except (TypeError, ValueError):
                # The Prometheus client fails to compare a version that is not a number.
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

    These series double the stored data and repeat the process's start time. The client's own switch
    for them changes the whole process.
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
