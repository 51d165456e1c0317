"""A metadata server as VMs of Google's have one, for `instance/preempted`, with faults on request.

Speaks the documented protocol: the flavor header both ways, an etag with each value, and the
hanging GET (`wait_for_change`, `last_etag`, `timeout_sec`). `faults` are spent first, one for each
request.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

PATH = "/computeMetadata/v1/instance/preempted"

Fault = Callable[["Handler"], None]


class MetadataServer:
    """One VM's; `preempt` gives the notice. Thread-safe."""

    def __init__(self, *, preempted: bool = False) -> None:
        self.faults: deque[Fault] = deque()
        self.requests: list[dict[str, str]] = []
        self._value = preempted
        self._version = 1
        self._changed = threading.Condition()
        self._closed = False
        self._hanging = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._server.metadata = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.host = f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def preempt(self) -> float:
        """Give the notice; the moment."""
        self._set(preempted=True)
        return time.monotonic()

    def touch(self) -> None:
        """A new etag with the same value."""
        self._set(preempted=self._value)

    @property
    def hanging(self) -> int:
        """Requests that wait for a change right now."""
        with self._changed:
            return self._hanging

    def _set(self, *, preempted: bool) -> None:
        with self._changed:
            self._value = preempted
            self._version += 1
            self._changed.notify_all()

    def answer(self, query: dict[str, str]) -> tuple[str, str]:
        """The value and its etag, once the query is to be answered."""
        with self._changed:
            self.requests.append(query)
            if query.get("wait_for_change") == "true":
                self._hanging += 1
                self._changed.wait_for(
                    lambda: self._closed or query.get("last_etag") != f"{self._version:016x}",
                    timeout=float(query.get("timeout_sec", "600")),
                )
                self._hanging -= 1
            return ("TRUE" if self._value else "FALSE"), f"{self._version:016x}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        metadata: MetadataServer = self.server.metadata  # type: ignore[attr-defined]
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if metadata.faults:
            metadata.requests.append(query)
            metadata.faults.popleft()(self)
        elif self.headers.get("Metadata-Flavor") != "Google":
            self.send_error(403)
        elif parts.path != PATH:
            self.send_error(404)
        else:
            self.reply(200, *metadata.answer(query))

    def reply(self, status: int, body: str, etag: str, **headers: str) -> None:
        data = body.encode()
        own = {"Metadata-Flavor": "Google", "ETag": etag, "Content-Length": str(len(data))}
        with contextlib.suppress(OSError):  # whoever asked has gone
            self.send_response(status)
            for name, value in (own | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Keep standard error clean."""


def unavailable(handler: Handler) -> None:
    """As the real one is during maintenance."""
    handler.reply(503, "TRUE", "x")


def not_google(handler: Handler) -> None:
    """A captive portal, or anybody's web server, that happens to say TRUE."""
    handler.reply(200, "TRUE", "x", **{"Metadata-Flavor": "none"})


def nonsense(handler: Handler) -> None:
    handler.reply(200, "<html>", "x")


def redirect(handler: Handler) -> None:
    """To a place that would say TRUE."""
    handler.reply(302, "TRUE", "x", Location="/elsewhere")


def cut(handler: Handler) -> None:
    """The connection ends without an answer."""
    handler.connection.shutdown(socket.SHUT_RDWR)


def cut_in_mid_answer(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nMetadata-Fl")
    handler.connection.shutdown(socket.SHUT_RDWR)


def false_at_once(handler: Handler) -> None:
    """FALSE with another etag, whatever was asked: a server whose hanging GET does not hang."""
    handler.reply(200, "FALSE", "never-the-same")
