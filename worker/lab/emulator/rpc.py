"""The embedded broker's gRPC calls: unary ones, pulls that wait, and streams.

This module handles clients that wait, leave or break, and the threads that serve them; the other
calls are in `wire`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NoReturn

import grpc

from worker.lab.emulator.broker import Broker
from worker.lab.emulator.records import BrokerError, Faults, InvalidArgumentError
from worker.lab.emulator.shared import SharedBroker
from worker.lab.emulator.wire import UNARY_CALLS, Pb, UnaryCall, received_messages, type_of

log = logging.getLogger(__name__)

STREAM_THREADS = 128
THREADS = STREAM_THREADS + 128
"""Waiting pulls hold a thread too; further calls queue until a thread is free."""

PULL_SECONDS = 60.0
"""The longest time that a pull without a deadline waits for a message."""

PULL_MARGIN_SECONDS = 1.0
"""A pull gives up so long before its deadline, so that its empty response arrives in time."""

STREAM_BATCH_MESSAGES = 1000


class _StreamReset(BrokerError):
    """The stream ends by an injected fault; the client made no error."""

    status = "UNAVAILABLE"


class _TooManyStreams(BrokerError):
    """All threads of the server are taken."""

    status = "RESOURCE_EXHAUSTED"


class _Stream:
    """One StreamingPull: a thread of the server sends, a second one reads acks and deadlines."""

    def __init__(self, shared: SharedBroker, first: Pb, reset_after: int | None) -> None:
        """Attach to the subscription that the first request names. Raises BrokerError."""
        if not first.subscription:
            raise InvalidArgumentError("The first request must set subscription")
        self.ended = False
        self._shared = shared
        self._name = first.subscription
        self._remaining = reset_after
        self._refusal: BrokerError | None = None
        with shared.locked() as broker:
            self._consumer = broker.attach(
                first.subscription,
                lease_seconds=first.stream_ack_deadline_seconds,
                max_messages=first.max_outstanding_messages,
                max_bytes=first.max_outstanding_bytes,
            )
            try:
                self._apply(broker, first)
            except BrokerError:
                broker.detach(self._consumer)
                raise

    def responses(self) -> Iterator[Pb]:
        """Yield responses until the stream ends. Raises BrokerError for what the client did."""
        while deliveries := self._next_deliveries():
            yield type_of["StreamingPullResponse"](received_messages=deliveries)

    def end(self, refusal: BrokerError | None = None) -> None:
        """Leave the subscription, and let the sending thread end the call; idempotent."""
        with self._shared.locked() as broker:
            self.ended = True
            self._refusal = self._refusal or refusal
            broker.detach(self._consumer)

    def read(self, requests: Iterator[Pb]) -> None:
        """Carry out the client's requests until it closes its side, breaks or breaks the rules."""
        refusal: BrokerError | None = None
        try:
            for request in requests:
                if request.subscription:
                    refusal = InvalidArgumentError("Only the first request may set subscription")
                    break
                with self._shared.locked() as broker:
                    self._apply(broker, request)
        except BrokerError as error:
            refusal = error
        except grpc.RpcError:
            log.debug("a stream on %s broke", self._name)
        self.end(refusal)

    def _next_deliveries(self) -> list[Pb]:
        """Wait for messages; an empty list is the end."""
        if self._remaining == 0:
            raise _StreamReset("Injected fault: stream reset")
        limit = STREAM_BATCH_MESSAGES if self._remaining is None else self._remaining
        with self._shared.locked() as broker:
            while not self.ended:
                if deliveries := broker.take(self._consumer, limit):
                    if self._remaining is not None:
                        self._remaining -= len(deliveries)
                    return received_messages(deliveries)
                self._shared.wait(self._name)
            if self._refusal:
                raise self._refusal
        return []

    def _apply(self, broker: Broker, request: Pb) -> None:
        if len(request.modify_deadline_ack_ids) != len(request.modify_deadline_seconds):
            raise InvalidArgumentError("Ack ids and deadlines must have the same size")
        if request.stream_ack_deadline_seconds:
            broker.change_lease(self._consumer, request.stream_ack_deadline_seconds)
        if request.ack_ids:
            broker.acknowledge(self._name, request.ack_ids)
        deadlines = zip(
            request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=True
        )
        for ack_id, seconds in deadlines:
            broker.modify_ack_deadline(self._name, [ack_id], seconds)


class BrokerCalls:
    """The gRPC calls, as handlers for a server with a pool of `THREADS`. Thread-safe."""

    def __init__(self, shared: SharedBroker, faults: Faults) -> None:
        self._shared = shared
        self._faults = faults
        self._streams: set[_Stream] = set()

    @property
    def open_streams(self) -> int:
        """Return the number of StreamingPull calls that are open, as far as the server noticed."""
        with self._shared.locked():
            return len(self._streams)

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Return a handler for each service."""
        methods: dict[str, dict[str, grpc.RpcMethodHandler]] = {
            service: {
                method: _unary_handler(request, partial(self._unary, call))
                for method, (request, call) in calls.items()
            }
            for service, calls in UNARY_CALLS.items()
        }
        methods["Subscriber"]["Pull"] = _unary_handler("PullRequest", self._pull)
        methods["Subscriber"]["StreamingPull"] = grpc.stream_stream_rpc_method_handler(
            self._streaming_pull,
            request_deserializer=type_of["StreamingPullRequest"].FromString,
            response_serializer=_serialize,
        )
        return [
            grpc.method_handlers_generic_handler(f"google.pubsub.v1.{service}", handlers)
            for service, handlers in methods.items()
        ]

    def _unary(self, call: UnaryCall, request: Pb, context: grpc.ServicerContext) -> Pb | None:
        try:
            with self._shared.locked() as broker:
                return call(broker, request)
        except BrokerError as error:
            _refuse(context, error)

    def _pull(self, request: Pb, context: grpc.ServicerContext) -> Pb:
        """Return ready messages; wait for them until shortly before the call's deadline."""
        try:
            if request.max_messages <= 0:
                raise InvalidArgumentError("No max_messages specified")
            deliveries = self._await_deliveries(request, context)
        except BrokerError as error:
            _refuse(context, error)
        return type_of["PullResponse"](received_messages=deliveries)

    def _await_deliveries(self, request: Pb, context: grpc.ServicerContext) -> list[Pb]:
        left = context.time_remaining()
        seconds = PULL_SECONDS if left is None else left - min(PULL_MARGIN_SECONDS, left / 4)
        # The client's deadline is in real time, so this does not use the broker's clock.
        give_up = time.monotonic() + (0.0 if request.return_immediately else seconds)
        name = request.subscription
        is_gone = threading.Event()

        def leave() -> None:
            with self._shared.locked():
                is_gone.set()
                self._shared.wake(name)

        if not context.add_callback(leave):
            return []
        with self._shared.locked() as broker:
            consumer = broker.attach(name)
            try:
                while not is_gone.is_set():
                    if deliveries := broker.take(consumer, request.max_messages):
                        return received_messages(deliveries)
                    if (wait_seconds := give_up - time.monotonic()) <= 0:
                        break
                    self._shared.wait(name, wait_seconds)
            finally:
                broker.detach(consumer)
        return []

    def _streaming_pull(
        self, requests: Iterator[Pb], context: grpc.ServicerContext
    ) -> Iterator[Pb]:
        first = next(requests, None)
        if first is None:
            return
        try:
            stream = self._open(first, context)
            reader = threading.Thread(
                target=stream.read, args=(requests,), name="broker-stream", daemon=True
            )
            reader.start()
            yield from stream.responses()
        except BrokerError as error:
            _refuse(context, error)

    def _open(self, first: Pb, context: grpc.ServicerContext) -> _Stream:
        stream = _Stream(self._shared, first, self._faults.reset_stream_after)
        with self._shared.locked():
            self._streams.add(stream)
            is_full = len(self._streams) > STREAM_THREADS

        def leave() -> None:
            stream.end()
            with self._shared.locked():
                self._streams.discard(stream)

        # Leave at the end of the call. The generator of a killed client stays suspended, and would
        # keep its share of the messages.
        if not context.add_callback(leave):
            leave()
        if is_full:
            # Without this limit, streams take all threads, and acks wait for a thread.
            raise _TooManyStreams(f"More than {STREAM_THREADS} open streams")
        return stream


def _unary_handler(
    request: str, behaviour: Callable[[Pb, grpc.ServicerContext], Pb | None]
) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(
        behaviour,
        request_deserializer=type_of[request].FromString,
        response_serializer=_serialize,
    )


def _serialize(response: Pb | None) -> bytes:
    # An empty message has zero bytes.
    return b"" if response is None else bytes(response.SerializeToString())


def _refuse(context: grpc.ServicerContext, error: BrokerError) -> NoReturn:
    context.abort(grpc.StatusCode[error.status], str(error))
    raise AssertionError  # abort raised
