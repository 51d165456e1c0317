"""A proxy that simulates a distant server: it delays the first byte of each answer.

The proxy copies bytes. It relies on one fact of HTTP: a request comes before its answer, also on a
connection that stays open. Google's client for Cloud Storage does not pipeline.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from typing import Self

_CHUNK_BYTES = 1 << 18


class LatencyProxy(socketserver.ThreadingTCPServer):
    """Forwards each connection to a server, in two threads of its own; a context manager.

    Attributes:
        address: where it listens, `HOST:PORT` on the loopback interface.
        target: the server's host and port.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, target: str, latency_seconds: float) -> None:
        host, _, port = target.rpartition(":")
        self.target = (host, int(port))
        self.latency_seconds = latency_seconds
        super().__init__(("127.0.0.1", 0), _Connection)
        self.address = f"127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        """Serve."""
        threading.Thread(target=self.serve_forever, daemon=True, name="latency").start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening; open connections last until one of their sides ends."""
        self.shutdown()
        self.server_close()


class _Connection(socketserver.BaseRequestHandler):
    """One connection: a thread for the requests, and this one for the answers."""

    server: LatencyProxy

    def handle(self) -> None:
        self._asked = threading.Event()
        with contextlib.suppress(OSError), socket.create_connection(self.server.target) as back:
            for each in (self.request, back):
                # A request in two writes would wait for an acknowledgement between them.
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pass_requests, args=(back,), daemon=True).start()
            while data := back.recv(_CHUNK_BYTES):
                if self._asked.is_set():
                    self._asked.clear()
                    time.sleep(self.server.latency_seconds)
                self.request.sendall(data)

    def _pass_requests(self, back: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := self.request.recv(_CHUNK_BYTES):
                self._asked.set()
                back.sendall(data)
            back.shutdown(socket.SHUT_WR)
