"""Health over real HTTP: the conditions of being alive and ready, by phase."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import cast

import pytest

from worker.brake import Brake
from worker.consumer import Consumer
from worker.health import HealthServer, Phase, Pulse
from worker.reachability import Reachability
from worker.renderer import RenderPool


class StubConsumer:
    open = True


class StubPool:
    alive = True
    serving = True


class StubReachability:
    reachable = True


class StubBrake:
    on = False


class Probe:
    """A health server on a free port, over stubs that a test can change."""

    def __init__(self) -> None:
        self.consumer = StubConsumer()
        self.pool = StubPool()
        self.pubsub = StubReachability()
        self.storage = StubReachability()
        self.brake = StubBrake()
        self.pulse = Pulse(
            cast("Consumer", self.consumer),
            cast("RenderPool", self.pool),
            cast("Reachability", self.pubsub),
            cast("Reachability", self.storage),
            cast("Brake", self.brake),
        )
        self.server = HealthServer(0, self.pulse)
        self.server.start()
        self.port = self.server._server.server_port

    def get(self, path: str) -> tuple[int, dict[str, bool]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            if response.getheader("Content-Type") != "application/json":
                return response.status, {}
            return response.status, json.loads(body)
        finally:
            connection.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Probe]:
    probe = Probe()
    yield probe
    probe.server.stop()


@pytest.fixture
def probe(server: Probe) -> Probe:
    server.pulse.phase = Phase.STARTING
    server.consumer.open = server.pool.alive = server.pool.serving = True
    server.pubsub.reachable = server.storage.reachable = True
    server.brake.on = False
    return server


@pytest.mark.parametrize(
    ("phase", "stream_open", "pool_alive", "ready", "alive"),
    [
        (Phase.STARTING, False, False, 503, 200),
        (Phase.STARTING, True, True, 503, 200),
        (Phase.RUNNING, True, True, 200, 200),
        (Phase.RUNNING, False, True, 503, 503),
        (Phase.RUNNING, True, False, 503, 200),
        (Phase.DRAINING, False, True, 503, 200),
        (Phase.DRAINING, True, True, 503, 200),
    ],
)
def test_alive_and_ready_by_phase(
    probe: Probe, phase: Phase, *, stream_open: bool, pool_alive: bool, ready: int, alive: int
) -> None:
    probe.pulse.phase = phase
    probe.consumer.open = stream_open
    probe.pool.alive = pool_alive
    assert probe.get("/readyz")[0] == ready
    assert probe.get("/healthz")[0] == alive


def test_the_answer_says_which_condition_fails(probe: Probe) -> None:
    probe.pulse.phase = Phase.RUNNING
    probe.pool.alive = probe.pool.serving = False
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
    assert probe.get("/healthz") == (503, {"can_progress": False})


@pytest.mark.parametrize("service", ["pubsub", "storage"])
def test_a_stuck_network_is_unready_and_not_dead(probe: Probe, service: str) -> None:
    probe.pulse.phase = Phase.RUNNING
    getattr(probe, service).reachable = False
    status, conditions = probe.get("/readyz")
    assert status == 503
    assert [name for name, holds in conditions.items() if not holds] == [f"{service}_reachable"]
    assert probe.get("/healthz")[0] == 200


def test_the_brake_makes_it_unready_and_not_dead(probe: Probe) -> None:
    probe.pulse.phase = Phase.RUNNING
    probe.brake.on = True
    status, conditions = probe.get("/readyz")
    assert status == 503
    assert [name for name, holds in conditions.items() if not holds] == ["brake_off"]
    assert probe.get("/healthz") == (200, {"can_progress": True})


def test_a_query_is_let_pass(probe: Probe) -> None:
    assert probe.get("/healthz?verbose=1")[0] == 200


@pytest.mark.parametrize("path", ["/", "/healthz/", "/metrics2", "/../healthz"])
def test_other_paths_are_not_found(probe: Probe, path: str) -> None:
    assert probe.get(path)[0] == 404


def test_probes_leave_no_trace_in_the_log(probe: Probe, capsys: pytest.CaptureFixture[str]) -> None:
    probe.get("/healthz")
    assert capsys.readouterr().err == ""


def test_a_taken_port_is_an_error_at_once(probe: Probe) -> None:
    with pytest.raises(OSError, match="in use"):
        HealthServer(probe.port, probe.pulse)


def test_a_stopped_server_has_closed_its_port(probe: Probe) -> None:
    other = HealthServer(0, probe.pulse)
    other.start()
    port = other._server.server_port
    other.stop()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with pytest.raises(ConnectionRefusedError):
        connection.request("GET", "/healthz")
    connection.close()


def test_a_pool_whose_slots_are_lost_is_not_alive(probe: Probe) -> None:
    probe.pulse.phase = Phase.RUNNING
    probe.pool.serving = False
    assert probe.get("/healthz")[0] == 503
