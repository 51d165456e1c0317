"""Where spans go: which exporters the environment names, wrong settings, and the last spans."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import EntryPoint

import pytest
from opentelemetry.trace import TraceFlags

from tests.support.desk import OUTCOME
from tests.support.fakes import BatchFakePublisher
from worker.errors import ConfigurationError
from worker.telemetry import exporters
from worker.telemetry.exporters import SAY_AGAIN_SECONDS, RateLimited, open_tracing, traced
from worker.telemetry.spans import UNTRACED


@pytest.fixture
def sdk_log() -> Iterator[logging.Logger]:
    """The SDK's logger, put back afterwards."""
    logger = logging.getLogger("opentelemetry")
    before = logger.handlers, logger.propagate
    yield logger
    logger.handlers, logger.propagate = before


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_TRACES_EXPORTER": ""},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "TRUE"},
        {"OTEL_SERVICE_NAME": "photos", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
    ],
    ids=["nothing", "empty", "none", "disabled", "no-exporter"],
)
def test_off_means_that_every_part_is_what_it_was(environment: dict[str, str]) -> None:
    tracing = open_tracing(environment, pytest.fail)
    publisher = BatchFakePublisher()
    assert tracing.publisher(publisher) is publisher
    assert tracing.events("photos") is UNTRACED
    assert tracing.close()


def test_off_means_that_the_sdk_is_not_even_imported() -> None:
    code = (
        "import sys, worker.service.daemon, worker.telemetry.exporters as e\n"
        "e.open_tracing({}, print)\n"
        "print([m for m in sys.modules"
        " if m.startswith(('opentelemetry.sdk', 'worker.telemetry.tracing'))])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"OTEL_TRACES_EXPORTER": "oltp"}, "did you mean otlp"),
        ({"OTEL_TRACES_EXPORTER": "console,zipkin"}, "'zipkin': no such exporter"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "install opentelemetry-exporter-otlp-proto-grpc",
        ),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL='http/json'",
        ),
    ],
    ids=["typo", "unknown", "grpc", "protocol"],
)
@pytest.mark.usefixtures("sdk_log")
def test_an_exporter_that_is_not_there_is_a_wrong_setting(
    environment: dict[str, str], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        open_tracing(environment, pytest.fail)
    assert len(caught.value.problems) == 1


BROKEN = EntryPoint(
    name="mine", value="no_such_module:Exporter", group="opentelemetry_traces_exporter"
)


@pytest.mark.parametrize(
    ("exporter", "installed", "says"),
    [
        ("otlp", [], r"install photo-worker\[otlp\]"),
        ("mine", [BROKEN], "cannot be set up"),
    ],
)
@pytest.mark.usefixtures("sdk_log")
def test_an_exporter_that_cannot_be_loaded_is_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch, exporter: str, installed: list[EntryPoint], says: str
) -> None:
    monkeypatch.setattr(exporters, "entry_points", lambda **_: installed)
    with pytest.raises(ConfigurationError, match=says):
        open_tracing({"OTEL_TRACES_EXPORTER": exporter}, pytest.fail)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", r"OTEL_BSP_\*: max_queue_size"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "-3", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT must be"),
    ],
)
@pytest.mark.usefixtures("sdk_log")
def test_a_variable_that_is_wrongly_set_is_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=says):
        open_tracing({"OTEL_TRACES_EXPORTER": "console"}, pytest.fail)


def test_a_header_that_cannot_be_read_is_not_quoted(sdk_log: logging.Logger) -> None:
    said: list[str] = []
    headers = "x-api-key 5ecret, other=5ecret 2"
    open_tracing(
        {"OTEL_TRACES_EXPORTER": "console", "OTEL_EXPORTER_OTLP_HEADERS": headers}, said.append
    )
    sdk_log.warning("Header format invalid! %s", "x-api-key 5ecret")
    assert said == ["Header format invalid! [redacted]"]


@pytest.mark.usefixtures("sdk_log")
def test_the_environment_names_the_service_and_chooses_the_samples(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "wedding")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    for sampler, count in (("always_off", 0), ("always_on", 1)):
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
        tracing = open_tracing({"OTEL_TRACES_EXPORTER": "console"}, pytest.fail)
        sent = BatchFakePublisher()
        tracing.publisher(sent).publish(OUTCOME, b"", {})
        assert tracing.close(10)
        shown = capsys.readouterr()
        assert shown.out == "", "standard output is for results"
        assert shown.err.count('"send outcome"') == count
        # What is not sampled here is not to be sampled downstream.
        flags = sent.messages[0].attributes["traceparent"].rpartition("-")[2]
        assert int(flags, 16) & TraceFlags.SAMPLED == count
    assert '"service.name": "wedding"' in shown.err
    assert '"deployment.environment": "test"' in shown.err
    assert '"service.version"' in shown.err


@pytest.mark.usefixtures("sdk_log")
def test_a_verbs_publisher_is_traced_and_its_spans_are_sent_with_the_stack(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sent = BatchFakePublisher()
    with ExitStack() as stack:
        assert traced(sent, stack, {}) is sent
        traced(sent, stack, {"OTEL_TRACES_EXPORTER": "console"}).publish(OUTCOME, b"", {})
    assert capsys.readouterr().err.count('"send outcome"') == 1


def test_a_flush_that_hangs_is_not_waited_for(sdk_log: logging.Logger) -> None:
    said: list[str] = []
    tracing = open_tracing({"OTEL_TRACES_EXPORTER": "console"}, said.append)
    released = threading.Event()

    class Stuck:
        def force_flush(self) -> bool:
            return released.wait(60)

    tracing._provider = Stuck()  # type: ignore[assignment]
    assert not tracing.close(0.01)
    assert said == ["the last spans could not be sent within 0.01 s"]
    released.set()
    assert isinstance(sdk_log.handlers[0], RateLimited)


def test_the_sdks_complaints_are_told_rarely(sdk_log: logging.Logger) -> None:
    said: list[str] = []
    now = 0.0
    sdk_log.handlers, sdk_log.propagate = [RateLimited(said.append, lambda: now)], False
    deep = logging.getLogger("opentelemetry.exporter.otlp.x")
    for _ in range(100):
        deep.error("Failed to export %s", "spans")
        deep.info("nothing")
    assert said == ["Failed to export spans"]
    now = SAY_AGAIN_SECONDS
    deep.warning("again")
    assert said[1:] == ["again (and 99 more complaints before)"]
