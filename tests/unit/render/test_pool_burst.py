"""A burst of panoramas among small photos, on little memory, with real child processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.fakes import recording_log
from tests.support.pool import recipe_of
from tests.support.small_pictures import corners, jpeg, noise, png
from worker.errors import OriginalTooLarge, WorkerError
from worker.render.admission import PASSES
from worker.render.capacity import CHILD_BYTES, MIB, plan_capacity
from worker.render.job import RenderSettings
from worker.render.pool import RenderPool

CAPACITY = plan_capacity(vcpus=2, memory_bytes=800 * MIB, in_flight_per_vcpu=3)
PANORAMAS, SMALL = 4, 30


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    (folder / "panorama.jpg").write_bytes(jpeg(corners(10_000, 4_500)))
    (folder / "endless.jpg").write_bytes(jpeg(corners(16_000, 6_250)))
    (folder / "endless.png").write_bytes(png(corners(16_000, 6_250)))
    (folder / "small.jpg").write_bytes(jpeg(noise(600, 400)))
    return folder


@pytest.fixture
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RenderPool]:
    settings = RenderSettings(
        recipe=recipe_of("320,2560,full"),
        max_pixels=150_000_000,
        timeout_seconds=120,
        memory_bytes=CAPACITY.render_memory_bytes,
        scratch=tmp_path_factory.getbasetemp(),
    )
    pool = RenderPool(settings, CAPACITY.slots, recording_log()[0])
    pool.start()
    yield pool
    pool.stop()


class Watched:
    """The most that all children of a pool held at one moment, in bytes; and their ids."""

    def __init__(self, pool: RenderPool) -> None:
        self._pool = pool
        self._ended = threading.Event()
        self.most_bytes = 0
        self.pids: set[int] = set()

    def watch(self) -> None:
        while not self._ended.wait(0.005):
            pids = self._pool.pids
            self.pids.update(pids)
            self.most_bytes = max(self.most_bytes, sum(map(resident, pids)))

    @contextmanager
    def __call__(self) -> Iterator[None]:
        thread = threading.Thread(target=self.watch)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()


def resident(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(found[0].split()[1]) * 1024 if found else 0


def test_panoramas_neither_break_the_memory_nor_starve_the_small(
    pool: RenderPool, originals: Path, tmp_path: Path
) -> None:
    names = ["endless.jpg", "endless.png"] + ["panorama.jpg"] * PANORAMAS + ["small.jpg"] * SMALL
    ended: list[str] = []
    faults: list[tuple[str, WorkerError]] = []
    renderings = []
    for number, name in enumerate(names):
        folder = tmp_path / str(number)
        folder.mkdir()
        renderings.append((name, pool.render(originals / name, folder)))

    def take(named: tuple[str, Iterator[object]]) -> None:
        name, rendering = named
        try:
            for _ in rendering:
                pass
            ended.append(name)
        except WorkerError as error:
            faults.append((name, error))

    watched = Watched(pool)
    with watched(), ThreadPoolExecutor(len(renderings)) as handlers:
        list(handlers.map(take, renderings))

    assert sorted(name for name, _ in faults) == ["endless.jpg", "endless.png"]
    assert all(isinstance(error, OriginalTooLarge) for _, error in faults)
    assert sorted(ended) == ["panorama.jpg"] * PANORAMAS + ["small.jpg"] * SMALL
    assert len(watched.pids) == CAPACITY.slots, "no child died"
    budget = CAPACITY.render_memory_bytes + CAPACITY.slots * CHILD_BYTES
    assert 0 < watched.most_bytes <= budget
    # The panoramas came first, and each takes most of the memory; the small do not wait for them.
    assert set(ended[:PASSES]) == {"small.jpg"}
    assert ended[-1] == "panorama.jpg"
