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
from urllib.parse import parse_qs, urlsplit

from tests.support.http_server import Handler, HttpServer

PATH = "/computeMetadata/v1/instance/preempted"

Fault = Callable[["MetadataHandler"], None]


class MetadataServer(HttpServer):
    """One VM's; `preempt` gives the notice. Thread-safe."""

    def __init__(self, *, preempted: bool = False) -> None:
        super().__init__(type("OfThisVm", (MetadataHandler,), {"metadata": self}))
        self.host = self.address
        self.faults: deque[Fault] = deque()
        self.requests: list[dict[str, str]] = []
        self._value = preempted
        self._version = 1
        self._changed = threading.Condition()
        self._closed = False
        self._hanging = 0

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        super().__exit__()

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


class MetadataHandler(Handler):
    metadata: MetadataServer

    def do_GET(self) -> None:  # noqa: N802
        metadata = self.metadata
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
            self.say(200, *metadata.answer(query))

    def say(self, status: int, value: str, etag: str, **headers: str) -> None:
        with contextlib.suppress(OSError):  # the client has gone
            self.reply(
                status, value.encode(), **{"Metadata-Flavor": "Google", "ETag": etag, **headers}
            )


def unavailable(handler: MetadataHandler) -> None:
    """As the real one is during maintenance."""
    handler.say(503, "TRUE", "x")


def not_google(handler: MetadataHandler) -> None:
    """A captive portal, or anybody's web server, that happens to say TRUE."""
    handler.say(200, "TRUE", "x", **{"Metadata-Flavor": "none"})


def nonsense(handler: MetadataHandler) -> None:
    handler.say(200, "<html>", "x")


def redirect(handler: MetadataHandler) -> None:
    """To a place that would say TRUE."""
    handler.say(302, "TRUE", "x", Location="/elsewhere")


def cut(handler: MetadataHandler) -> None:
    """The connection ends without an answer."""
    handler.connection.shutdown(socket.SHUT_RDWR)


def cut_in_mid_answer(handler: MetadataHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nMetadata-Fl")
    handler.connection.shutdown(socket.SHUT_RDWR)


def false_at_once(handler: MetadataHandler) -> None:
    """FALSE with another etag, whatever was asked: a server whose hanging GET does not hang."""
    handler.say(200, "FALSE", "never-the-same")
