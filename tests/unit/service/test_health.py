"""Health over real HTTP: the answers, and clients that are silent, slow or many."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from http import HTTPStatus
from typing import Any

import pytest

from tests.support.fakes import recording_log
from tests.support.stubs import Parts
from tests.support.waiting import eventually
from worker.service import health
from worker.service.health import CONNECTIONS, HealthServer
from worker.service.liveness import Phase
from worker.telemetry.counters import Counters


class Probe:
    """A health server on a free port, over stubs that a test can change."""

    def __init__(self) -> None:
        self.parts = Parts()
        self.liveness = self.parts.liveness
        self.counters = Counters()
        self.log, self.entries = recording_log()
        self.server = HealthServer(0, self.liveness, self.counters, self.log)
        self.server.start()
        self.port = self.server.port

    def ask(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def get(self, path: str) -> tuple[int, dict[str, bool]]:
        response, body = self.ask(path)
        if response.getheader("Content-Type") != "application/json":
            return response.status, {}
        return response.status, json.loads(body)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


@pytest.fixture
def probe() -> Iterator[Probe]:
    probe = Probe()
    yield probe
    probe.server.stop()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("phase", "path", "status"),
    [
        (Phase.STARTING, "/healthz", 200),
        (Phase.STARTING, "/readyz", 503),
        (Phase.RUNNING, "/healthz", 200),
        (Phase.RUNNING, "/readyz", 200),
        (Phase.DRAINING, "/readyz", 503),
        (Phase.STARTING, "/metrics", 200),
        (Phase.RUNNING, "/nowhere", 404),
    ],
)
def test_every_answer_has_its_status_and_is_stored_by_nobody(
    probe: Probe, method: str, phase: Phase, path: str, status: int
) -> None:
    probe.liveness.enter(phase)
    response, body = probe.ask(path, method)
    assert response.status == status
    assert response.getheader("Cache-Control") == "no-store"
    assert int(response.getheader("Content-Length") or 0) > 0
    assert bool(body) is (method == "GET")


def test_a_head_is_all_that_head_gets(probe: Probe) -> None:
    with probe.connect() as client:
        client.sendall(b"HEAD /metrics HTTP/1.0\r\n\r\n")
        said = b""
        while some := client.recv(4096):
            said += some
    assert said.endswith(b"\r\n\r\n")
    assert said.count(b"\r\n\r\n") == 1


def test_the_answer_says_which_condition_fails(probe: Probe) -> None:
    probe.liveness.enter(Phase.RUNNING)
    probe.parts.pool.alive = probe.parts.pool.serving = False
    assert probe.get("/readyz") == (
        503,
        {
            "running": True,
            "stream_open": True,
            "pool_alive": False,
            "pubsub_reachable": True,
            "storage_reachable": True,
            "brake_off": True,
        },
    )
    assert probe.get("/healthz") == (
        503,
        {"can_progress": False, "daemon_looks": True, "nothing_stuck": True},
    )


def test_a_query_is_let_pass(probe: Probe) -> None:
    assert probe.get("/healthz?verbose=1")[0] == 200
    assert probe.ask("/metrics?name[]=x")[0].status == 200


@pytest.mark.parametrize("path", ["/", "/healthz/", "/metrics2", "/../healthz", "/<script>"])
def test_other_paths_are_not_found_and_not_repeated(probe: Probe, path: str) -> None:
    response, body = probe.ask(path)
    assert response.status == 404
    assert response.getheader("Content-Type") == "text/plain; charset=utf-8"
    assert b"/healthz, /readyz and /metrics" in body
    assert b"script" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_nothing_can_be_changed(probe: Probe, method: str) -> None:
    response, body = probe.ask("/healthz", method)
    assert response.status == 405
    assert response.getheader("Allow") == "GET, HEAD"
    assert body == b"405 Method Not Allowed\n"


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"nonsense", 400),
        (b"GET /healthz HTTP/9.9", 505),
        (b"GET /" + b"x" * 70_000, 414),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 200, 431),
    ],
)
def test_nonsense_is_answered_in_plain_words(
    probe: Probe, request_line: bytes, status: int
) -> None:
    with probe.connect() as client:
        client.sendall(request_line + b"\r\n\r\n")
        said = b""
        while b"\r\n\r\n" not in said and (some := client.recv(4096)):
            said += some
    # A request without a version is answered without a head, as HTTP/0.9 has it.
    assert f"{status} {HTTPStatus(status).phrase}".encode() in said
    assert b"<html" not in said.lower()
    assert b"Python" not in said


def test_the_format_of_metrics_is_agreed_upon(probe: Probe) -> None:
    response, body = probe.ask("/metrics")
    assert response.getheader("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
    assert b"# EOF" not in body
    response, body = probe.ask(
        "/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0,*/*;q=0.1"}
    )
    assert str(response.getheader("Content-Type")).startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_probes_leave_no_trace_in_the_log(probe: Probe, capsys: pytest.CaptureFixture[str]) -> None:
    probe.get("/healthz")
    probe.ask("/nowhere", "POST")
    assert capsys.readouterr().err == ""
    assert probe.entries == []


def test_an_answer_that_fails_is_logged_and_said_to_have_failed(probe: Probe) -> None:
    class Broken:
        def collect(self) -> Any:
            raise ZeroDivisionError

    probe.counters.add(Broken())
    assert probe.ask("/metrics")[0].status == 500
    (entry,) = probe.entries
    assert entry["level"] == "error"
    assert entry["exc_info"]
    assert probe.get("/healthz")[0] == 200


def test_a_client_that_leaves_early_is_no_news(
    probe: Probe, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(5):
        client = probe.connect()
        # Reset instead of closed: the answer meets a connection that is gone.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        client.close()
    eventually(lambda: not probe.server._server._accepted, "all are gone", seconds=10)
    assert probe.get("/healthz")[0] == 200
    assert capsys.readouterr().err == ""


def test_a_crowd_that_says_nothing_keeps_nobody_out(
    probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "REQUEST_SECONDS", 1000.0)
    monkeypatch.setattr(health._HealthHandler, "timeout", None)
    with ExitStack() as crowd:
        clients = [crowd.enter_context(probe.connect()) for _ in range(3 * CONNECTIONS)]
        assert probe.get("/healthz")[0] == 200
        # The oldest have been cut off, not the prober.
        assert clients[0].recv(1) == b""
        eventually(
            lambda: len(probe.server._server._accepted) <= CONNECTIONS, "few are kept", seconds=10
        )


@pytest.mark.parametrize("said", [b"", b"GET /heal", b"GET /healthz HTTP/1.1\r\nHost: "])
def test_who_does_not_finish_is_cut_off(
    probe: Probe, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(health, "REQUEST_SECONDS", 0.2)
    with probe.connect() as client:
        client.sendall(said)
        assert client.recv(1) == b""


def test_who_goes_on_slowly_is_cut_off_too(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "REQUEST_SECONDS", 0.3)

    with probe.connect() as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nX: ")

        def cut_off() -> bool:
            try:
                client.sendall(b"x")
            except OSError:
                return True
            return False

        eventually(cut_off, "each byte does not buy more time", seconds=10)


def test_a_taken_port_is_an_error_at_once(probe: Probe) -> None:
    with pytest.raises(OSError, match="in use"):
        HealthServer(probe.port, probe.liveness, probe.counters, probe.log)


def test_a_stopped_server_has_closed_its_port(probe: Probe) -> None:
    other = HealthServer(0, probe.liveness, Counters(), probe.log)
    other.start()
    other.stop()
    connection = http.client.HTTPConnection("127.0.0.1", other.port, timeout=10)
    with pytest.raises(ConnectionRefusedError):
        connection.request("GET", "/healthz")
    connection.close()
