"""The tally and the memory watch: everything is counted, and nothing grows without end."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

from worker.convert.memory import SAMPLES, MemoryWatch
from worker.convert.outcomes import (
    Content,
    Converted,
    Failed,
    Found,
    NewFile,
    Passed,
    PassedOver,
    Unchanged,
)
from worker.convert.tally import LISTED, SECONDS, SHOWN, Tally
from worker.photo.header import PictureFacts
from worker.photo.ports import RenderCost


def converted(name: str, original: int, *renditions: int, seconds: float = 0.5) -> Converted:
    return Converted(
        found=Found(name=name, path=name, size_bytes=original, mtime_ns=0),
        known=None,
        content=Content(size_bytes=original, mtime_ns=0, sha256=b""),
        files=tuple(
            NewFile(
                rung=str(number),
                suffix="",
                path=Path(name),
                size_bytes=size,
                width=10 * number,
                height=10,
            )
            for number, size in enumerate(renditions, 1)
        ),
        kept=False,
        facts=PictureFacts(
            format="jpeg",
            width=100,
            height=10,
            pages=1,
            taken_at=None,
            camera=None,
            thumbhash="",
            color="",
        ),
        cost=RenderCost(seconds=seconds, cpu_seconds=0.4, peak_bytes=7),
        folder=Path(),
    )


def test_bytes_rungs_and_seconds_are_added_up() -> None:
    tally = Tally(None)
    tally.add(converted("a", 100, 10, 40, seconds=0.02))
    tally.add(converted("b", 300, 20, seconds=75))
    counts = tally.counts
    assert (counts.converted, counts.bytes_in, counts.bytes_out) == (2, 400, 70)
    assert (counts.shortest_seconds, counts.longest_seconds) == (0.02, 75)
    assert {rung: (each["count"], each["bytes"]) for rung, each in tally.rungs.items()} == {
        "1": (2, 30),
        "2": (1, 40),
    }
    assert tally.rungs["1"]["original_bytes"] == 400
    assert tally.times[SECONDS.index(0.02)] == 1
    assert tally.times[-1] == 1


def test_the_best_and_the_worst_are_kept_and_no_others() -> None:
    tally = Tally(None)
    for number in range(100):
        tally.add(converted(f"{number * 37 % 100:02}", 1000, 10 * (number * 37 % 100)))
    assert [each.name for each in tally.best] == [f"{number:02}" for number in range(SHOWN)]
    assert [each.name for each in tally.worst] == [f"{99 - number}" for number in range(SHOWN)]


def test_few_pictures_are_not_shown_twice() -> None:
    tally = Tally(None)
    for number in range(3):
        tally.add(converted(str(number), 1000, 10 * number + 1))
    assert len(tally.best) == 3
    assert tally.worst == []


def test_a_hundred_thousand_failures_take_no_more_memory_than_a_thousand(tmp_path: Path) -> None:
    tally = Tally(tmp_path / "failures.jsonl")
    failed = [Failed(name=f"{n:06}\udcff", reason="unreadable", message="x") for n in range(1001)]
    for each in failed:
        tally.add(each)
    tracemalloc.start()
    for number in range(100_000):
        tally.add(failed[number % 1000])
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    tally.close()
    assert grown < 100_000
    assert (tally.counts.failed, tally.reasons["unreadable"]) == (101_001, 101_001)
    assert len(tally.failures) == LISTED
    lines = (tmp_path / "failures.jsonl").read_bytes().splitlines()
    assert len(lines) == 101_001
    assert json.loads(lines[0]) == {"name": "000000\udcff", "reason": "unreadable", "message": "x"}


def test_what_has_its_end_is_counted_by_its_kind() -> None:
    tally = Tally(None)
    tally.add(Unchanged(name="a"))
    tally.add(PassedOver(name="b", why=Passed.NO_PICTURE))
    tally.add(Failed(name="c", reason="unreadable", message=""))
    assert tally.counts.settled == 2
    assert tally.passed == {"no_picture": 1}


def test_samples_of_memory_thin_out_and_keep_their_peaks() -> None:
    watch = MemoryWatch()
    for number in range(10_000):
        watch.take(5_000 if number == 7_777 else 100, number / 2)
    assert len(watch.samples) <= SAMPLES
    assert len(watch.samples) > SAMPLES // 3
    assert watch.peak_bytes == 5_000
    assert max(in_use for _, in_use in watch.samples) == 5_000
    times = [at for at, _ in watch.samples]
    assert times == sorted(times)
    assert times[-1] > 4_900


def test_memory_is_that_of_this_process_too_at_its_start_and_its_end() -> None:
    watch = MemoryWatch()
    watch.start()
    watch.stop()
    watch.stop()
    assert len(watch.samples) == 2
    assert watch.peak_bytes > 1 << 20
