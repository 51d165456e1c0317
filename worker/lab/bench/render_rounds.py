"""The child process of `bench render`: one original, round after round, in one libvips thread.

    python -m worker.lab.bench.render_rounds REQUEST

REQUEST is JSON: {"photo": path, "rounds": 3, "ladder": "320,full", "quality": 80, "effort": 4,
"full_effort": 2}. One JSON object on standard output: what `measure` returns.

First one render alone, for its memory; a second one notes every picture that it encodes; then in
turns the whole renderer, and these pictures encoded again and nothing else.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worker.lab.bench import subject
from worker.lab.bench.stopwatch import Stopwatch
from worker.photo.ladder import Ladder
from worker.photo.looks import Looks
from worker.system.processes import memory_bytes, reset_peak


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """CPU seconds of the whole renderer and of the encoding alone, by round, stage and rung."""
    ladder = Ladder.parse(request["ladder"])
    encoding = Looks(
        quality=request["quality"], effort=request["effort"], full_effort=request["full_effort"]
    )
    path = Path(request["photo"])
    codec = subject.codec()
    memory = _memory(path, ladder, encoding)
    data = path.read_bytes()
    with subject.encodes() as encodes:
        sizes = [size for size, _ in subject.render(data, ladder, encoding)]
    rounds = []
    for number in range(request["rounds"]):
        # Whoever comes second finds warmer caches.
        if number % 2:
            pure, libvips = _pure(encodes)
            whole = _whole(data, ladder, encoding)
        else:
            whole = _whole(data, ladder, encoding)
            pure, libvips = _pure(encodes)
        for rung, seconds in zip(whole["rungs"], pure, strict=True):
            rung["encoding"] = seconds
        rounds.append({**whole, "pure": sum(pure), "libvips": sum(libvips)})
    full = max(sizes, key=lambda size: size.width * size.height)
    return {
        "codec": codec,
        "width": full.width,
        "height": full.height,
        "bytes_in": len(data),
        **memory,
        "rounds": rounds,
    }


def _memory(path: Path, ladder: Ladder, encoding: Looks) -> dict[str, int]:
    """What one render takes at its peak above what this process holds before it."""
    _give_back()
    reset_peak()
    base = memory_bytes("self", "VmRSS")
    for _ in subject.render(path.read_bytes(), ladder, encoding):
        pass
    peak = memory_bytes("self", "VmHWM")
    _give_back()
    return {"base_bytes": base, "peak_above_base_bytes": max(0, peak - base)}


def _whole(data: bytes, ladder: Ladder, encoding: Looks) -> dict[str, Any]:
    watch = Stopwatch()
    rungs = []
    started = time.process_time()
    for size, encoded in subject.render(data, ladder, encoding, watch.stage):
        rungs.append(
            {
                "rung": size.rung,
                "width": size.width,
                "height": size.height,
                "bytes": len(encoded),
                "ready": time.process_time() - started,
            }
        )
    whole = time.process_time() - started
    stages = dict.fromkeys(subject.STAGES, 0.0) | watch.seconds
    return {"whole": whole, "stages": stages, "rungs": rungs}


def _pure(encodes: list[subject.Again]) -> tuple[list[float], list[float]]:
    """Seconds of each picture, directly and by libvips, in turns."""
    turns = [(_seconds(again.directly), _seconds(again.by_libvips)) for again in encodes]
    return [directly for directly, _ in turns], [libvips for _, libvips in turns]


def _seconds(again: Callable[[], object]) -> float:
    started = time.process_time()
    again()
    return time.process_time() - started


def _give_back() -> None:
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))  # noqa: T201
