"""The child process of one render slot: `python -m worker.render_child`.

Reads one JSON request a line from standard input, writes one JSON answer a line to standard
output, and never anything else there. JSON, not pickle: a child that a hostile picture has taken
over must not be able to run code in its parent. Standard input is the lifeline as well: when the
parent dies, by whatever signal, the read ends and the child exits, in mid-render too.

Requests:  {"original": path, "folder": path, "ladder": "320,full", "quality": 80, "effort": 4,
            "full_effort": 2, "max_pixels": 150000000}
Answers:   {"ready": {"codec": "libvips-8.18.7"}} once; then for each request
           {"rendered": {...}} for each rung, and last {"facts": {...}, "cost": {...}} or
           {"refused": {"reason": ..., "message": ...}}.
"""

from __future__ import annotations

import base64
import ctypes
import gc
import json
import os
import queue
import resource
import signal
import sys
import threading
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import google_crc32c

from worker import imaging
from worker.errors import Permanent, RenderCrashed, RenderOutOfMemory
from worker.imaging import Encoding, Picture
from worker.ladder import Ladder
from worker.limits import Limits

_PARENT_GONE = 70


def main(memory_bytes: int) -> None:
    """Serve requests until standard input ends; `memory_bytes` limits this process's data."""
    # Ctrl-C in a terminal reaches the whole process group; draining is the parent's business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A codec that prints to standard output must not end up inside an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    try:
        _answer(answers, ready={"codec": imaging.codec()})
        while True:
            _render(requests.get(), answers)
            _give_back_memory()
    except BrokenPipeError:
        os._exit(_PARENT_GONE)


def _listen(requests: queue.SimpleQueue[dict[str, Any]]) -> None:
    try:
        for line in sys.stdin:
            requests.put(json.loads(line))
    finally:
        # Also after half a line: an orphan must not stay for ever.
        os._exit(_PARENT_GONE)


def _render(request: dict[str, Any], answers: IO[str]) -> None:
    cpu_before = time.process_time()
    try:
        picture = Picture(
            Path(request["original"]).read_bytes(),
            Limits(max_original_bytes=sys.maxsize, max_original_pixels=request["max_pixels"]),
        )
        picture.decode()
        encoding = Encoding(
            quality=request["quality"],
            effort=request["effort"],
            full_effort=request["full_effort"],
        )
        for size, data in picture.renditions(Ladder.parse(request["ladder"]), encoding):
            path = Path(request["folder"], f"{size.rung}.webp")
            path.write_bytes(data)
            checksum = google_crc32c.value(data).to_bytes(4, "big")
            _answer(
                answers,
                rendered={
                    "size": asdict(size),
                    "size_bytes": len(data),
                    "crc32c": base64.b64encode(checksum).decode(),
                },
            )
        _answer(answers, facts=asdict(picture.facts()), cost=_cost(cpu_before))
    except Permanent as error:
        _refuse(answers, error)
    except MemoryError:
        _refuse(answers, RenderOutOfMemory("the slot's memory limit was reached"))
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001
        # A full disk or a bug: not the picture's fault, so a reason that is tried again first.
        traceback.print_exc()
        _refuse(answers, RenderCrashed(f"{type(error).__name__}: {error}"))


def _cost(cpu_before: float) -> dict[str, float]:
    return {
        "cpu_seconds": round(time.process_time() - cpu_before, 4),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _refuse(answers: IO[str], error: Permanent) -> None:
    _answer(answers, refused={"reason": error.reason.value, "message": str(error)})


def _answer(answers: IO[str], **message: object) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _give_back_memory() -> None:
    """Return what the last picture used to the kernel, so that slots do not add up their peaks."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return  # not glibc; there is nothing to trim


if __name__ == "__main__":
    main(int(sys.argv[1]))
