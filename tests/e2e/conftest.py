"""One stage for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stage import Stage, set_up
from worker.lab.emulator.server import EmbeddedBroker


@pytest.fixture
def stage(storage_url: str, tmp_path: Path) -> Iterator[Stage]:
    """On the embedded broker, which forgets a dead worker's stream at once, as production does."""
    with EmbeddedBroker() as broker, set_up(broker.address, storage_url, tmp_path) as stage:
        yield stage


@pytest.fixture
def google_stage(broker_address: str, storage_url: str, tmp_path: Path) -> Iterator[Stage]:
    """On Google's emulator, for the ways of a message that must hold there too.

    It goes on giving messages to the stream of a worker that is gone, for a lease each.
    """
    with set_up(broker_address, storage_url, tmp_path) as stage:
        yield stage
