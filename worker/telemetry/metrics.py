"""Metrics: every one that `/metrics` shows, in one list to which docs and dashboards are held.

Owns the names, what they count, and the closed sets of label values: nothing that an event says
ever becomes a label. Knows nothing of who counts, nor of HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, get_args

from worker.errors import Reason
from worker.photo.outcome import Effect

PREFIX: Final = "photo_worker_"

NACKED: Final = "nacked"
"""The outcome of a delivery that was given back; every other one is an `Effect`."""

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
"""What an event's seconds are spent on; some lie within others, and all within `total`."""

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


class Kind(StrEnum):
    """What a metric's value does."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric: its name without prefix and, for a counter, without `_total`.

    `series` are the label values that are shown from the start, with 0: the rate of a series that
    begins with 1 misses its first.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    series: tuple[tuple[str, ...], ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        """As `/metrics` shows it."""
        return f"{PREFIX}{self.name}{'_total' if self.kind is Kind.COUNTER else ''}"


_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

EVENTS: Final = Metric(
    name="events",
    kind=Kind.COUNTER,
    help="Deliveries handled, by the event's type (no event: invalid) and outcome.",
    labels=("type", "outcome"),
    series=tuple((kind, str(end)) for kind, ends in _ENDS.items() for end in ends),
)
STEP_SECONDS: Final = Metric(
    name="step_seconds",
    kind=Kind.HISTOGRAM,
    help="Seconds of each step of an event; total is all of it.",
    labels=("step",),
    series=tuple((step,) for step in STEPS),
    buckets=_SECONDS,
)
DELIVERY_ATTEMPTS: Final = Metric(
    name="delivery_attempts",
    kind=Kind.HISTOGRAM,
    help="Which delivery attempt a message was handled in, where the subscription counts them.",
    buckets=(1, 2, 3, 5, 10, 15, 20, 50),
)
DEAD_LETTERS: Final = Metric(
    name="dead_letters",
    kind=Kind.COUNTER,
    help="Messages published to the dead-letter topic.",
    labels=("reason",),
    series=tuple((reason.value,) for reason in Reason),
)
ORIGINAL_BYTES: Final = Metric(
    name="original_bytes", kind=Kind.COUNTER, help="Bytes of originals rendered."
)
RENDITION_BYTES: Final = Metric(
    name="rendition_bytes", kind=Kind.COUNTER, help="Bytes of renditions made."
)
RENDER_CPU_SECONDS: Final = Metric(
    name="render_cpu_seconds", kind=Kind.COUNTER, help="CPU seconds of finished renders."
)
IN_FLIGHT: Final = Metric(name="in_flight", kind=Kind.GAUGE, help="Messages held right now.")
IN_FLIGHT_LIMIT: Final = Metric(
    name="in_flight_limit", kind=Kind.GAUGE, help="Messages that may be held at once."
)
OLDEST_LEASE_SECONDS: Final = Metric(
    name="oldest_lease_seconds",
    kind=Kind.GAUGE,
    help="How long the longest-held message has been held; 0 without any.",
)
SLOTS: Final = Metric(name="slots", kind=Kind.GAUGE, help="Render slots.")
SLOTS_BUSY: Final = Metric(name="slots_busy", kind=Kind.GAUGE, help="Render slots that render.")
RENDER_MEMORY_BYTES: Final = Metric(
    name="render_memory_bytes", kind=Kind.GAUGE, help="Memory for all renders together."
)
RENDER_MEMORY_ADMITTED_BYTES: Final = Metric(
    name="render_memory_admitted_bytes",
    kind=Kind.GAUGE,
    help="Memory foretold for the renders that run, and held by the originals that wait.",
)
STREAM_OPEN: Final = Metric(
    name="stream_open",
    kind=Kind.GAUGE,
    help="1 while the streaming pull is open, or closed by the brake.",
)
REACHABLE: Final = Metric(
    name="reachable",
    kind=Kind.GAUGE,
    help="1 while the service answers.",
    labels=("service",),
    series=tuple((service,) for service in SERVICES),
)
BRAKE_ON: Final = Metric(name="brake_on", kind=Kind.GAUGE, help="1 while the brake is on.")
DRAINING: Final = Metric(name="draining", kind=Kind.GAUGE, help="1 while the worker drains.")
LAST_PROGRESS_SECONDS: Final = Metric(
    name="last_progress_timestamp_seconds",
    kind=Kind.GAUGE,
    help="When a message was acked last, in Unix time; the start before the first.",
)
BUILD_INFO: Final = Metric(
    name="build_info",
    kind=Kind.GAUGE,
    help="Always 1; what runs.",
    labels=("version", "recipe", "python"),
)

ALL: Final = (
    EVENTS,
    STEP_SECONDS,
    DELIVERY_ATTEMPTS,
    DEAD_LETTERS,
    ORIGINAL_BYTES,
    RENDITION_BYTES,
    RENDER_CPU_SECONDS,
    IN_FLIGHT,
    IN_FLIGHT_LIMIT,
    OLDEST_LEASE_SECONDS,
    SLOTS,
    SLOTS_BUSY,
    RENDER_MEMORY_BYTES,
    RENDER_MEMORY_ADMITTED_BYTES,
    STREAM_OPEN,
    REACHABLE,
    BRAKE_ON,
    DRAINING,
    LAST_PROGRESS_SECONDS,
    BUILD_INFO,
)
