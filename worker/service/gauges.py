"""Gauges: what is true at the moment of a scrape, read from the parts of the worker themselves.

Owns the metrics that go up and down. Each is one look at a part, which may not have started yet or
may be draining; none waits for anything.
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
from worker.telemetry.metrics import (
    BRAKE_ON,
    BUILD_INFO,
    DRAINING,
    IN_FLIGHT,
    IN_FLIGHT_LIMIT,
    OLDEST_LEASE_SECONDS,
    REACHABLE,
    RENDER_MEMORY_ADMITTED_BYTES,
    RENDER_MEMORY_BYTES,
    SERVICES,
    SLOTS,
    SLOTS_BUSY,
    STREAM_OPEN,
    Metric,
)


class Gauges(Collector):
    """A collector for Prometheus's client; thread-safe."""

    def __init__(self, liveness: Liveness, capacity: Capacity, python: str | None = None) -> None:
        """Read nothing yet."""
        self._pulse = liveness
        self._capacity = capacity
        self._python = python or platform.python_version()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Each gauge, as it is now."""
        liveness = self._pulse
        for metric, value in self._plain():
            yield GaugeMetricFamily(metric.full_name, metric.help, value=value)
        reachable = _labelled(REACHABLE)
        for service, part in zip(SERVICES, (liveness.pubsub, liveness.storage), strict=True):
            reachable.add_metric([service], part.reachable)
        yield reachable
        build = _labelled(BUILD_INFO)
        # The recipe names the children's codecs, so it is known once the first of them is up; a
        # series without it would be another one, and stay behind.
        with contextlib.suppress(RuntimeError):
            build.add_metric([__version__, liveness.pool.recipe.fingerprint, self._python], 1)
        yield build

    def _plain(self) -> Iterator[tuple[Metric, float]]:
        liveness, capacity = self._pulse, self._capacity
        yield IN_FLIGHT, liveness.consumer.running
        yield IN_FLIGHT_LIMIT, capacity.in_flight
        yield OLDEST_LEASE_SECONDS, liveness.leases.oldest_seconds
        yield SLOTS, capacity.slots
        yield SLOTS_BUSY, liveness.pool.running
        yield RENDER_MEMORY_BYTES, capacity.render_memory_bytes
        yield RENDER_MEMORY_ADMITTED_BYTES, liveness.pool.admitted_bytes
        yield STREAM_OPEN, liveness.consumer.open
        yield BRAKE_ON, liveness.brake.on
        yield DRAINING, liveness.phase is Phase.DRAINING


def _labelled(metric: Metric) -> GaugeMetricFamily:
    return GaugeMetricFamily(metric.full_name, metric.help, labels=metric.labels)
