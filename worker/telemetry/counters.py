"""Counters: what was counted, and `/metrics` in the formats that Prometheus reads.

Owns the counters and histograms of `metrics`, in a registry of its own, and the only use of
Prometheus's client for them. What is read at the moment of a scrape is another's (`gauges`), and so
is HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

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
from worker.telemetry.metrics import (
    DEAD_LETTERS,
    DELIVERY_ATTEMPTS,
    EVENTS,
    LAST_PROGRESS_SECONDS,
    ORIGINAL_BYTES,
    PREFIX,
    RENDER_CPU_SECONDS,
    RENDITION_BYTES,
    STEP_SECONDS,
    Metric,
    Step,
)

_NAMESPACE: Final = PREFIX.removesuffix("_")

_ACCEPT_MAX: Final = 1000


class Counters:
    """The counts of one worker; thread-safe. Every series of a closed set is there from the start.

    `clock` gives Unix time.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        """Count from 0."""
        self._clock = clock
        self._registry = CollectorRegistry()
        self._events = self._counter(EVENTS)
        self._dead_letters = self._counter(DEAD_LETTERS)
        self._original_bytes = self._counter(ORIGINAL_BYTES)
        self._rendition_bytes = self._counter(RENDITION_BYTES)
        self._render_cpu_seconds = self._counter(RENDER_CPU_SECONDS)
        self._step_seconds = self._histogram(STEP_SECONDS)
        self._attempts = self._histogram(DELIVERY_ATTEMPTS)
        self._progress = Gauge(
            LAST_PROGRESS_SECONDS.name,
            LAST_PROGRESS_SECONDS.help,
            namespace=_NAMESPACE,
            registry=self._registry,
        )
        self._progress.set(clock())
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def add(self, gauges: Collector) -> None:
        """Show these too; they are asked at each scrape."""
        self._registry.register(gauges)

    def delivered(self, attempt: int | None) -> None:
        """A delivery has arrived; its attempt, where Pub/Sub counts them."""
        if attempt is not None:
            self._attempts.observe(attempt)

    def handled(self, kind: str, outcome: str, seconds: Iterable[tuple[Step, float]]) -> None:
        """A delivery has its end: the event's type, what became of it, and what each step took."""
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
        """Everything, and its content type: as `accept` asks for, else the oldest text format."""
        shown = _Shown(self._registry)
        # What is agreed upon goes back in a header, so nothing odd may be agreed upon.
        if len(accept) <= _ACCEPT_MAX and accept.isascii() and accept.isprintable():
            try:
                encode, content_type = choose_encoder(accept)
                return encode(shown), content_type
            except (TypeError, ValueError):
                # A version that is no number; the client's own comparison falls over it.
                pass
        return generate_latest(shown), CONTENT_TYPE_PLAIN_0_0_4

    def _counter(self, metric: Metric) -> Counter:
        counter = Counter(
            metric.name, metric.help, metric.labels, namespace=_NAMESPACE, registry=self._registry
        )
        for values in metric.series:
            counter.labels(*values)
        return counter

    def _histogram(self, metric: Metric) -> Histogram:
        histogram = Histogram(
            metric.name,
            metric.help,
            metric.labels,
            namespace=_NAMESPACE,
            registry=self._registry,
            buckets=metric.buckets,
        )
        for values in metric.series:
            histogram.labels(*values)
        return histogram


class _Shown(CollectorRegistry):
    """A registry without the `_created` series that the client makes of every other one.

    They double what is stored and tell nothing that the process's start time does not. The
    client's own switch for them is one for the whole process.
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
