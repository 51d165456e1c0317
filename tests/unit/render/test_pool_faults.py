"""The pool when children die, hang or starve, and when the worker stops or is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.fakes import recording_log
from tests.support.pool import recipe_of
from tests.support.small_pictures import corners, jpeg, noise, png
from tests.support.waiting import PATIENCE_SECONDS, eventually
from worker.errors import (
    Draining,
    OriginalTooLarge,
    RenderCrashed,
    RendererBroken,
    RenderFailed,
    RenderOutOfMemory,
    RenderTimeout,
)
from worker.render.job import QueuedRendering, RenderSettings
from worker.render.pool import RenderPool

MIB = 1 << 20
StartPool = Callable[..., RenderPool]


@pytest.fixture
def start_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartPool]:
    """Start pools whose `full` takes seconds for the slow original, and stop them afterwards."""
    pools: list[RenderPool] = []

    def start(
        slots: int = 1, *, timeout_seconds: float = 60, memory_bytes: int = 2048 * MIB
    ) -> RenderPool:
        settings = RenderSettings(
            recipe=recipe_of("32,full", quality=90, full_effort=6),
            max_pixels=60_000_000,
            timeout_seconds=timeout_seconds,
            memory_bytes=memory_bytes,
            scratch=tmp_path_factory.getbasetemp(),
        )
        pool = RenderPool(settings, slots, recording_log()[0])
        pools.append(pool)
        pool.start()
        eventually(lambda: len(pool.pids) == slots, "every child is up")
        return pool

    yield start
    for pool in pools:
        pool.stop()


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An original whose `32` comes at once and whose `full` takes seconds."""
    path = tmp_path_factory.mktemp("originals") / "slow.jpg"
    path.write_bytes(jpeg(noise(400, 400).replicate(6, 5)))
    return path


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, for renders that a test waits for to the end."""
    path = tmp_path_factory.mktemp("originals") / "steady.jpg"
    path.write_bytes(jpeg(noise(400, 400).replicate(3, 2)))
    return path


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("originals") / "quick.png"
    path.write_bytes(png(corners()))
    return path


class Taken:
    """A rendering that is taken in a thread of its own, as a handler does."""

    def __init__(self, rendering: QueuedRendering) -> None:
        self._rendering = rendering
        self._began = threading.Event()
        self._threads = ThreadPoolExecutor(1)
        self._rungs: Future[list[str]] = self._threads.submit(self._take)
        self._threads.shutdown(wait=False)

    def _take(self) -> list[str]:
        rungs = []
        for rendered in self._rendering:
            rungs.append(rendered.size.rung)
            self._began.set()
        return rungs

    def wait_for_the_first_rung(self) -> None:
        assert self._began.wait(PATIENCE_SECONDS)

    @property
    def done(self) -> bool:
        return self._rungs.done()

    def rungs(self) -> list[str]:
        return self._rungs.result(timeout=PATIENCE_SECONDS)

    def error(self) -> BaseException | None:
        return self._rungs.exception(timeout=PATIENCE_SECONDS)


def rungs(pool: RenderPool, original: Path, folder: Path) -> list[str]:
    return Taken(pool.render(original, folder)).rungs()


def folders(tmp_path: Path, count: int) -> list[Path]:
    made = [tmp_path / str(number) for number in range(count)]
    for folder in made:
        folder.mkdir()
    return made


def gone(pid: int) -> bool:
    """Whether a process has ended; as a zombie too, where nobody reaps orphans."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_killed_child_fails_its_own_render_only(
    start_pool: StartPool, steady: Path, quick: Path, tmp_path: Path
) -> None:
    pool = start_pool(2)
    both = [Taken(pool.render(steady, folder)) for folder in folders(tmp_path, 2)]
    for taken in both:
        taken.wait_for_the_first_rung()
    assert pool.running == 2
    victim = pool.pids[0]
    os.kill(victim, signal.SIGKILL)
    errors = [taken.error() for taken in both]
    assert [type(error) for error in errors if error] == [RenderCrashed]
    assert "SIGKILL" in str(next(error for error in errors if error))
    survivor = both[0] if errors[0] is None else both[1]
    assert survivor.rungs() == ["32", "full"]
    eventually(lambda: len(pool.pids) == 2, "the dead child is replaced")
    assert victim not in pool.pids
    assert rungs(pool, quick, tmp_path) == ["32", "full"]
    eventually(lambda: pool.running == 0, "both slots are free")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_is_named_by_its_signal(
    start_pool: StartPool, slow: Path, quick: Path, tmp_path: Path, number: signal.Signals
) -> None:
    pool = start_pool()
    taken = Taken(pool.render(slow, tmp_path))
    taken.wait_for_the_first_rung()
    os.kill(pool.pids[0], number)
    error = taken.error()
    assert isinstance(error, RenderCrashed)
    assert number.name in str(error)
    assert rungs(pool, quick, tmp_path) == ["32", "full"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_child_leaves_the_parents_signals_alone(
    start_pool: StartPool, steady: Path, tmp_path: Path, number: signal.Signals
) -> None:
    pool = start_pool()
    before = pool.pids
    taken = Taken(pool.render(steady, tmp_path))
    taken.wait_for_the_first_rung()
    os.kill(before[0], number)
    assert taken.rungs() == ["32", "full"]
    assert pool.pids == before


def test_a_child_that_died_idle_costs_no_render(
    start_pool: StartPool, quick: Path, tmp_path: Path
) -> None:
    pool = start_pool()
    os.kill(pool.pids[0], signal.SIGKILL)
    eventually(lambda: not pool.alive, "the idle child is dead")
    assert rungs(pool, quick, tmp_path) == ["32", "full"]


def test_a_render_that_takes_too_long_is_killed(
    start_pool: StartPool, slow: Path, quick: Path, tmp_path: Path
) -> None:
    pool = start_pool(timeout_seconds=0.5)
    (before,) = pool.pids
    error = Taken(pool.render(slow, tmp_path)).error()
    assert isinstance(error, RenderTimeout)
    assert "WORKER_RENDER_TIMEOUT_SECONDS" in str(error)
    eventually(lambda: gone(before), "the hung child is gone")
    assert rungs(pool, quick, tmp_path) == ["32", "full"]
    assert before not in pool.pids


def test_the_render_that_waits_behind_a_hung_one_gets_a_living_child(
    start_pool: StartPool, slow: Path, quick: Path, tmp_path: Path
) -> None:
    pool = start_pool(timeout_seconds=0.5)
    one, two = folders(tmp_path, 2)
    hung, waiting = Taken(pool.render(slow, one)), Taken(pool.render(quick, two))
    assert isinstance(hung.error(), RenderTimeout)
    assert waiting.rungs() == ["32", "full"]


def test_a_render_that_was_predicted_too_low_fails_alone(
    start_pool: StartPool, quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = start_pool()
    large = tmp_path / "large.jpg"
    large.write_bytes(jpeg(corners(8000, 6000)))
    with monkeypatch.context() as wrong:
        wrong.setattr("worker.render.pool.limit_bytes", lambda *_: MIB)
        error = Taken(pool.render(large, tmp_path)).error()
    assert isinstance(error, RenderOutOfMemory)
    assert isinstance(error, RenderFailed)
    assert rungs(pool, quick, tmp_path) == ["32", "full"]


def test_a_render_that_never_fits_says_what_it_takes(
    start_pool: StartPool, quick: Path, tmp_path: Path
) -> None:
    pool = start_pool(memory_bytes=128 * MIB)
    children = pool.pids
    large = tmp_path / "large.jpg"
    large.write_bytes(jpeg(corners(8000, 6000)))
    error = Taken(pool.render(large, tmp_path)).error()
    assert isinstance(error, OriginalTooLarge)
    assert "8000x6000 jpeg" in str(error)
    assert "has 128 MiB" in str(error)
    assert "WORKER_MEMORY_BYTES" in str(error)
    assert rungs(pool, quick, tmp_path) == ["32", "full"]
    assert pool.pids == children


def test_what_waits_for_memory_holds_no_slot_and_is_turned_away_by_a_drain(
    start_pool: StartPool, slow: Path, quick: Path, tmp_path: Path
) -> None:
    pool = start_pool(2, memory_bytes=160 * MIB)
    first, second, third = folders(tmp_path, 3)
    large = tmp_path / "large.jpg"
    large.write_bytes(jpeg(corners(6000, 4000)))
    running = Taken(pool.render(slow, first))
    running.wait_for_the_first_rung()
    waiting = Taken(pool.render(large, second))
    assert rungs(pool, quick, third) == ["32", "full"]
    assert pool.running == 1
    pool.close_admission()
    assert isinstance(waiting.error(), Draining)
    assert not running.done


def test_a_drain_turns_away_what_is_being_measured(
    start_pool: StartPool, quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = start_pool()

    def begin_to_drain(*_: object) -> int:
        pool.close_admission()
        return MIB

    monkeypatch.setattr("worker.render.pool.peak_bytes", begin_to_drain)
    assert isinstance(Taken(pool.render(quick, tmp_path)).error(), Draining)
    assert pool.running == 0


def test_a_child_is_replaced_after_its_share_of_renders(
    start_pool: StartPool, quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.render.pool.RECYCLE_AFTER", 2)
    pool = start_pool()
    (first,) = pool.pids
    for _ in range(2):
        assert rungs(pool, quick, tmp_path) == ["32", "full"]
    eventually(lambda: pool.pids not in ([first], []), "another child is up")
    assert rungs(pool, quick, tmp_path) == ["32", "full"]
    assert gone(first)


def test_closing_admission_turns_away_what_waits_and_lets_the_running_finish(
    start_pool: StartPool, steady: Path, tmp_path: Path
) -> None:
    pool = start_pool()
    one, two = folders(tmp_path, 2)
    running = Taken(pool.render(steady, one))
    running.wait_for_the_first_rung()
    waiting = Taken(pool.render(steady, two))
    pool.close_admission()
    assert isinstance(waiting.error(), Draining)
    assert not running.done
    with pytest.raises(Draining):
        pool.render(steady, two)
    assert running.rungs() == ["32", "full"]
    assert list(two.iterdir()) == []
    pool.open_admission()
    assert Taken(pool.render(steady, two)).rungs() == ["32", "full"]


def test_a_stopped_pool_admits_nothing_any_more(
    start_pool: StartPool, steady: Path, tmp_path: Path
) -> None:
    pool = start_pool(1)
    pool.stop()
    pool.open_admission()
    with pytest.raises(Draining):
        pool.render(steady, tmp_path)


def test_stopping_ends_running_renders_with_draining(
    start_pool: StartPool, slow: Path, tmp_path: Path
) -> None:
    pool = start_pool(2)
    children = pool.pids
    both = [Taken(pool.render(slow, folder)) for folder in folders(tmp_path, 2)]
    for taken in both:
        taken.wait_for_the_first_rung()
    pool.stop()
    assert [type(taken.error()) for taken in both] == [Draining, Draining]
    assert all(gone(pid) for pid in children)


def test_children_that_cannot_start_leave_no_pipes_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = RenderSettings(
        recipe=recipe_of("full"),
        max_pixels=1,
        timeout_seconds=60,
        memory_bytes=MIB,
        scratch=tmp_path,
    )
    monkeypatch.setattr(sys, "executable", "/bin/false")
    pool = RenderPool(settings, 2, recording_log()[0])
    before = open_descriptors()
    with pytest.raises(RendererBroken, match="did not start"):
        pool.start()
    assert open_descriptors() == before


_PARENT = """
import sys
from pathlib import Path
from tests.support.pool import recipe_of
from worker.render.pool import RenderPool
from worker.render.job import RenderSettings
from worker.telemetry.logs import configure_logs

pool = RenderPool(
    RenderSettings(recipe=recipe_of("32,full", quality=90, full_effort=6),
                   max_pixels=60_000_000, timeout_seconds=60, memory_bytes=1 << 30,
                   scratch=Path(sys.argv[3])),
    2, configure_logs("json", "info"))
pool.start()
while len(pool.pids) < 2:
    pass
next(iter(pool.render(Path(sys.argv[1]), Path(sys.argv[2]))))
print(*pool.pids, flush=True)
sys.stdin.read()
"""


def test_children_of_a_killed_parent_exit_in_mid_render_too(slow: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(slow), str(tmp_path), str(slow.parents[1])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        try:
            assert parent.stdout is not None
            children = [int(pid) for pid in parent.stdout.readline().split()]
            assert len(children) == 2
            assert not any(gone(pid) for pid in children)
        finally:
            parent.kill()
    eventually(lambda: all(gone(pid) for pid in children), "the children are gone")
    assert not (tmp_path / "full.webp").exists()
