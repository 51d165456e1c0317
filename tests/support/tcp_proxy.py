"""A network that can be frozen: a TCP proxy between a port of its own and a server."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class _Connection:
    """One client's connection; what flows through it waits at its gate."""

    def __init__(self, client: socket.socket, target: tuple[str, int], *, flows: bool) -> None:
        self.gate = threading.Event()
        if flows:
            self.gate.set()
        self.forgotten = False
        self.closed = False
        self._target = target
        self._sockets = [client]
        self._threads = [threading.Thread(target=self._connect, args=(client,), daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self.closed = True
        self.gate.set()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for each in self._sockets:
            each.close()

    def _connect(self, client: socket.socket) -> None:
        self.gate.wait()
        if self.closed:
            return
        with contextlib.suppress(OSError):
            server = socket.create_connection(self._target, timeout=10)
            server.settimeout(None)
            self._sockets.append(server)
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            self._threads.append(back)
            back.start()
            self._pump(client, server)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        """Pass on bytes, and the end, as long as the gate is open."""
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(1 << 16)
                self.gate.wait()
                if self.closed:
                    return
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)


class TcpProxy:
    """Forwards between `address` and a server, unless it is frozen; a context manager."""

    def __init__(self, target: str) -> None:
        """Listen on a free port of the loopback interface; `target` is `HOST:PORT`."""
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._lock = threading.Lock()
        self._connections: list[_Connection] = []
        self._frozen = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def freeze(self) -> None:
        """Accept and keep all connections open, and let not one byte pass."""
        with self._lock:
            self._frozen = True
            for connection in self._connections:
                connection.gate.clear()

    def thaw(self) -> None:
        """Let everything pass again, what was held first."""
        with self._lock:
            self._frozen = False
            for connection in self._connections:
                if not connection.forgotten:
                    connection.gate.set()

    def forget(self) -> None:
        """Let new connections pass; those of before stay open and silent, as with a lost NAT."""
        with self._lock:
            self._frozen = False
            for connection in self._connections:
                connection.forgotten = True
                connection.gate.clear()

    def close(self) -> None:
        """Cut everything."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()
        for connection in self._connections:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with self._lock:
                    connection = _Connection(client, self._target, flows=not self._frozen)
                    self._connections.append(connection)
