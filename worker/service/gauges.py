"""Gauges: metrics that go up and down, read from the parts of the worker at each scrape.

A part may still be starting, or already draining. Each read returns at once.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from worker import __version__
from worker.render.capacity import Capacity
from worker.service.liveness import Liveness, Phase
from worker.telemetry import metrics
from worker.telemetry.metrics import Metric


class Gauges(Collector):
    """A collector for Prometheus's client; thread-safe."""

    def __init__(self, liveness: Liveness, capacity: Capacity, python: str | None = None) -> None:
        self._liveness = liveness
        self._capacity = capacity
        self._python = python or platform.python_version()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield each gauge with its current value."""
        for metric, value in self._plain():
            yield GaugeMetricFamily(metric.full_name, metric.help, value=value)
        parts = self._liveness
        reachable = _labelled(metrics.REACHABLE)
        for service, part in zip(metrics.SERVICES, (parts.pubsub, parts.storage), strict=True):
            reachable.add_metric([service], part.reachable)
        yield reachable
        build = _labelled(metrics.BUILD_INFO)
        # The recipe names the children's codecs, so it is known once the first child is up. Without
        # the recipe this would be another series, which Prometheus would keep.
        with contextlib.suppress(RuntimeError):
            build.add_metric([__version__, parts.pool.recipe.fingerprint, self._python], 1)
        yield build

    def _plain(self) -> Iterator[tuple[Metric, float]]:
        parts, capacity = self._liveness, self._capacity
        yield metrics.IN_FLIGHT, parts.consumer.running
        yield metrics.IN_FLIGHT_LIMIT, capacity.in_flight
        yield metrics.OLDEST_LEASE_SECONDS, parts.leases.oldest_seconds
        yield metrics.SLOTS, capacity.slots
        yield metrics.SLOTS_BUSY, parts.pool.running
        yield metrics.RENDER_MEMORY_BYTES, capacity.render_memory_bytes
        yield metrics.RENDER_MEMORY_ADMITTED_BYTES, parts.pool.admitted_bytes
        yield metrics.STREAM_OPEN, parts.consumer.open
        yield metrics.BRAKE_ON, parts.brake.on
        yield metrics.DRAINING, parts.phase is Phase.DRAINING


def _labelled(metric: Metric) -> GaugeMetricFamily:
    return GaugeMetricFamily(metric.full_name, metric.help, labels=metric.labels)
