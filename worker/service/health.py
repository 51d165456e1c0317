"""Health over HTTP: `/healthz`, `/readyz` and `/metrics` on one port.

The port keeps answering: the server closes a silent or slow connection after five seconds, and the
oldest connection when there are too many. `liveness` decides what healthy means; `counters` and
`gauges` have the metrics.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final

from worker.service.liveness import Liveness
from worker.telemetry.counters import Counters
from worker.telemetry.logs import Log

REQUEST_SECONDS: Final = 5.0
"""The longest time from the connection to the end of the answer; it usually takes milliseconds."""

CONNECTIONS: Final = 32
"""Connections at once, each with a thread. A prober and a few scrapers need a handful."""

_LOOK_SECONDS: Final = 0.1

_TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The response to a client."""

    status: HTTPStatus
    content_type: str
    body: bytes


def conditions(found: dict[str, bool]) -> Answer:
    """Return 200 if all conditions hold, otherwise 503, with the conditions as JSON."""
    return Answer(
        status=HTTPStatus.OK if all(found.values()) else HTTPStatus.SERVICE_UNAVAILABLE,
        content_type="application/json",
        body=json.dumps(found).encode(),
    )


def scraped(counters: Counters, accept: str) -> Answer:
    """Return all metrics in a format that the client reads."""
    body, content_type = counters.text(accept)
    return Answer(status=HTTPStatus.OK, content_type=content_type, body=body)


def _plain(status: HTTPStatus) -> Answer:
    """Return a status as text. The text repeats no part of the request."""
    text = f"{status.value} {status.phrase}\n"
    if status is HTTPStatus.NOT_FOUND:
        text += "there are /healthz, /readyz and /metrics\n"
    return Answer(status=status, content_type=_TEXT, body=text.encode())


class _HealthHandler(BaseHTTPRequestHandler):
    """A handler of one request; the connection ends after the answer."""

    answers: ClassVar[dict[str, Callable[[str], Answer]]]
    log: ClassVar[Log]
    server_version = "photo-worker"
    sys_version = ""
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:
        self._send(self._answer(), with_body=True)

    def do_HEAD(self) -> None:
        self._send(self._answer(), with_body=False)

    def _answer(self) -> Answer:
        answer = self.answers.get(self.path.partition("?")[0])
        if answer is None:
            return _plain(HTTPStatus.NOT_FOUND)
        try:
            return answer(self.headers.get("Accept", ""))
        except Exception:
            self.log.exception("a health check could not be answered")
            return _plain(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _send(self, answer: Answer, *, with_body: bool) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if with_body:
            self.wfile.write(answer.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a malformed request. The base class would repeat parts of it in the answer."""
        del message, explain
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED:
            status = HTTPStatus.METHOD_NOT_ALLOWED
        self.close_connection = True
        self._send(_plain(status), with_body=self.command != "HEAD")

    def log_message(self, *_: object) -> None:
        """Log nothing, because probes come every few seconds."""


class _HealthHttpServer(ThreadingHTTPServer):
    """A server with a thread for each connection, and limits on their time and number."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 4 * CONNECTIONS

    def __init__(self, port: int, handler: type[_HealthHandler]) -> None:
        self._lock = threading.Lock()
        self._accepted: dict[socket.socket, float] = {}
        super().__init__(("", port), handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 (as above it)
        with self._lock:
            self._accepted[request] = time.monotonic()
            crowd = list(self._accepted)[:-CONNECTIONS]
        # Close the oldest connections, so that a prober can always connect.
        self._cut_off(crowd)
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Close late connections; the accepting thread calls this several times a second."""
        too_old = time.monotonic() - REQUEST_SECONDS
        with self._lock:
            late = [each for each, since in self._accepted.items() if since < too_old]
        self._cut_off(late)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401
        with self._lock:
            self._accepted.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, *_: object) -> None:
        """Log nothing, because a client may disconnect early."""

    def _cut_off(self, connections: list[socket.socket]) -> None:
        """Shut connections down, which ends their threads."""
        for connection in connections:
            with self._lock:
                if self._accepted.pop(connection, None) is None:
                    continue
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client has already closed it


class HealthServer:
    """The server of `/healthz` and `/readyz` (200 or 503, conditions as JSON) and `/metrics`."""

    def __init__(self, port: int, liveness: Liveness, counters: Counters, log: Log) -> None:
        """Bind the port, or any free one for 0.

        Raises:
            OSError: the port is taken.
        """

        class Handler(_HealthHandler):
            answers: ClassVar[dict[str, Callable[[str], Answer]]] = {
                "/healthz": lambda _: conditions(liveness.alive()),
                "/readyz": lambda _: conditions(liveness.ready()),
                "/metrics": lambda accept: scraped(counters, accept),
            }

        Handler.log = log
        self._server = _HealthHttpServer(port, Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_LOOK_SECONDS,), daemon=True, name="health"
        )

    @property
    def port(self) -> int:
        """The port that is bound."""
        return self._server.server_port

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
