"""One worker, and one dispatcher, over the fakes, with one original in the bucket."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.desk import Desk
from tests.support.fakes import MemoryStore
from tests.support.workers import FakeWorker, make_worker, seed_original


@pytest.fixture
def worker(tmp_path: Path) -> FakeWorker:
    worker = make_worker(tmp_path)
    seed_original(worker.store)
    return worker


@pytest.fixture
def store(worker: FakeWorker) -> MemoryStore:
    return worker.store


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    seed_original(desk.store)
    return desk
