"""A network that freezes: readiness says so, and the worker goes on by itself when it returns.

Four workers at a time: Pub/Sub frozen or Cloud Storage, and old connections that come back or
not. So the seconds until a worker believes it are waited for once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.stage import SLOW, Stage, free_port, set_up
from tests.support.pictures import corners_jpeg, noisy_jpeg
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import eventually
from worker.lab.emulator.server import EmbeddedBroker
from worker.service.reachability import SILENT_SECONDS

NOTICED_SECONDS = SILENT_SECONDS + 10
BACK_SECONDS = 40.0
VARIABLES = {
    "pubsub_reachable": "PUBSUB_EMULATOR_HOST",
    "storage_reachable": "STORAGE_EMULATOR_HOST",
}
"""Conditions of readiness, and where the address of the service is."""


class Scene:
    """A worker whose way to one service can be frozen.

    `forgets`: once the network is back, its old connections stay silent.
    """

    def __init__(self, stage: Stage, condition: str, stack: ExitStack, *, forgets: bool) -> None:
        self.stage = stage
        self.condition = condition
        self.forgets = forgets
        variable = VARIABLES[condition]
        scheme, slashes, address = stage.environment[variable].rpartition("//")
        self.network = stack.enter_context(TcpProxy(address))
        stage.environment[variable] = f"{scheme}{slashes}{self.network.address}"
        self.worker = stage.worker(**SLOW, http_port=free_port())

    def come_back(self) -> None:
        if self.forgets:
            self.network.forget()
        else:
            self.network.thaw()


@pytest.fixture
def scenes(storage_url: str, tmp_path: Path) -> Iterator[list[Scene]]:
    with ExitStack() as stack:
        broker = stack.enter_context(EmbeddedBroker())

        def scene(condition: str, *, forgets: bool) -> Scene:
            stage = stack.enter_context(set_up(broker.address, storage_url, tmp_path))
            return Scene(stage, condition, stack, forgets=forgets)

        yield [scene(each, forgets=forgets) for each in VARIABLES for forgets in (False, True)]


def test_a_frozen_network_is_told_and_outlived(scenes: list[Scene]) -> None:
    for scene in scenes:
        scene.worker.wait_until_running()
        assert scene.worker.unready() == set()
        scene.stage.register("in-flight", 1, noisy_jpeg(1600, 1200))
        scene.worker.wait_until_rendering()
        scene.network.freeze()
        scene.stage.register("meanwhile", 1, corners_jpeg(400, 300))

    for scene in scenes:
        eventually(scene.worker.unready, scene.condition, seconds=NOTICED_SECONDS)
        assert scene.worker.unready() == {scene.condition}
        assert scene.worker.get("/healthz")[0] == 200, "a restart would mend nothing"
        assert scene.stage.manifest("meanwhile") is None
        # The log is written a moment later, and not at all if the service is back by then.
        eventually(lambda at=scene: at.worker.lines("unreachable"), "it is told")  # type: ignore[misc]

    for scene in scenes:
        scene.come_back()
    for scene in scenes:
        back = scene.condition + " again"
        eventually(lambda at=scene: not at.worker.unready(), back, seconds=BACK_SECONDS)  # type: ignore[misc]
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
