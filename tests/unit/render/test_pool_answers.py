"""The pool over children that lie, flood or do not listen: it neither believes nor hangs."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.fakes import recording_log
from tests.support.pool import recipe_of
from tests.support.scripted import LADDER, SOUND, script
from tests.support.waiting import PATIENCE_SECONDS, eventually
from worker.errors import (
    CorruptOriginal,
    Draining,
    RenderCrashed,
    SlotUnavailable,
    WorkerError,
)
from worker.render.job import QueuedRendering, RenderSettings
from worker.render.pool import RenderPool
from worker.render.protocol import ProbeRequest, Ready
from worker.render.slot import Child

StartPool = Callable[..., RenderPool]


@pytest.fixture
def start_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., RenderPool]]:
    """Start pools of children that follow a script, and stop them afterwards."""
    pools: list[RenderPool] = []

    def start(body: str, *, slots: int = 1, timeout_seconds: float = 30) -> RenderPool:
        script(monkeypatch, tmp_path, body)
        settings = RenderSettings(
            recipe=recipe_of(LADDER),
            max_pixels=1_000_000,
            timeout_seconds=timeout_seconds,
            memory_bytes=1 << 30,
            scratch=tmp_path,
        )
        pool = RenderPool(settings, slots, recording_log()[0])
        pools.append(pool)
        pool.start()
        eventually(lambda: len(pool.pids) == slots, "every child is up")
        return pool

    yield start
    for pool in pools:
        pool.stop()


def soon() -> float:
    return time.monotonic() + PATIENCE_SECONDS


def render(pool: RenderPool, folder: Path) -> QueuedRendering:
    original = folder / "original"
    original.write_bytes(b"anything")
    return pool.render(original, folder)


def taken(rendering: QueuedRendering) -> list[str] | WorkerError:
    """Its rungs, or what ended it; never longer than a test's patience."""

    def take() -> list[str] | WorkerError:
        try:
            return [rendered.size.rung for rendered in rendering]
        except WorkerError as error:
            return error

    threads = ThreadPoolExecutor(1)
    try:
        return threads.submit(take).result(timeout=PATIENCE_SECONDS)
    finally:
        threads.shutdown(wait=False)


def test_a_child_that_keeps_to_the_rules_is_believed(start_pool: StartPool, tmp_path: Path) -> None:
    pool = start_pool(SOUND)
    for _ in range(2):
        rendering = render(pool, tmp_path)
        assert taken(rendering) == ["32", "full"]
        assert (rendering.facts.width, rendering.cost.peak_bytes) == (100, 1)
        assert rendering.cost.seconds > 0


def test_a_render_whose_machine_is_busy_has_its_cpu_seconds(
    start_pool: StartPool, tmp_path: Path
) -> None:
    """It takes longer by the clock than it may use the processor."""
    waiting = SOUND.replace("    rendered", "    time.sleep(1.2); rendered")
    pool = start_pool(waiting, timeout_seconds=2)
    assert taken(render(pool, tmp_path)) == ["32", "full"]


LIES = {
    "facts without any rung": "say('Finished', **END)",
    "facts before the last rung": "rendered(r, '32'); say('Finished', **END)",
    "a rung twice": "rendered(r, '32'); rendered(r, '32')",
    "a rung of another ladder": "rendered(r, '32', size={**SIZE, 'rung': '64'})",
    "a rung that is none": "rendered(r, '32', size={'rung': [], 'width': 1, 'height': 1})",
    "another size": "rendered(r, '32', size={**SIZE, 'height': 20})",
    "a negative size": "rendered(r, '32', size={**SIZE, 'width': -32})",
    "a size and more": "rendered(r, '32', size={**SIZE, 'x': 1})",
    "more bytes than there are": "rendered(r, '32', size_bytes=5)",
    "fewer bytes than there are": "rendered(r, '32', size_bytes=3)",
    "bytes that are true": "rendered(r, '32', size_bytes=True)",
    "no checksum": "rendered(r, '32', crc32c='')",
    "a checksum of another kind": "rendered(r, '32', crc32c='d41d8cd98f00')",
    "a huge file": (
        "f = open(r['folder'] + '/32.webp', 'wb'); f.truncate(200 << 20); f.close(); "
        "say('RungWritten', size=SIZE, size_bytes=200 << 20, crc32c='AAAAAA==')"
    ),
    "a link to another file": (
        "os.symlink('/etc/passwd', r['folder'] + '/32.webp'); "
        "say('RungWritten', size=SIZE, size_bytes=os.stat('/etc/passwd').st_size, "
        "crc32c='AAAAAA==')"
    ),
    "a file that is not there": "say('RungWritten', size=SIZE, size_bytes=1, crc32c='AAAAAA==')",
    "facts that are none": "both(r); say('Finished', facts={'a': 1}, **COST)",
    "a cost that is none": "both(r); say('Finished', facts=FACTS)",
    "a cost that is no number": "both(r); say('Finished', **{**END, 'cpu_seconds': 1e999})",
    "facts of another picture": "both(r); end(width=99)",
    "a colour that is none": "both(r); end(color='red;')",
    "half of a surrogate pair": "both(r); end(camera='\\ud800')",
    "a camera without end": "both(r); end(camera='x' * 5000)",
    "a reason nobody knows": "say('Refused', reason='zzz', message='')",
    "a reason that is not its own": "say('Refused', reason='original_missing', message='')",
    "a refusal that is none": "say('Refused', reason=1, message='')",
    "a refusal without a message": "say('Refused', reason='corrupt_original')",
    "something else": "say('Hello')",
    "an answer to another request": "say('Done')",
    "a header once more": "say('Header', **HEADER)",
    "a kind that is none": "say([])",
    "negative CPU seconds": "both(r); say('Finished', **{**END, 'cpu_seconds': -1.0})",
    "a refusal without end": "say('Refused', reason='corrupt_original', message='x' * 5000)",
    "a fault of the disk that cannot be printed": "say('Unavailable', message='a\\nb')",
    "more than was asked for": "both(r); say('Finished', path='/etc/passwd', **END)",
    "a list": "print('[]', flush=True)",
    "no JSON": "print('nonsense', flush=True)",
    "a deep list": "print('[' * 60000, flush=True)",
    "a long line": "print('{\"a\": \"' + 'x' * 70000 + '\"}', flush=True)",
}


@pytest.mark.parametrize("lie", LIES)
def test_what_cannot_be_is_a_crash(start_pool: StartPool, tmp_path: Path, lie: str) -> None:
    pool = start_pool(
        "def both(r):\n    rendered(r, '32')\n    rendered(r, 'full')\n"
        f"for r in renders():\n    {LIES[lie]}\n    time.sleep(99)"
    )
    (before,) = pool.pids
    error = taken(render(pool, tmp_path))
    assert type(error) is RenderCrashed, error
    assert "the child process" not in str(error), "it lives, and is not believed"
    eventually(lambda: pool.pids not in ([before], []), "another child is up")
    assert pool.running == 0


HEADERS = {
    "no pixels": "'width': 0",
    "a negative width": "'width': -100",
    "a negative picture": "'width': -100, 'height': -60",
    "more pixels than allowed": "'width': 1001, 'height': 1000",
    "a fraction": "'width': 1.5",
    "not a number": "'width': float('nan')",
    "a text": "'width': '100'",
    "a format nobody renders": "'format': 'bmp'",
    "no bands": "'bands': 0",
    "negative bands": "'bands': -3",
    "endless bits": "'bits': 1 << 40",
    "a negative document": "'document_bytes': -(1 << 40)",
    "alpha that is no flag": "'has_alpha': 'no'",
}


@pytest.mark.parametrize("lie", HEADERS)
def test_a_header_that_cannot_be_is_a_crash(
    start_pool: StartPool, tmp_path: Path, lie: str
) -> None:
    pool = start_pool(f"for r in requests(): say('Header', **{{**HEADER, {HEADERS[lie]}}})")
    error = taken(render(pool, tmp_path))
    assert type(error) is RenderCrashed, error
    assert "the child process" not in str(error), "it lives, and is not believed"


def test_a_refusal_is_told_in_its_own_words_and_the_child_goes_on(
    start_pool: StartPool, tmp_path: Path
) -> None:
    pool = start_pool(
        "for r in renders(): say('Refused', reason='corrupt_original', message='a\\ud800b')"
    )
    before = pool.pids
    for _ in range(2):
        error = taken(render(pool, tmp_path))
        assert isinstance(error, CorruptOriginal)
        assert str(error) == "a?b"
    assert pool.pids == before


def test_a_full_disk_is_nobodys_fault_and_the_child_goes_on(
    start_pool: StartPool, tmp_path: Path
) -> None:
    pool = start_pool(
        "for r in renders(): say('Unavailable', message='[Errno 28] No space left on device')"
    )
    before = pool.pids
    for _ in range(2):
        error = taken(render(pool, tmp_path))
        assert isinstance(error, SlotUnavailable)
        assert "No space" in str(error)
    assert pool.pids == before


RUNG = (
    '{"kind": "RungWritten", "size": {"rung": "32", "width": 32, "height": 19}, "size_bytes": 4, '
    '"crc32c": "AAAAAA=="}'
)


@pytest.mark.parametrize("line", [RUNG, "{}"])
def test_a_flood_is_a_crash_and_fills_no_memory(
    start_pool: StartPool, tmp_path: Path, line: str
) -> None:
    pool = start_pool(
        f"for r in renders():\n    rendered(r, '32')\n    while True: print({line!r})",
        timeout_seconds=2,
    )
    rendering = render(pool, tmp_path)
    eventually(lambda: pool.running == 0 and not rendering.answers.empty(), "it has ended")
    assert rendering.answers.qsize() == 2
    rendering.answers.get_nowait()
    assert isinstance(rendering.answers.get_nowait(), RenderCrashed)


def test_a_child_that_answers_and_never_reads_holds_no_slot(
    start_pool: StartPool, tmp_path: Path
) -> None:
    pool = start_pool("while True: time.sleep(0.001); say('Header', **HEADER)", timeout_seconds=2)
    folder = tmp_path / ("a-long-name" * 15)
    folder.mkdir()
    for _ in range(3):
        error = taken(render(pool, folder))
        assert isinstance(error, RenderCrashed)


def test_a_request_that_is_not_read_is_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, tmp_path, "time.sleep(99)")
    child = Child(1 << 20, tmp_path)
    sent: list[BaseException | None] = []

    def send_until_refused() -> None:
        try:
            while True:
                child.send(ProbeRequest(original=Path("x" * 3000), max_pixels=1))
        except RenderCrashed as error:
            sent.append(error)

    writer = threading.Thread(target=send_until_refused, daemon=True)
    try:
        child.receive(soon())
        writer.start()
        writer.join(PATIENCE_SECONDS)
        assert "does not read" in str(sent[0])
    finally:
        child.close()


def test_an_answer_before_the_question_is_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(
        monkeypatch,
        tmp_path,
        'print(\'{"kind": "Done"}\\n{}\', flush=True)\nfor r in requests(): pass',
    )
    child = Child(1 << 20, tmp_path)
    try:
        child.receive(soon())
        child.receive(soon())
        with pytest.raises(RenderCrashed, match="before it is asked"):
            child.send(ProbeRequest(original=Path("x"), max_pixels=1))
    finally:
        child.close()


def test_one_slot_that_cannot_spawn_leaves_the_work_to_the_others(
    start_pool: StartPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = start_pool(SOUND.replace("say(", "time.sleep(0.05); say("), slots=2)
    attempts = []

    def no_process(*_: object) -> Child:
        attempts.append(1)
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("worker.render.pool.Child", no_process)
    monkeypatch.setattr("worker.render.pool._RESPAWN_PAUSE_SECONDS", 0.05)
    os.kill(pool.pids[0], signal.SIGKILL)
    eventually(lambda: len(pool.pids) == 1, "one child is dead")
    folders = [tmp_path / str(number) for number in range(12)]
    for folder in folders:
        folder.mkdir()
    renderings = [render(pool, folder) for folder in folders]
    assert [taken(rendering) for rendering in renderings] == [["32", "full"]] * len(renderings)
    eventually(lambda: attempts, "the other has tried to spawn")


def test_a_pool_without_any_child_refuses_what_waits_and_recovers(
    start_pool: StartPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = start_pool(SOUND, slots=2)
    attempts = []

    def no_process(*_: object) -> Child:
        attempts.append(1)
        raise OSError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as broken:
        broken.setattr("worker.render.pool.Child", no_process)
        for pid in pool.pids:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not pool.alive, "both are dead")
        refused = [taken(rendering) for rendering in [render(pool, tmp_path) for _ in range(20)]]
        assert all(isinstance(error, SlotUnavailable) for error in refused), refused
        assert len(attempts) < 10, "it pauses before it tries again"
    eventually(lambda: taken(render(pool, tmp_path)) == ["32", "full"], "it renders again")


def test_a_drain_leaves_a_render_alone_that_begins_while_it_comes_from_its_measure(
    start_pool: StartPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = start_pool(
        "for r in renders():\n    rendered(r, '32')\n    while not os.path.exists(r['folder'] + "
        "'/go'): time.sleep(0.01)\n    rendered(r, 'full')\n    say('Finished', **END)",
        slots=2,
    )
    measured, drained = threading.Event(), threading.Event()
    measure = pool._measure

    def slowly(*arguments: Any) -> Any:
        answer = measure(*arguments)
        with pool._changed:
            pool._changed.notify_all()
        measured.set()
        assert drained.wait(PATIENCE_SECONDS)
        return answer

    monkeypatch.setattr(pool, "_measure", slowly)
    rendering = render(pool, tmp_path)
    assert measured.wait(PATIENCE_SECONDS)
    eventually(lambda: pool.running == 1, "the other slot renders it")
    pool.close_admission()
    drained.set()
    eventually(lambda: not rendering.answers.empty(), "its first rung is there")
    (tmp_path / "go").touch()
    assert taken(rendering) == ["32", "full"]


def test_a_drain_turns_away_what_was_just_measured(start_pool: StartPool, tmp_path: Path) -> None:
    pool = start_pool("for r in requests(): time.sleep(0.2); say('Header', **HEADER)")
    rendering = render(pool, tmp_path)
    eventually(lambda: not pool._admission.waiting, "it is being measured")
    pool.close_admission()
    assert isinstance(taken(rendering), Draining)


def test_a_death_by_an_unknown_signal_is_a_crash(start_pool: StartPool, tmp_path: Path) -> None:
    pool = start_pool("for r in requests(): os.kill(os.getpid(), 37); time.sleep(99)")
    error = taken(render(pool, tmp_path))
    assert isinstance(error, RenderCrashed)
    assert str(error) == "the child process was ended by signal 37"


def test_a_parent_with_many_open_files_tells_deaths_as_well(
    start_pool: StartPool, tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 2000:
        pytest.skip("not so many files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (2000, before[1]))
    many = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        pool = start_pool(
            "for r in requests(): os.kill(os.getpid(), 9); time.sleep(99)",
        )
        error = taken(render(pool, tmp_path))
        assert isinstance(error, RenderCrashed)
        assert "SIGKILL" in str(error)
        pool.stop()
    finally:
        for descriptor in many:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    gc.collect()


def test_a_module_in_the_current_folder_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queue.py").write_text("open('imported', 'w').close()\nraise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    child = Child(1 << 30, tmp_path)
    try:
        assert isinstance(child.receive(soon()), Ready)
    finally:
        child.close()
    assert not (tmp_path / "imported").exists()
