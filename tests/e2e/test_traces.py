"""Traces of real processes, as a collector receives them over OTLP."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.e2e.stage import Stage
from tests.support.http_server import Handler, HttpServer
from tests.support.pictures import corners_jpeg
from tests.support.waiting import eventually

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(HttpServer):
    """Keeps the spans that are posted to `/v1/traces`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[tuple[str, Span]] = []
        collector = self

        class Traces(Handler):
            def do_POST(self) -> None:  # noqa: N802
                collector.keep(self.path, self.rfile.read(int(self.headers["Content-Length"])))
                self.reply(200)

        super().__init__(Traces)
        self.url = f"http://{self.address}"

    def keep(self, path: str, body: bytes) -> None:
        assert path == "/v1/traces"
        request = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            for sent in request.resource_spans:
                resource = {each.key: each.value.string_value for each in sent.resource.attributes}
                for scope in sent.scope_spans:
                    self._spans += [(resource["service.name"], span) for span in scope.spans]

    def spans(self, name: str | None = None) -> list[tuple[str, Span]]:
        """Services and spans so far, of one name or all."""
        with self._lock:
            return [each for each in self._spans if name in (None, each[1].name)]


def attributes_of(span: Span) -> dict[str, Any]:
    return {
        each.key: getattr(each.value, str(each.value.WhichOneof("value")))
        for each in span.attributes
    }


def want_traces(stage: Stage, url: str) -> None:
    stage.environment |= {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }


def test_one_trace_from_the_register_verb_to_the_outcome(stage: Stage, tmp_path: Path) -> None:
    source = tmp_path / "a.jpg"
    source.write_bytes(corners_jpeg(700, 500))
    with Collector() as collector:
        want_traces(stage, collector.url)
        stage.environment["GOOGLE_CLOUD_PROJECT"] = "wedding"
        worker = stage.worker(ladder="320,512,full").wait_until_running()
        (published,) = stage.verb("register", str(source), OTEL_SERVICE_NAME="gallery")
        stage.wait_for("a.jpg", "ready", published["version"])
        eventually(lambda: worker.lines("handled"), "it is acked")
        worker.signal()
        assert worker.wait(30) == 0
        spans = collector.spans()

    assert {span.trace_id for _, span in spans} == {spans[0][1].trace_id}
    (handled,) = worker.lines("handled")
    trace_id = spans[0][1].trace_id.hex()
    assert handled["logging.googleapis.com/trace"] == f"projects/wedding/traces/{trace_id}"
    names = {span.span_id: span.name for _, span in spans}
    assert {span.name: names.get(span.parent_span_id) for _, span in spans} == {
        "send photos": None,
        "process photos": "send photos",
        "read_manifest": "process photos",
        "download": "process photos",
        "render_and_upload": "process photos",
        "render": "render_and_upload",
        "upload": "render_and_upload",
        "last_uploads": "render_and_upload",
        "commit": "process photos",
        "clean_up": "process photos",
        "outcome": "process photos",
        "send outcomes": "outcome",
    }
    services = {span.name: service for service, span in spans}
    assert services.pop("send photos") == "gallery"
    assert set(services.values()) == {"photo-worker"}
    for _, span in spans:
        parent = next((each for _, each in spans if each.span_id == span.parent_span_id), span)
        assert parent.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
    whole = next(span for _, span in spans if span.name == "process photos")
    facts = attributes_of(whole)
    assert facts["messaging.system"] == "gcp_pubsub"
    assert facts["messaging.message.id"] == published["message_id"]
    assert facts["photo_worker.outcome"] == "registered"
    uploads = [attributes_of(span) for _, span in spans if span.name == "upload"]
    assert {upload["photo_worker.rung"] for upload in uploads} == {"320", "512", "full"}
    (outcome,) = stage.pull(stage.outcomes, 1)
    sent = next(span for _, span in spans if span.name == "send outcomes")
    assert sent.span_id.hex() in outcome.attributes["traceparent"]


def test_a_dead_letter_carries_its_publishers_trace_on(stage: Stage) -> None:
    with Collector() as collector:
        want_traces(stage, collector.url)
        worker = stage.worker().wait_until_running()
        stage.publish(b"no event", googclient_traceparent=f"00-{TRACE}-{PARENT}-01")
        (letter,) = stage.pull(stage.dead_letters, 1)
        worker.signal()
        assert worker.wait(30) == 0
        ((_, whole),) = collector.spans("process photos")
        ((_, sending),) = collector.spans("send dead-letters")
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == (TRACE, PARENT)
    assert whole.status.code == Status.STATUS_CODE_ERROR
    assert whole.status.message == "invalid_event"
    assert letter.attributes["traceparent"].split("-")[1:3] == [TRACE, sending.span_id.hex()]
    assert letter.attributes["googclient_traceparent"] == letter.attributes["traceparent"]


def test_a_replay_is_a_trace_of_its_own_that_points_to_the_one_that_ended(stage: Stage) -> None:
    stage.environment["WORKER_DEAD_LETTER_SUBSCRIPTION"] = stage.dead_letters
    with Collector() as collector:
        want_traces(stage, collector.url)
        worker = stage.worker().wait_until_running()
        stage.publish(b"no event", traceparent=f"00-{TRACE}-{PARENT}-01")
        eventually(lambda: worker.lines("handled", outcome="rejected"), "it is dead-lettered")
        stage.verb("dead-letters", "replay", "--canary", "0")
        eventually(lambda: len(worker.lines("handled")) == 2, "its replay is handled")
        worker.signal()
        assert worker.wait(30) == 0
        ((_, sending),) = collector.spans("send photos")
        (ended, again) = (span for _, span in collector.spans("process photos"))
    assert ended.trace_id.hex() == TRACE
    assert again.trace_id == sending.trace_id != ended.trace_id
    assert again.parent_span_id == sending.span_id
    assert [link.trace_id.hex() for link in sending.links] == [TRACE]


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
def test_a_collector_that_is_not_there_costs_neither_photos_nor_the_drain(
    stage: Stage, *, silent: bool
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        # Bound and listening; connections stay in the queue.
        if not silent:
            server.socket.close()
        want_traces(stage, f"http://127.0.0.1:{server.server_address[1]}")
        worker = stage.worker(ladder="320").wait_until_running()
        for n in range(8):
            stage.register(f"photo-{n}", 1, corners_jpeg(400, 300))
        for n in range(8):
            stage.wait_for(f"photo-{n}", "ready", 1)
        eventually(lambda: len(worker.lines("handled")) == 8, "all are acked")
        worker.signal()
        assert worker.wait(20) == 0
    assert worker.lines("stopped", in_time=True)
    complaints = worker.lines("traces are lost")
    assert 1 <= len(complaints) <= 2, worker.text()
    assert all(line["severity"] == "WARNING" for line in complaints)
    assert "Traceback" not in worker.text()
    assert stage.take_all(stage.dead_letters) == []
