"""The child process of `bench render`: one original, round after round, in one libvips thread.

    python -m worker.lab.bench.render_rounds REQUEST

REQUEST is JSON: {"photo": path, "rounds": 3, "ladder": "320,full", "quality": 80, "effort": 4,
"full_effort": 2}. Standard output has one JSON object: the result of `measure`.

The first render measures the memory; the second notes every picture that it encodes. Then the whole
renderer takes turns with pure encoding, which encodes these pictures again.
"""

from __future__ import annotations

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
    """Return CPU seconds of the whole renderer and of only encoding, by round, stage and rung."""
    ladder = Ladder.parse(request["ladder"])
    encoding = Looks(
        quality=request["quality"], effort=request["effort"], full_effort=request["full_effort"]
    )
    path = Path(request["photo"])
    codec = subject.codec()
    memory = _memory(path, ladder, encoding)
    data = path.read_bytes()
    with subject.noted_encodes() as encodes:
        sizes = [size for size, _ in subject.render(data, ladder, encoding)]
    rounds = []
    for number in range(request["rounds"]):
        # The second of the two has warmer caches, so they change places.
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
    """Return the peak memory of one render, above what this process held before it."""
    subject.give_back_memory()
    reset_peak()
    base = memory_bytes("self", "VmRSS")
    for _ in subject.render(path.read_bytes(), ladder, encoding):
        pass
    peak = memory_bytes("self", "VmHWM")
    subject.give_back_memory()
    return {"base_bytes": base, "peak_above_base_bytes": max(0, peak - base)}


def _whole(data: bytes, ladder: Ladder, encoding: Looks) -> dict[str, Any]:
    watch = Stopwatch()
    rungs = []
    started = time.process_time()
    for size, encoded in subject.render(data, ladder, encoding, watch.stage):
        ready = time.process_time() - started
        sized = {"rung": size.rung, "width": size.width, "height": size.height}
        rungs.append({**sized, "bytes": len(encoded), "ready": ready})
    whole = time.process_time() - started
    stages = dict.fromkeys(subject.STAGES, 0.0) | watch.seconds
    return {"whole": whole, "stages": stages, "rungs": rungs}


def _pure(encodes: list[subject.Encode]) -> tuple[list[float], list[float]]:
    """Return the seconds of each picture, encoded directly and by libvips, in turns."""
    turns = [(_seconds(each.directly), _seconds(each.by_libvips)) for each in encodes]
    return [directly for directly, _ in turns], [libvips for _, libvips in turns]


def _seconds(encode: Callable[[], object]) -> float:
    started = time.process_time()
    encode()
    return time.process_time() - started


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))  # noqa: T201
