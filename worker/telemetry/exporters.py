"""Exporters send the spans: OpenTelemetry's SDK, set up by the standard `OTEL_*` variables.

Tracing is off, and the SDK is not imported, unless `OTEL_TRACES_EXPORTER` names an exporter. If the
collector does not answer, the spans are lost and the log says so now and then; messages are not
delayed.
"""

from __future__ import annotations

import difflib
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from worker import __version__
from worker.errors import ConfigurationError
from worker.photo.ports import BatchPublisher, Renderer
from worker.telemetry.redaction import REDACTED
from worker.telemetry.spans import UNTRACED, Tracer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

FLUSH_SECONDS: Final = 2.0
"""The time for the last spans, after all messages are settled; a spot VM has little time."""

SAY_AGAIN_SECONDS: Final = 600.0

_VARIABLE: Final = "OTEL_TRACES_EXPORTER"
_GROUP: Final = "opentelemetry_traces_exporter"
_BY_PROTOCOL: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_PACKAGES: Final = {
    "otlp_proto_http": "photo-worker[otlp] (opentelemetry-exporter-otlp-proto-http)",
    "otlp_proto_grpc": "opentelemetry-exporter-otlp-proto-grpc, or set "
    "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf and install photo-worker[otlp]",
}

Say = Callable[[str], object]


class Tracing:
    """Wrappers that add spans to parts of the worker; while tracing is off, they change nothing.

    Thread-safe. `say` gets a text when spans are lost.
    """

    def __init__(self, provider: TracerProvider | None, say: Say) -> None:
        self._provider = provider
        self._say = say
        self._tracer = provider.get_tracer("photo-worker", __version__) if provider else None

    def events(self, subscription: str) -> Tracer:
        """Return the tracer of this subscription's deliveries."""
        if self._tracer is None:
            return UNTRACED
        from worker.telemetry.tracing import EventTracer

        return EventTracer(self._tracer, subscription)

    def publisher(self, publisher: BatchPublisher) -> BatchPublisher:
        """Return a publisher that sends a trace with each message."""
        if self._tracer is None:
            return publisher
        from worker.telemetry.tracing import TracedPublisher

        return TracedPublisher(publisher, self._tracer)

    def renderer(self, renderer: Renderer) -> Renderer:
        """Return a renderer that makes a span for each render."""
        if self._tracer is None:
            return renderer
        from worker.telemetry.tracing import TracedRenderer

        return TracedRenderer(renderer, self._tracer)

    def close(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Send the last spans; return True if this ended within `seconds`."""
        if self._provider is None:
            return True
        # The SDK itself would wait for the time-outs of a silent collector.
        flushing = threading.Thread(target=self._provider.force_flush, daemon=True)
        flushing.start()
        flushing.join(seconds)
        if flushing.is_alive():
            self._say(f"the last spans could not be sent within {seconds:g} s")
        return not flushing.is_alive()


def open_tracing(environment: Mapping[str, str], say: Say) -> Tracing:
    """Set tracing up as the environment says; it may be off.

    The SDK reads its other variables from the process's own environment. Its warnings go to `say`,
    a few an hour.

    Raises:
        ConfigurationError: an exporter is unknown, not installed, or wrongly set.
    """
    names = [each.strip() for each in environment.get(_VARIABLE, "").split(",") if each.strip()]
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or not set(names) - {"none"}:
        return Tracing(None, say)
    _listen(lambda text: say(_without_headers(text, environment)))
    exporters = [_exporter(name, environment) for name in names if name != "none"]

    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    usual: dict[str, Any] = {
        "service.name": "photo-worker",
        "service.version": __version__,
        "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
    }
    # `create` prefers its arguments to the environment, so add the environment's attributes here.
    resource = Resource.create(usual | dict(OTELResourceDetector().detect().attributes))
    try:
        # The provider's own shutdown would wait for a silent collector; `close` does not.
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    except ValueError as error:
        raise ConfigurationError([str(error)]) from error
    for exporter in exporters:
        try:
            provider.add_span_processor(BatchSpanProcessor(exporter))
        except ValueError as error:
            raise ConfigurationError([f"OTEL_BSP_*: {error}"]) from error
    return Tracing(provider, say)


def traced(
    publisher: BatchPublisher, stack: ExitStack, environment: Mapping[str, str] = os.environ
) -> BatchPublisher:
    """Return the publisher of a verb, with traces if the environment turns them on.

    When `stack` closes, the last spans are sent.

    Raises:
        ConfigurationError: see `open_tracing`.
    """
    tracing = open_tracing(environment, _say_on_standard_error)
    stack.callback(tracing.close)
    return tracing.publisher(publisher)


def _say_on_standard_error(text: str) -> None:
    sys.stderr.write(f"photo-worker: traces are lost: {text}\n")


def _exporter(name: str, environment: Mapping[str, str]) -> Any:  # noqa: ANN401 (a plug-in's)
    entry = _entry_name(name, environment)
    found = list(entry_points(group=_GROUP, name=entry))
    if not found:
        raise ConfigurationError([f"{_VARIABLE}={name!r}: {_remedy(entry)}"])
    try:
        make = found[0].load()
        # Standard output is for a verb's result.
        return make(out=sys.stderr) if entry == "console" else make()
    except Exception as error:
        raise ConfigurationError(
            [f"{_VARIABLE}={name!r}: the exporter cannot be set up ({error}); see OTEL_EXPORTER_*"]
        ) from error


def _entry_name(name: str, environment: Mapping[str, str]) -> str:
    if name != "otlp":
        return name
    # Without a protocol, the SDK takes gRPC where the specification says http/protobuf.
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if protocol := environment.get(variable, "").strip():
            if protocol not in _BY_PROTOCOL:
                raise ConfigurationError(
                    [f"{variable}={protocol!r}: must be one of {', '.join(_BY_PROTOCOL)}"]
                )
            return _BY_PROTOCOL[protocol]
    return "otlp_proto_http"


def _remedy(entry: str) -> str:
    if package := _PACKAGES.get(entry):
        return f"that exporter is not installed; install {package}"
    known = sorted({"otlp", "none", *(each.name for each in entry_points(group=_GROUP))})
    near = difflib.get_close_matches(entry, known, n=1)
    return f"no such exporter; {f'did you mean {near[0]}? ' if near else ''}there are {known}"


def _listen(say: Say) -> None:
    """Send the SDK's own log only to `say`."""
    logger = logging.getLogger("opentelemetry")
    logger.handlers, logger.propagate = [RateLimited(say)], False


def _without_headers(text: str, environment: Mapping[str, str]) -> str:
    """Replace headers in a text: they hold keys, and the SDK quotes a header it cannot read."""
    for name, value in environment.items():
        if name.startswith("OTEL_EXPORTER_OTLP_") and name.endswith("HEADERS"):
            for header in filter(None, map(str.strip, value.split(","))):
                text = text.replace(header, REDACTED)
    return text


class RateLimited(logging.Handler):
    """A log handler that passes on one warning in `SAY_AGAIN_SECONDS`.

    The SDK warns with each batch. `clock` gives monotonic seconds.
    """

    def __init__(self, say: Say, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._say = say
        self._clock = clock
        self._said_at: float | None = None
        self._unsaid = 0

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`, which holds a lock during this call."""
        now = self._clock()
        if self._said_at is not None and now - self._said_at < SAY_AGAIN_SECONDS:
            self._unsaid += 1
            return
        more = f" (and {self._unsaid} more complaints before)" if self._unsaid else ""
        self._said_at, self._unsaid = now, 0
        self._say(f"{record.getMessage()}{more}")
