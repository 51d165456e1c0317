"""The embedded broker: an in-memory Pub/Sub server, FOR DEVELOPMENT AND TESTS ONLY.

It lets `photo-worker local` and the tests run on a machine without Java, Docker and the Google
Cloud CLI. It keeps everything in memory, trusts everybody, and listens on the loopback interface.
Point Google's clients at it with `PUBSUB_EMULATOR_HOST`.

This module starts, listens and stops.
"""

from __future__ import annotations

import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import grpc

from worker.lab.emulator.records import Faults
from worker.lab.emulator.rpc import THREADS, BrokerCalls
from worker.lab.emulator.shared import SharedBroker

__all__ = ["BrokerStartError", "EmbeddedBroker", "Faults"]

log = logging.getLogger(__name__)

_HOST = "127.0.0.1"
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Without this, a second broker on the same port would silently take half of the connections.
    ("grpc.so_reuseport", 0),
    # Accept clients that ping an idle stream to keep it alive.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    # Without these pings, a client that vanished would keep its share of the messages for ever.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
]


class BrokerStartError(RuntimeError):
    """The embedded broker could not listen on its port."""


class EmbeddedBroker:
    """An in-memory Pub/Sub server for development and tests; a context manager. Thread-safe.

    Args:
        port: the port to listen on; 0 takes a free port.
        faults: misbehaviour on purpose, for tests.
    """

    def __init__(self, port: int = 0, *, faults: Faults | None = None) -> None:
        self._port = port
        self._faults = faults or Faults()
        self._running: contextlib.ExitStack | None = None

    def start(self) -> Self:
        """Listen and serve; idempotent. Raises BrokerStartError if the port is taken."""
        if self._running:
            return self
        with contextlib.ExitStack() as stack:
            self._shared = shared = SharedBroker(self._faults)
            stack.callback(shared.close)
            self._calls = BrokerCalls(shared, self._faults)
            pool = ThreadPoolExecutor(THREADS, "broker")
            stack.callback(pool.shutdown)
            server = grpc.server(pool, handlers=self._calls.handlers(), options=_OPTIONS)
            try:
                self._port = server.add_insecure_port(f"{_HOST}:{self._port}")
            except RuntimeError as error:
                raise BrokerStartError(
                    f"The embedded broker cannot listen on {_HOST}:{self._port}; is the port "
                    "taken? Choose another one, or 0 for any that is free"
                ) from error
            server.start()
            # Stop without a grace period, because a connected client would delay the end.
            stack.callback(lambda: server.stop(None).wait())
            self._running = stack.pop_all()
        log.info("embedded broker on %s, in memory, for development and tests only", self.address)
        return self

    @property
    def address(self) -> str:
        """Return `HOST:PORT`, for `PUBSUB_EMULATOR_HOST`; the port is final after `start`."""
        return f"{_HOST}:{self._port}"

    @property
    def open_streams(self) -> int:
        """Return the number of StreamingPull calls that are open, as far as the server noticed."""
        return self._calls.open_streams

    def stop(self) -> None:
        """End all calls at once and drop all state; idempotent."""
        if self._running:
            self._running.close()
            self._running = None

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()
