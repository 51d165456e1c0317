"""Metrics: the names of all metrics that `/metrics` shows, their help texts and label values.

Docs and dashboards are tested against this list. Labels come from closed sets, not from events.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final, Literal, get_args

from worker.errors import Reason
from worker.photo.outcome import Effect

PREFIX: Final = "photo_worker_"

NACKED: Final = "nacked"
"""The outcome of a nacked delivery; every other outcome is an `Effect`."""

UNREAD: Final = "unread"
INVALID: Final = "invalid"
IGNORED: Final = "ignored"

Step = Literal[
    "total",
    "read_manifest",
    "download",
    "render_and_upload",
    "render",
    "last_uploads",
    "commit",
    "clean_up",
    "delete",
    "reject",
    "dead_letter",
    "outcome",
]
"""The steps of an event. `total` contains all other steps, and some steps contain others."""

STEPS: Final[tuple[Step, ...]] = get_args(Step)

SERVICES: Final = ("pubsub", "storage")

_ENDS: Final[dict[str, tuple[str, ...]]] = {
    "photo.register": (
        Effect.REGISTERED,
        Effect.ALREADY_CURRENT,
        Effect.SUPERSEDED,
        Effect.REJECTED,
        NACKED,
    ),
    "photo.deregister": (Effect.DEREGISTERED, Effect.ALREADY_CURRENT, Effect.SUPERSEDED, NACKED),
    IGNORED: (Effect.IGNORED,),
    INVALID: (Effect.REJECTED, NACKED),
    UNREAD: (NACKED,),
}
"""How events of each type can end."""


class MetricKind(StrEnum):
    """What a metric's value does."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name without prefix and, for a counter, without `_total`.

    `series` are the label values that are shown from the start, with 0. If a series began with 1,
    its rate would miss the first event.
    """

    kind: MetricKind
    name: str
    help: str
    labels: tuple[str, ...] = ()
    series: tuple[tuple[str, ...], ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        """The name that `/metrics` shows."""
        return f"{PREFIX}{self.name}{'_total' if self.kind is MetricKind.COUNTER else ''}"


_counter = partial(Metric, MetricKind.COUNTER)
_gauge = partial(Metric, MetricKind.GAUGE)
_histogram = partial(Metric, MetricKind.HISTOGRAM)

EVENTS: Final = _counter(
    "events",
    "Deliveries handled, by the event's type (no event: invalid) and outcome.",
    labels=("type", "outcome"),
    series=tuple((kind, str(end)) for kind, ends in _ENDS.items() for end in ends),
)
STEP_SECONDS: Final = _histogram(
    "step_seconds",
    "Seconds of each step of an event; total is all of it.",
    labels=("step",),
    series=tuple((step,) for step in STEPS),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
)
DELIVERY_ATTEMPTS: Final = _histogram(
    "delivery_attempts",
    "Which delivery attempt a message was handled in, where the subscription counts them.",
    buckets=(1, 2, 3, 5, 10, 15, 20, 50),
)
DEAD_LETTERS: Final = _counter(
    "dead_letters",
    "Messages published to the dead-letter topic.",
    labels=("reason",),
    series=tuple((reason.value,) for reason in Reason),
)
ORIGINAL_BYTES: Final = _counter("original_bytes", "Bytes of originals rendered.")
RENDITION_BYTES: Final = _counter("rendition_bytes", "Bytes of renditions made.")
RENDER_CPU_SECONDS: Final = _counter("render_cpu_seconds", "CPU seconds of finished renders.")
IN_FLIGHT: Final = _gauge("in_flight", "Messages held right now.")
IN_FLIGHT_LIMIT: Final = _gauge("in_flight_limit", "Messages that may be held at once.")
OLDEST_LEASE_SECONDS: Final = _gauge(
    "oldest_lease_seconds", "How long the longest-held message has been held; 0 without any."
)
SLOTS: Final = _gauge("slots", "Render slots.")
SLOTS_BUSY: Final = _gauge("slots_busy", "Render slots that render.")
RENDER_MEMORY_BYTES: Final = _gauge("render_memory_bytes", "Memory for all renders together.")
RENDER_MEMORY_ADMITTED_BYTES: Final = _gauge(
    "render_memory_admitted_bytes",
    "Memory predicted for the renders that run, and held by the originals that wait.",
)
STREAM_OPEN: Final = _gauge(
    "stream_open", "1 while the streaming pull is open, or closed by the brake."
)
REACHABLE: Final = _gauge(
    "reachable",
    "1 while the service answers.",
    labels=("service",),
    series=tuple((service,) for service in SERVICES),
)
BRAKE_ON: Final = _gauge("brake_on", "1 while the brake is on.")
DRAINING: Final = _gauge("draining", "1 while the worker drains.")
LAST_PROGRESS_SECONDS: Final = _gauge(
    "last_progress_timestamp_seconds",
    "When a message was acked last, in Unix time; the start before the first.",
)
BUILD_INFO: Final = _gauge(
    "build_info", "Always 1; what runs.", labels=("version", "recipe", "python")
)

ALL: Final = tuple(each for each in list(globals().values()) if isinstance(each, Metric))
