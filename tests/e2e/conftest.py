"""One stage for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stage import Stage, set_up
from worker.lab.emulator.server import EmbeddedBroker


@pytest.fixture
def stage(broker_address: str, storage_url: str, tmp_path: Path) -> Iterator[Stage]:
    with set_up(broker_address, storage_url, tmp_path) as stage:
        yield stage


@pytest.fixture
def embedded_stage(storage_url: str, tmp_path: Path) -> Iterator[Stage]:
    """On the embedded broker, which honours a stream's flow control as production does."""
    with EmbeddedBroker() as broker, set_up(broker.address, storage_url, tmp_path) as stage:
        yield stage
