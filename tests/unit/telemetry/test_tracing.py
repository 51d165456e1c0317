"""Spans of a dispatcher over the fakes, by the SDK's own exporter in memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode

from tests.support.desk import DEAD_LETTER, OUTCOME, Desk, register_data
from tests.support.fakes import BatchFakePublisher
from tests.support.workers import LAYOUT, RENDITIONS, seed_original
from worker.errors import (
    CorruptOriginal,
    Draining,
    PublishFailed,
    RenderCrashed,
    StorageForbidden,
    WorkerError,
)
from worker.handlers.renditions import Renditions
from worker.photo.ports import OutgoingMessage
from worker.telemetry.propagation import MAX_ATTRIBUTES, read_context, with_context
from worker.telemetry.tracing import EventTracer, TracedPublisher, TracedRenderer

SUBSCRIPTION = "projects/p/subscriptions/photos"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
OTHER = "00-11111111111111111111111111111111-2222222222222222-01"
QUOTED = "https://storage.example/upload?token=secret"


def own(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


class TracedDesk(Desk):
    """A desk whose dispatcher is put together as `service/build` does it."""

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        seed_original(self.store)
        self.spans = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.tracer = provider.get_tracer("test")
        self.sent = BatchFakePublisher()
        self.traced_publisher = TracedPublisher(self.sent, self.tracer)
        self.threads = ThreadPoolExecutor(2)
        self.current: set[int] = set()
        self.renderer = self.worker.renderer
        self.renderer.between = self._look
        self.dispatcher = replace(
            self.dispatcher,
            publisher=self.traced_publisher,
            tracer=EventTracer(self.tracer, SUBSCRIPTION),
            register=replace(
                self.worker.register,
                renderer=TracedRenderer(self.renderer, self.tracer),
                renditions=Renditions(self.store, RENDITIONS, LAYOUT, self.threads),
            ),
        )

    def _look(self) -> None:
        self.current.add(trace.get_current_span().get_span_context().trace_id)

    def finished(self) -> dict[str, ReadableSpan]:
        """The spans by name; of several with one name, the last that ended."""
        return {span.name: span for span in self.spans.get_finished_spans()}

    def parents(self) -> dict[str, str | None]:
        """The parent of each span, by their names; `None` if it is outside of this process."""
        names = {own(span).span_id: span.name for span in self.spans.get_finished_spans()}
        return {
            span.name: names.get(span.parent.span_id) if span.parent else None
            for span in self.spans.get_finished_spans()
        }


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[TracedDesk]:
    desk = TracedDesk(tmp_path)
    yield desk
    desk.threads.shutdown()


def test_an_event_is_one_trace_from_its_publisher_to_its_outcome(desk: TracedDesk) -> None:
    assert desk.handle(register_data(), attributes={"traceparent": PARENT}, attempt=3) == "ack"
    assert desk.parents() == {
        "process photos": None,
        "read_manifest": "process photos",
        "download": "process photos",
        "render_and_upload": "process photos",
        "render": "render_and_upload",
        "upload": "render_and_upload",
        "last_uploads": "render_and_upload",
        "commit": "process photos",
        "clean_up": "process photos",
        "outcome": "process photos",
        "send outcome": "outcome",
    }
    spans = desk.finished()
    whole = spans["process photos"]
    assert whole.parent is not None
    assert f"{whole.parent.span_id:016x}" == SPAN
    assert {f"{own(each).trace_id:032x}" for each in spans.values()} == {TRACE}
    assert desk.current == {int(TRACE, 16)}, "the log finds the trace in the handling thread"
    assert (whole.kind, spans["send outcome"].kind) == (SpanKind.CONSUMER, SpanKind.PRODUCER)
    assert whole.attributes is not None
    assert dict(whole.attributes) == {
        "messaging.system": "gcp_pubsub",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.subscription.name": "photos",
        "messaging.message.id": "m-1",
        "messaging.message.body.size": len(desk.delivery(register_data()).data),
        "messaging.gcp_pubsub.message.delivery_attempt": 3,
        "gcp.project_id": "p",
        "photo_worker.outcome": "registered",
        "photo_worker.type": "photo.register",
        "photo_worker.photo_id": "a",
        "photo_worker.version": 17,
        "photo_worker.bytes_in": 15,
        "photo_worker.bytes_out": sum(
            int(str(each.attributes["photo_worker.bytes"]))
            for each in desk.spans.get_finished_spans()
            if each.name == "upload" and each.attributes
        ),
    }
    assert all(span.status.status_code is StatusCode.UNSET for span in spans.values())


def test_a_render_tells_what_it_took_and_each_upload_its_rung(desk: TracedDesk) -> None:
    desk.handle(register_data())
    render = desk.finished()["render"].attributes
    assert render is not None
    assert render["photo_worker.format"] == "jpeg"
    assert render["photo_worker.pixels"] == 800 * 600
    assert render["photo_worker.cpu_seconds"] == 1.25
    assert render["photo_worker.peak_bytes"] == 1 << 20
    assert render["photo_worker.renditions"] == 3
    uploads = [span for span in desk.spans.get_finished_spans() if span.name == "upload"]
    rungs = {str((span.attributes or {})["photo_worker.rung"]) for span in uploads}
    assert rungs == {"320", "512", "full"}
    assert all((span.attributes or {})["photo_worker.bytes"] for span in uploads)


def test_a_span_of_a_render_is_as_long_as_the_child_had_it(desk: TracedDesk) -> None:
    """The fake says 1.5 s, longer than the render was known: it begins with the request at most."""
    desk.handle(register_data())
    spans = desk.finished()
    render, around = spans["render"], spans["render_and_upload"]
    assert render.start_time is not None
    assert around.start_time is not None
    assert render.start_time >= around.start_time


def test_what_is_sent_carries_the_context_on_in_place_of_the_one_that_came(
    desk: TracedDesk,
) -> None:
    came = {"traceparent": PARENT, "googclient_traceparent": PARENT, "tracestate": "a=1"}
    desk.handle(b"no event", attributes=came | {"tenant": "blue"})
    (letter,) = desk.sent.to(DEAD_LETTER)
    sending = desk.finished()["send dead"]
    context = own(sending)
    expected = f"00-{TRACE}-{context.span_id:016x}-01"
    assert letter.attributes["traceparent"] == expected
    assert letter.attributes["googclient_traceparent"] == expected
    assert letter.attributes["tenant"] == "blue"
    assert desk.parents()["send dead"] == "dead_letter"
    whole = desk.finished()["process photos"]
    assert whole.status.status_code is StatusCode.ERROR
    assert whole.status.description == "invalid_event"
    assert (whole.attributes or {})["photo_worker.outcome"] == "rejected"


@pytest.mark.parametrize(
    ("attributes", "trace_id"),
    [
        ({}, None),
        ({"traceparent": PARENT}, TRACE),
        ({"googclient_traceparent": PARENT}, TRACE),
        ({"googclient_traceparent": PARENT, "traceparent": OTHER}, TRACE),
        ({"googclient_traceparent": "nonsense", "traceparent": PARENT}, TRACE),
        ({"traceparent": "00-" + "0" * 32 + "-" + SPAN + "-01"}, None),
        ({"traceparent": "é\0" * 300}, None),
        ({"tracestate": "a=1"}, None),
    ],
    ids=["none", "plain", "googles", "both", "one-broken", "zeros", "garbage", "state-alone"],
)
def test_whose_context_counts(attributes: dict[str, str], trace_id: str | None) -> None:
    context = read_context(attributes)
    found = trace.get_current_span(context).get_span_context().trace_id if context else None
    assert found == (None if trace_id is None else int(trace_id, 16))


def test_nothing_of_another_trace_is_left_on_a_message(desk: TracedDesk) -> None:
    stale = {"tracestate": "a=1", "googclient_tracestate": "a=1", "traceparent": OTHER}
    span = desk.tracer.start_span("x")
    assert set(with_context(stale, span)) == {"traceparent", "googclient_traceparent"}
    assert OTHER not in with_context(stale, span).values()
    span.end()


def test_a_full_message_is_sent_without_a_trace_rather_than_refused(desk: TracedDesk) -> None:
    span = desk.tracer.start_span("x")
    for count in range(MAX_ATTRIBUTES - 3, MAX_ATTRIBUTES + 1):
        attributes = {f"own-{n}": "1" for n in range(count)}
        carried = with_context(attributes, span)
        assert attributes.items() <= carried.items()
        assert len(carried) <= MAX_ATTRIBUTES
        assert ("traceparent" in carried) == (count < MAX_ATTRIBUTES)
    span.end()


def test_a_replay_is_a_new_trace_that_points_to_the_old(desk: TracedDesk) -> None:
    replayed = {"replay_of": "7", "replay_count": "1", "replay_traceparent": PARENT}
    desk.handle(register_data(), attributes=replayed)
    whole = desk.finished()["process photos"]
    assert whole.parent is None
    assert own(whole).trace_id != int(TRACE, 16)
    (link,) = whole.links
    assert link.context.trace_id == int(TRACE, 16)


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (CorruptOriginal(QUOTED), "CorruptOriginal", "corrupt_original"),
        (StorageForbidden(QUOTED), "StorageForbidden", None),
        (KeyError(QUOTED), "builtins.KeyError", None),
    ],
    ids=["permanent", "transient", "bug"],
)
def test_an_error_is_told_by_its_kind_and_never_by_its_words(
    desk: TracedDesk, error: WorkerError, kind: str, reason: str | None
) -> None:
    desk.renderer.errors.append(error)
    desk.handle(register_data(), attempt=9)
    spans = desk.finished()
    assert spans["render"].status.status_code is StatusCode.ERROR
    for name in ("render", "render_and_upload"):
        assert (spans[name].attributes or {})["error.type"] == kind
        assert spans[name].status.description == reason
    whole = spans["process photos"]
    assert whole.status.status_code is StatusCode.ERROR
    assert (whole.attributes or {})["error.type"] == (reason or kind)
    told = "".join(span.to_json() for span in desk.spans.get_finished_spans())
    assert "secret" not in told
    assert "an original" not in told


def test_what_a_drain_gives_back_is_no_error(desk: TracedDesk) -> None:
    desk.renderer.errors.append(Draining("stop"))
    desk.handle(register_data())
    whole = desk.finished()["process photos"]
    assert whole.status.status_code is StatusCode.UNSET
    assert (whole.attributes or {})["photo_worker.outcome"] == "nacked"
    assert (whole.attributes or {})["error.type"] == "Draining"


def test_a_crashed_render_on_an_early_attempt_is_nacked_with_its_kind(desk: TracedDesk) -> None:
    desk.renderer.errors.append(RenderCrashed("SIGSEGV"))
    assert desk.handle(register_data(), attempt=1) == "nack"
    assert (desk.finished()["render"].attributes or {})["error.type"] == "RenderCrashed"
    assert (desk.finished()["process photos"].attributes or {})["error.type"] == "Transient"


def test_a_failed_publish_is_an_error_of_its_span(desk: TracedDesk) -> None:
    desk.sent.broken.add(OUTCOME)
    assert desk.handle(register_data()) == "nack"
    assert desk.finished()["send outcome"].status.status_code is StatusCode.ERROR


def test_each_message_of_a_batch_has_a_trace_of_its_own(desk: TracedDesk) -> None:
    messages = [OutgoingMessage(data=b"%d" % n, attributes={"n": str(n)}) for n in range(3)]
    desk.traced_publisher.publish_all(OUTCOME, messages)
    spans = desk.spans.get_finished_spans()
    contexts = [own(span) for span in spans]
    assert [span.parent for span in spans] == [None] * 3
    assert len({context.trace_id for context in contexts}) == 3
    assert [message.data for message in desk.sent.messages] == [b"0", b"1", b"2"]
    carried = [
        message.attributes["traceparent"].rpartition("-")[0] for message in desk.sent.messages
    ]
    assert sorted(carried) == sorted(
        f"00-{context.trace_id:032x}-{context.span_id:016x}" for context in contexts
    )
    desk.sent.broken.add(OUTCOME)
    with pytest.raises(PublishFailed):
        desk.traced_publisher.publish_all(OUTCOME, messages)
    failed = desk.spans.get_finished_spans()[3:]
    assert [span.status.status_code for span in failed] == [StatusCode.ERROR] * 3
    assert not trace.get_current_span().get_span_context().is_valid
