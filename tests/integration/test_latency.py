"""The latency proxy before a real HTTP server: later, and otherwise the same."""

from __future__ import annotations

import hashlib
import http.client
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.support.http_server import Handler, HttpServer
from worker.lab.bench.latency import LatencyProxy

LATENCY_SECONDS = 0.1
PIECE = bytes(range(256)) * 4096
PIECES = 100
POOLED = 50
LARGE_BYTES = len(PIECE) * PIECES


class Echo(Handler):
    """Answers a POST with what its body hashes to, and a GET with a hundred megabytes.

    A POST to `/together` is answered once there are `POOLED` of them.
    """

    protocol_version = "HTTP/1.1"

    together = threading.Barrier(POOLED, timeout=60)

    def do_POST(self) -> None:  # noqa: N802
        if self.path == "/together":
            self.together.wait()
        left, found = int(self.headers["Content-Length"]), hashlib.sha256()
        while left:
            data = self.rfile.read(min(left, 1 << 16))
            found.update(data)
            left -= len(data)
        self.reply(200, found.hexdigest().encode())

    def do_GET(self) -> None:  # noqa: N802
        self.send_response(200)
        self.send_header("Content-Length", str(LARGE_BYTES))
        self.end_headers()
        for _ in range(PIECES):
            self.wfile.write(PIECE)


@pytest.fixture
def proxy() -> Iterator[LatencyProxy]:
    with HttpServer(Echo) as server, LatencyProxy(server.address, LATENCY_SECONDS) as proxy:
        yield proxy


def ask(connection: http.client.HTTPConnection, body: bytes, path: str = "/") -> float:
    began = time.monotonic()
    connection.request("POST", path, body)
    answer = connection.getresponse()
    assert answer.read().decode() == hashlib.sha256(body).hexdigest()
    return time.monotonic() - began


def test_each_answer_on_a_kept_connection_is_later(proxy: LatencyProxy) -> None:
    with closing(http.client.HTTPConnection(proxy.address)) as connection:
        taken = [ask(connection, b"x" * size) for size in (1, 100_000, 1)]
        assert connection.sock is not None, "the connection was kept"
    assert min(taken) >= LATENCY_SECONDS


def test_large_bodies_pass_both_ways_unharmed_and_are_late_once(proxy: LatencyProxy) -> None:
    with closing(http.client.HTTPConnection(proxy.address)) as connection:
        ask(connection, PIECE * 20)
        connection.request("GET", "/")
        answer, read = connection.getresponse(), 0
        found, expected = hashlib.sha256(), hashlib.sha256()
        while data := answer.read(1 << 20):
            found.update(data)
            read += len(data)
    for _ in range(PIECES):
        expected.update(PIECE)
    assert read == LARGE_BYTES
    assert found.digest() == expected.digest()


def test_pooled_connections_wait_beside_each_other(proxy: LatencyProxy) -> None:
    def one(_: int) -> float:
        with closing(http.client.HTTPConnection(proxy.address)) as connection:
            return ask(connection, b"x", "/together")

    with ThreadPoolExecutor(POOLED) as threads:
        taken = list(threads.map(one, range(POOLED)))
    assert min(taken) >= LATENCY_SECONDS


def test_a_client_that_goes_away_leaves_the_others_alone(proxy: LatencyProxy) -> None:
    connection = http.client.HTTPConnection(proxy.address)
    connection.request("GET", "/")
    connection.close()
    with closing(http.client.HTTPConnection(proxy.address)) as other:
        ask(other, b"x")
