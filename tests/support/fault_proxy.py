"""A network that misbehaves as told: an HTTP/1.1 proxy before a real server.

One request is one index, counted from the last `arm`. All is in order, so that a test can put
each fault at each request in turn.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from io import BufferedReader
from typing import Self

_CHUNK_BYTES = 1 << 16
_HOP_HEADERS = frozenset({"connection", "content-length", "transfer-encoding"})


class Fault(StrEnum):
    """What becomes of one request. Up to `CUT_UPLOAD` the server sees at most half of it."""

    STATUS_408 = "408"
    STATUS_429 = "429"
    STATUS_500 = "500"
    STATUS_503 = "503"
    RESET = "reset"
    """The connection is reset."""
    HANG_UP = "hang-up"
    """The connection is closed in good order, without an answer."""
    HANG = "hang"
    """The answer is held back until the client gives up."""
    CUT_UPLOAD = "cut-upload"
    """The server gets half of the body, then the end of the connection."""

    LOST = "lost"
    """It took effect, and then the connection is reset without an answer."""
    HANG_AFTER = "hang-after"
    """It took effect; the answer is held back until the client gives up."""
    CUT_HEAD = "cut-head"
    """It took effect; of the answer comes the first line, then the end of the connection."""
    TRUNCATE = "truncate"
    """It took effect; the answer's body ends early."""
    STALL = "stall"
    """Half of what is downloaded comes; the rest is held back until the client gives up."""
    FLIP = "flip"
    """Of what is downloaded, one byte is another."""
    SLOW = "slow"
    """It took effect; the answer's body trickles."""

    def fits(self, request: Request) -> bool:
        """Whether this can happen to such a request."""
        if self in {Fault.FLIP, Fault.STALL}:
            return request.is_download
        return self is not Fault.CUT_UPLOAD or request.is_upload


STATUSES = (Fault.STATUS_408, Fault.STATUS_429, Fault.STATUS_500, Fault.STATUS_503)
_INSTEAD = frozenset({*STATUSES, Fault.RESET, Fault.HANG_UP, Fault.HANG, Fault.CUT_UPLOAD})


@dataclass(kw_only=True)
class Request:
    """One request as it came; `status` is the server's answer to it, 0 without one."""

    method: str
    path: str
    body: bytes = field(repr=False)
    status: int = 0
    fault: Fault | None = None

    def __str__(self) -> str:
        name = f" of {self.uploaded}" if self.is_upload else ""
        return f"{self.method} {self.path}{name}, answered {self.status}"

    @property
    def is_upload(self) -> bool:
        return self.path.startswith("/upload/")

    @property
    def uploaded(self) -> str:
        """The name of the object that is uploaded, which is in the body."""
        found = re.search(rb'"name": ?"([^"]*)"', self.body)
        return found[1].decode() if self.is_upload and found else ""

    @property
    def is_download(self) -> bool:
        return "alt=media" in self.path and self.status == http.client.OK


@dataclass(frozen=True, kw_only=True)
class _Message:
    """A whole request or answer."""

    first_line: str
    headers: list[tuple[str, str]]
    body: bytes

    def head(self) -> bytes:
        headers = [each for each in self.headers if each[0].lower() not in _HOP_HEADERS]
        headers.append(("Content-Length", str(len(self.body))))
        lines = [self.first_line, *(f"{name}: {value}" for name, value in headers)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


class _Then(Enum):
    """What becomes of a connection behind an answer."""

    KEEP = auto()
    CLOSE = auto()
    RESET = auto()


class FaultProxy:
    """Stands before the server at a URL; a context manager.

    `before` is called with each request before anything becomes of it, in the connection's thread.
    `refusal` may answer it in the server's place: by a status, a content type and a body.
    `position` is the byte of a body at which `TRUNCATE`, `STALL` and `FLIP` happen, by default in
    its middle. A `SLOW` body comes in `pieces`, each after `pause_seconds`.
    """

    def __init__(self, upstream: str, *, upload_bytes_per_second: int | None = None) -> None:
        """Listen on a free port; with `upload_bytes_per_second`, behind a link so slow."""
        self.before: Callable[[Request], None] = lambda _: None
        self.refusal: Callable[[Request], tuple[int, str, bytes] | None] = lambda _: None
        self.position: int | None = None
        self.pieces = 3
        self.pause_seconds = 0.005
        self.requests: list[Request] = []
        self._upstream = upstream.removeprefix("http://").rstrip("/")
        self._rate = upload_bytes_per_second
        self._plan: tuple[int, tuple[Fault, ...], bool] = (0, (), False)
        self._broken: list[Exception] = []
        self._lock = threading.Lock()
        self._clients: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        if upload_bytes_per_second is not None:
            # Otherwise the kernel takes megabytes at once, and the link is as fast as ever.
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _CHUNK_BYTES)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._start(self._accept)

    def arm(self, at: int, *faults: Fault, lasting: bool = False) -> None:
        """Count from 0 again; request `at` meets the first fault, each further one the next.

        `lasting`: the last fault stays until `heal`.
        """
        with self._lock:
            self.requests = []
            self._plan = (at, faults, lasting)

    def heal(self) -> None:
        """End all faults."""
        with self._lock:
            self._plan = (0, (), False)

    @property
    def met(self) -> list[Fault]:
        """The faults that happened, in order."""
        return [request.fault for request in self.requests if request.fault is not None]

    def stop(self) -> None:
        """End every connection. What went wrong behind the proxy's back is raised here."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()
        if self._broken:
            raise ExceptionGroup("the proxy met faults that nobody ordered", self._broken)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                # Or a body that is sent in pieces waits 40 ms for the client's acknowledgement.
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._clients.add(client)
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        upstream = http.client.HTTPConnection(self._upstream, timeout=30)
        then = _Then.KEEP
        reader = client.makefile("rb")
        # The client may hang up whenever it likes; that is what most of these tests are about.
        with contextlib.suppress(ConnectionError):
            while then is _Then.KEEP and (message := self._read(reader)) is not None:
                then = self._handle(message, client, upstream)
        # The descriptor lives as long as its reader, so that one goes first.
        with contextlib.suppress(OSError):
            reader.close()
        if then is _Then.RESET:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with self._lock:
            self._clients.discard(client)
        client.close()
        upstream.close()

    def _read(self, reader: BufferedReader) -> _Message | None:
        first_line = reader.readline().decode("latin-1").rstrip()
        if not first_line:
            return None  # the client has hung up, as it does below within a body
        headers: list[tuple[str, str]] = []
        size = 0
        # By hand: http.client parses a head as an e-mail, which takes longer than the rest here.
        while line := reader.readline().decode("latin-1").rstrip():
            name, _, value = line.partition(": ")
            headers.append((name, value))
            if name.lower() == "content-length":
                size = int(value)
        body = self._body(reader, size)
        if len(body) < size:
            return None
        return _Message(first_line=first_line, headers=headers, body=body)

    def _body(self, reader: BufferedReader, size: int) -> bytes:
        if self._rate is None:
            return reader.read(size)
        body = bytearray()
        while len(body) < size and (piece := reader.read(min(_CHUNK_BYTES, size - len(body)))):
            body += piece
            time.sleep(len(piece) / self._rate)  # the link itself, not a wait for something
        return bytes(body)

    def _handle(
        self, message: _Message, client: socket.socket, upstream: http.client.HTTPConnection
    ) -> _Then:
        request, fault = self._admit(message)
        try:
            self.before(request)
        except Exception as error:  # noqa: BLE001 (whatever the test's hook raises, `stop` tells)
            self._broken.append(error)
            return _Then.RESET
        if (refused := self.refusal(request)) is not None:
            request.status = refused[0]
            client.sendall(_status(*refused))
            return _Then.KEEP
        if fault is not None and (then := self._refuse(fault, request, message, client)):
            return then
        if fault is Fault.HANG_AFTER:
            request.fault = fault  # as above
        try:
            answer = self._forward(request, message, upstream)
        except (OSError, http.client.HTTPException) as error:
            self._broken.append(error)
            return _Then.RESET
        if fault is not None and not fault.fits(request):
            fault = None
        request.fault = fault
        return self._answer(fault, answer, client)

    def _admit(self, message: _Message) -> tuple[Request, Fault | None]:
        method, path, _ = message.first_line.split(" ", 2)
        request = Request(method=method, path=path, body=message.body)
        with self._lock:
            at, faults, lasting = self._plan
            turn = len(self.requests) - at
            self.requests.append(request)
        if turn < 0 or not faults:
            return request, None
        if turn >= len(faults):
            return request, faults[-1] if lasting else None
        return request, faults[turn]

    def _refuse(
        self, fault: Fault, request: Request, message: _Message, client: socket.socket
    ) -> _Then | None:
        """What happens instead of forwarding, if that is what this fault is."""
        if fault not in _INSTEAD or not fault.fits(request):
            return None
        # Noted first: the client may give up, and the test look, before this thread goes on.
        request.fault = fault
        match fault:
            case Fault.RESET:
                return _Then.RESET
            case Fault.HANG_UP:
                return _Then.CLOSE
            case Fault.HANG:
                return _hang(client)
            case Fault.CUT_UPLOAD:
                self._forward_half(message)
                return _Then.RESET
            case _:
                reason = http.client.responses[int(fault)]
                body = json.dumps({"error": {"code": int(fault), "message": reason}}).encode()
                client.sendall(_status(int(fault), "application/json", body))
                return _Then.KEEP

    def _forward(
        self, request: Request, message: _Message, upstream: http.client.HTTPConnection
    ) -> _Message:
        headers = {name: value for name, value in message.headers if name.lower() != "host"}
        upstream.request(request.method, request.path, message.body or None, headers)
        with upstream.getresponse() as answer:
            request.status = answer.status
            return _Message(
                first_line=f"HTTP/1.1 {answer.status} {answer.reason}",
                headers=answer.getheaders(),
                body=answer.read(),
            )

    def _forward_half(self, message: _Message) -> None:
        host, _, port = self._upstream.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=30) as server:
            server.sendall(message.head() + message.body[: len(message.body) // 2])
            server.shutdown(socket.SHUT_WR)
            # To the end, so that whatever the server makes of it is done before the next request.
            with contextlib.suppress(ConnectionError):
                while server.recv(_CHUNK_BYTES):
                    pass

    def _answer(self, fault: Fault | None, answer: _Message, client: socket.socket) -> _Then:
        head, body = answer.head(), answer.body
        at = len(body) // 2 if self.position is None else self.position
        match fault:
            case None:
                client.sendall(head + body)
            case Fault.LOST:
                return _Then.RESET
            case Fault.HANG_AFTER:
                return _hang(client)
            case Fault.CUT_HEAD:
                client.sendall(head[: head.index(b"\n") + 1])
                return _Then.CLOSE
            case Fault.TRUNCATE:
                client.sendall(head + body[:at])
                return _Then.CLOSE
            case Fault.STALL:
                client.sendall(head + body[:at])
                return _hang(client)
            case Fault.FLIP:
                client.sendall(head + body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])
            case Fault.SLOW:
                client.sendall(head)
                step = math.ceil(len(body) / self.pieces) or 1
                for start in range(0, len(body), step):
                    time.sleep(self.pause_seconds)  # the fault itself, not a wait for something
                    client.sendall(body[start : start + step])
            case _:
                raise AssertionError(f"{fault} comes before forwarding")
        return _Then.KEEP


def _hang(client: socket.socket) -> _Then:
    """Stay silent until the client, or the test, ends the connection."""
    while client.recv(_CHUNK_BYTES):
        pass
    return _Then.CLOSE


def _status(code: int, content_type: str, body: bytes) -> bytes:
    answer = _Message(
        first_line=f"HTTP/1.1 {code} {http.client.responses[code]}",
        headers=[("Content-Type", content_type)],
        body=body,
    )
    return answer.head() + body
