"""Mutated pictures through a real render pool: each ends in a whole ladder or in a reason.

`FUZZ_FILES` says how many (`make fuzz`: 5,000), `FUZZ_FIRST` from which number on; a failure names
the number, and `FUZZ_FIRST=number FUZZ_FILES=1` brings the same file back.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.mutations import mutated, seeds
from tests.support.pictures import corners_jpeg, is_upright
from tests.support.pool import PIXELS_ONLY, Came, chunks, outcome, render_pool
from worker.render.formats.formats import RENDERED

FILES = int(os.environ.get("FUZZ_FILES", "300"))
FIRST = int(os.environ.get("FUZZ_FIRST", "1"))
HANDLERS = 3
"""More than slots, so that renders queue as they do in a worker."""


@pytest.mark.timeout(60 + FILES)
def test_a_mutated_picture_ends_in_a_ladder_or_a_reason(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    pictures = seeds()
    numbers: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(FIRST, FIRST + FILES):
        numbers.put(number)
    tally: Counter[str] = Counter()
    slow: list[tuple[float, str]] = []
    faults: list[str] = []

    with render_pool(tmp_path, max_pixels=20_000_000, timeout_seconds=20) as pool:

        def handle(folder: Path) -> None:
            folder.mkdir()
            while not faults:
                try:
                    number = numbers.get_nowait()
                except queue.Empty:
                    return
                what, data = mutated(number, pictures)
                try:
                    came = outcome(pool, data, folder)
                    check(came)
                except BaseException as error:  # noqa: BLE001 (told with the file's number below)
                    faults.append(f"file {number} ({what}): {error!r}")
                    return
                tally[came.reason or "ok"] += 1
                slow.append((came.seconds, f"file {number} ({what}): {came.reason or 'ok'}"))
                if came.reason.startswith("render_"):
                    print(f"\nfile {number} ({what}): {came.reason}: {came.message}")  # noqa: T201

        handlers = [
            threading.Thread(target=handle, args=(tmp_path / str(number),))
            for number in range(HANDLERS)
        ]
        for thread in handlers:
            thread.start()
        for thread in handlers:
            thread.join()
        assert not faults, faults
        assert tally.total() == FILES
        assert pool.serving
        assert is_upright(outcome(pool, corners_jpeg(240, 160, 6), tmp_path).renditions["full"])

    record_property("tally", dict(tally))
    print(f"\n{dict(tally)}\nslowest: {sorted(slow)[-3:]}")  # noqa: T201


def check(came: Came) -> None:
    """Whole: every rung is there and holds only pixels, every fact is within its bounds."""
    if came.reason:
        assert came.message
        return
    facts = came.facts
    assert facts is not None
    assert facts.format in RENDERED
    assert facts.width * facts.height <= 20_000_000
    assert facts.pages >= 1
    assert facts.camera is None or (facts.camera.isprintable() and len(facts.camera) <= 80)
    assert "full" in came.renditions
    for webp in came.renditions.values():
        assert set(chunks(webp)) <= PIXELS_ONLY


def test_the_sound_pictures_are_rendered(tmp_path: Path) -> None:
    with render_pool(tmp_path) as pool:
        for kind, data in seeds().items():
            came = outcome(pool, data, tmp_path)
            assert not came.reason, (kind, came)
            check(came)
