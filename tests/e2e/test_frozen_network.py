"""A network that freezes: readiness says so, and the worker goes on by itself when it returns.

Two workers at a time, one with its Pub/Sub frozen and one with its Cloud Storage, so that the
seconds until a worker believes it are waited for once.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.stage import Stage, Worker, set_up
from tests.support.pictures import corners_jpeg, noisy_jpeg
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import eventually
from worker.lab.emulator.server import EmbeddedBroker
from worker.service.reachability import SILENT_SECONDS

NOTICED_SECONDS = SILENT_SECONDS + 10
BACK_SECONDS = 40.0


class Scene:
    """A worker whose way to one service can be frozen."""

    def __init__(self, stage: Stage, variable: str, condition: str, stack: ExitStack) -> None:
        self.stage = stage
        self.condition = condition
        scheme, slashes, address = stage.environment[variable].rpartition("//")
        self.network = stack.enter_context(TcpProxy(address))
        stage.environment[variable] = f"{scheme}{slashes}{self.network.address}"
        self._port = _free_port()

    def start(self) -> Worker:
        self.worker = self.stage.worker(
            http_port=str(self._port), vcpus="1", effort="6", full_effort="6"
        )
        return self.worker

    def get(self, path: str) -> tuple[int, dict[str, bool]]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def failing(self) -> set[str]:
        """The conditions of readiness that do not hold."""
        status, conditions = self.get("/readyz")
        failing = {name for name, holds in conditions.items() if not holds}
        assert (status == 200) == (not failing)
        return failing


def _free_port() -> int:
    with socket.create_server(("", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def scenes(storage_url: str, tmp_path: Path) -> Iterator[list[Scene]]:
    with ExitStack() as stack:
        broker = stack.enter_context(EmbeddedBroker())
        yield [
            Scene(
                stack.enter_context(set_up(broker.address, storage_url, tmp_path)),
                variable,
                condition,
                stack,
            )
            for variable, condition in (
                ("PUBSUB_EMULATOR_HOST", "pubsub_reachable"),
                ("STORAGE_EMULATOR_HOST", "storage_reachable"),
            )
        ]


@pytest.mark.parametrize("forgets", [False, True], ids=["thaws", "forgets"])
def test_a_frozen_network_is_told_and_outlived(scenes: list[Scene], *, forgets: bool) -> None:
    for scene in scenes:
        scene.start()
    for scene in scenes:
        scene.worker.wait_until_running()
        assert scene.failing() == set()
        scene.stage.register("in-flight", 1, noisy_jpeg(2000, 1500))
    for scene in scenes:
        scene.worker.wait_until_rendering()
        scene.network.freeze()
    for scene in scenes:
        scene.stage.register("meanwhile", 1, corners_jpeg(400, 300))

    for scene in scenes:
        eventually(scene.failing, scene.condition, seconds=NOTICED_SECONDS)
        assert scene.failing() == {scene.condition}
        assert scene.get("/healthz")[0] == 200, "a restart would mend nothing"
        assert scene.stage.manifest("meanwhile") is None
        # The log is written a moment later, and not at all if the service is back by then.
        eventually(lambda at=scene: at.worker.lines("unreachable"), "it is told")  # type: ignore[misc]

    for scene in scenes:
        if forgets:
            scene.network.forget()
        else:
            scene.network.thaw()
    for scene in scenes:
        back = scene.condition + " again"
        eventually(lambda at=scene: not at.failing(), back, seconds=BACK_SECONDS)  # type: ignore[misc]
        for photo_id in ("in-flight", "meanwhile"):
            scene.stage.assert_ready_is_true(scene.stage.wait_for(photo_id, "ready", 1))
        told = {
            json.loads(each.data)["photo_id"] for each in scene.stage.pull(scene.stage.outcomes, 2)
        }
        assert told == {"in-flight", "meanwhile"}
        assert not scene.worker.ended(), scene.worker.text()
        assert len(scene.worker.lines("unreachable")) == 1
        (line,) = eventually(lambda at=scene: at.worker.lines("reachable again"), "it is told")  # type: ignore[misc]
        assert line["silent_seconds"] >= SILENT_SECONDS, "it is rounded to tenths"
