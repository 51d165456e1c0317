"""The embedded broker: an in-memory Pub/Sub server, FOR DEVELOPMENT AND TESTS ONLY.

It lets `photo-worker local` and the tests run where there is neither Java nor Docker nor the Google
Cloud CLI. Nothing is stored, nobody is authenticated, and it listens on the loopback interface
unless told otherwise. Point Google's clients at it with `PUBSUB_EMULATOR_HOST`.

Owns starting, listening and stopping. The calls are in `worker.lab.emulator.rpc`, what becomes of a
message in `worker.lab.emulator.broker` and `worker.lab.emulator.subscription`.

    python -m worker.lab.emulator.server --port 8085
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import grpc

from worker.lab.emulator.records import Faults
from worker.lab.emulator.rpc import THREADS, BrokerCalls
from worker.lab.emulator.shared import SharedBroker

__all__ = ["BrokerStartError", "EmbeddedBroker", "Faults", "main"]

log = logging.getLogger(__name__)

_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Otherwise a second broker on the same port would silently take half of the connections.
    ("grpc.so_reuseport", 0),
    # Clients that ping an idle stream to keep it alive are not to be turned away for it.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    # A client that vanished without a word would keep its share of the messages for ever.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
]


class BrokerStartError(RuntimeError):
    """The embedded broker could not listen on its address."""


class EmbeddedBroker:
    """An in-memory Pub/Sub server for development and tests; a context manager. Thread-safe.

    Args:
        port: to listen on; 0 takes a free one.
        host: the interface.
        faults: misbehaviour on purpose, for tests.
        clock: monotonic seconds for leases and rests; after moving one that is not real time, call
            `tick`.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        faults: Faults | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._port = port
        self._host = host
        self._faults = faults or Faults()
        self._clock = clock
        self._running: contextlib.ExitStack | None = None

    def start(self) -> Self:
        """Listen and serve; idempotent. Raises BrokerStartError if the port is taken."""
        if self._running:
            return self
        with contextlib.ExitStack() as stack:
            self._shared = SharedBroker(self._clock, self._faults)
            stack.callback(self._shared.close)
            self._calls = BrokerCalls(self._shared, self._faults)
            pool = ThreadPoolExecutor(THREADS, "broker")
            stack.callback(pool.shutdown)
            server = grpc.server(pool, handlers=self._calls.handlers(), options=_OPTIONS)
            try:
                port = server.add_insecure_port(f"{self._host}:{self._port}")
            except RuntimeError as error:
                raise BrokerStartError(
                    f"The embedded broker cannot listen on {self._host}:{self._port}; is the port "
                    "taken? Choose another one, or 0 for any that is free"
                ) from error
            self._port = port
            server.start()
            # Without grace: a client that stays connected would hold up the end.
            stack.callback(lambda: server.stop(None).wait())
            self._running = stack.pop_all()
        log.info(
            "embedded broker on %s, for development and tests only: nothing is stored",
            self.address,
        )
        return self

    @property
    def address(self) -> str:
        """`HOST:PORT`, for `PUBSUB_EMULATOR_HOST`; the port is final once started."""
        return f"{self._host}:{self._port}"

    @property
    def open_streams(self) -> int:
        """How many StreamingPull calls are open now, as far as the server noticed."""
        return self._calls.open_streams

    def tick(self) -> None:
        """Carry out what the clock says is due now: expired leases, ended rests, dead letters."""
        self._shared.tick()

    def stop(self) -> None:
        """End all calls at once and forget everything; idempotent."""
        if self._running:
            self._running.close()
            self._running = None

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; the address is the one line on standard output."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=8085, help="0 takes a free one (default: 8085)")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    # Blocked before any thread starts, and then waited for: a handler that sets an event can run in
    # the moment before the main thread goes to sleep on it, which then sleeps for ever.
    ends = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        with EmbeddedBroker(options.port, host=options.host) as broker:
            sys.stdout.write(f"{broker.address}\n")
            sys.stdout.flush()
            signal.sigwait(ends)
    except BrokerStartError as error:
        log.error("%s", error)  # noqa: TRY400
        return 1
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return 0


if __name__ == "__main__":
    sys.exit(main())
