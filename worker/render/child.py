"""The child process of one render slot: `python -m worker.render.child`.

Reads one JSON request a line from standard input, writes one JSON answer a line to standard
output, and never anything else there. JSON, not pickle: a child that a hostile picture has taken
over must not be able to run code in its parent. Standard input is the lifeline as well: when the
parent dies, by whatever signal, the read ends and the child exits, in mid-render too.

Requests:  {"measure": path, "max_pixels": 150000000, "memory_bytes": 30000000, "cpu_seconds": 60}
           {"original": path, "folder": path, "ladder": "320,full", "quality": 80, "effort": 4,
            "full_effort": 2, and the three limits as above; where they are asked for,
            "target_bytes", "target_quality", "background", "watermark" as below, "format"
            and "placeholder": false}; in both "drawn_px", the longest edge of a drawing
           {"watermark": {"path": path, "sha256": ..., "opacity": 0.5, "position": "east",
            "scale": 0.2}}, to be ready for it
           {"probe": path, "max_pixels": 150000000}
Answers:   {"ready": {"codec": "libvips-8.18.7", "unconfined": []}} once; then for each request
           {"rendered": {...}} for each rung, and last {"facts": {...}, "cost": {...}} or
           {"refused": {"reason": ..., "message": ...}}; to be measured, {"header": {...}} or
           "refused"; for a watermark {"kept": true} or "refused"; for a probe {"header": {...}} as
           soon as it is read, and last {"decoded": true} or "refused". Instead of the last one
           {"unavailable": why} if a file cannot be read or written here and now, whatever the
           picture. `answers` reads them.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from worker.errors import CorruptOriginal, Permanent, RenderCrashed, RenderOutOfMemory
from worker.photo.checksum import crc32c_of
from worker.photo.encoding import Encoding
from worker.photo.ladder import Ladder, RungSize
from worker.photo.limits import Limits
from worker.render.formats.formats import sniff
from worker.render.formats.svg_size import EDGE_PX
from worker.render.image import imaging
from worker.render.image.imaging import Picture
from worker.render.image.overlay import Looks, Overlay, Overlays
from worker.render.memory import UNTOUCHED
from worker.system import sandbox

_PARENT_GONE = 70
_MESSAGE_MAX_CHARS = 2000


class _NoFile(Exception):
    """The scratch folder fails: it is full, broken or gone."""


def main(memory_bytes: int, scratch: Path) -> None:
    """Serve requests until standard input ends, shut in as `sandbox.confine` describes."""
    # Ctrl-C in a terminal reaches the whole process group; draining is the parent's business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    unconfined = sandbox.confine(memory_bytes, scratch)
    # A codec that prints to standard output must not end up inside an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    # What the imports made is no garbage: to look through it takes two milliseconds a picture.
    gc.freeze()
    overlays = Overlays()
    try:
        _answer(answers, ready={"codec": imaging.codec(), "unconfined": unconfined})
        while True:
            answer = _serve(requests.get(), answers, overlays)
            # Before the answer: once it is told, the memory is another render's.
            _forget()
            _answer(answers, **answer)
    except BrokenPipeError:
        os._exit(_PARENT_GONE)


def _listen(requests: queue.SimpleQueue[dict[str, Any]]) -> None:
    try:
        for line in sys.stdin:
            requests.put(json.loads(line))
    finally:
        # Also after half a line: an orphan must not stay for ever.
        os._exit(_PARENT_GONE)


def _serve(request: dict[str, Any], answers: IO[str], overlays: Overlays) -> dict[str, Any]:
    """Do what is asked; the last answer to it."""
    try:
        return _do(request, answers, overlays)
    except Permanent as error:
        return _refusal(error)
    except _NoFile as error:
        return {"unavailable": str(error)}
    except MemoryError:
        return _refusal(RenderOutOfMemory("the render's memory limit was reached"))
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001
        # Perhaps a bug, and not the picture's fault: a reason that is tried again first.
        traceback.print_exc()
        return _refusal(RenderCrashed(f"{type(error).__name__}: {error}"))


def _do(request: dict[str, Any], answers: IO[str], overlays: Overlays) -> dict[str, Any]:
    if "measure" in request:
        return _measure(request)
    if "probe" in request:
        return _probe(request, answers)
    if "original" in request:
        return _render(request, answers, _overlay(request, overlays))
    overlays.of(request["watermark"])
    return {"kept": True}


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise _NoFile(f"the original cannot be read: {error}") from error


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise  # its own limit, which no other folder would raise
        raise _NoFile(f"a rendition cannot be written: {error}") from error


def _open(data: bytes, request: dict[str, Any]) -> Picture:
    limits = Limits(max_original_bytes=sys.maxsize, max_original_pixels=request["max_pixels"])
    return Picture(data, limits, drawn_px=request.get("drawn_px", EDGE_PX))


def _overlay(request: dict[str, Any], overlays: Overlays) -> Overlay | None:
    """The watermark, which was shown when this process started: no picture is to blame for it."""
    try:
        return overlays.of(request.get("watermark"))
    except (OSError, Permanent) as error:
        raise _NoFile(f"the watermark cannot be read: {error}") from error


def _measure(request: dict[str, Any]) -> dict[str, Any]:
    memory_bytes, cpu_seconds = request["memory_bytes"], request["cpu_seconds"]
    sandbox.limit_render(memory_bytes, cpu_seconds)
    data = _read(request["measure"])
    if untouched := UNTOUCHED.get(sniff(data)):
        # Already to open it sets that aside.
        sandbox.limit_render(memory_bytes + int(untouched * request["max_pixels"]), cpu_seconds)
    return {"header": asdict(_open(data, request).header)}


def _probe(request: dict[str, Any], answers: IO[str]) -> dict[str, Any]:
    picture = _open(_read(request["probe"]), request)
    _answer(answers, header=asdict(picture.header))
    picture.decode()
    return {"decoded": True}


def _render(request: dict[str, Any], answers: IO[str], overlay: Overlay | None) -> dict[str, Any]:
    cpu_before = time.process_time()
    sandbox.limit_render(request["memory_bytes"], request["cpu_seconds"])
    picture = _open(_read(request["original"]), request)
    picture.decode()
    encoding = Encoding(
        quality=request["quality"],
        effort=request["effort"],
        full_effort=request["full_effort"],
        target_bytes=request.get("target_bytes"),
        target_quality=request.get("target_quality"),
    )
    looks = Looks(
        overlay=overlay,
        background=request.get("background"),
        format=request.get("format", "webp"),
    )
    ladder, placeholder = Ladder.exactly(request["ladder"]), request.get("placeholder", True)
    renditions = picture.renditions(ladder, encoding, looks, placeholder=placeholder)
    for size, data in _blameless(renditions):
        _write(Path(request["folder"], f"{size.rung}.{looks.format}"), data)
        _answer(
            answers,
            rendered={
                "size": asdict(size),
                "size_bytes": len(data),
                "crc32c": crc32c_of(data),
            },
        )
    return {"facts": asdict(picture.facts()), "cost": _cost(cpu_before)}


def _blameless(renditions: Iterator[tuple[RungSize, bytes]]) -> Iterator[tuple[RungSize, bytes]]:
    """Those of a picture whose pixels were all read: it can no longer be to blame."""
    try:
        yield from renditions
    except CorruptOriginal as error:
        raise RenderCrashed(f"after the decode: {error}") from error


def _cost(cpu_before: float) -> dict[str, float]:
    return {
        "cpu_seconds": round(time.process_time() - cpu_before, 4),
        "peak_bytes": sandbox.own_peak(),
    }


def _refusal(error: Permanent) -> dict[str, Any]:
    message = str(error)[:_MESSAGE_MAX_CHARS]
    return {"refused": {"reason": error.reason.value, "message": message}}


def _answer(answers: IO[str], **message: object) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _forget() -> None:
    """Return what the last picture used to the kernel, so that slots do not add up their peaks."""
    gc.collect()
    imaging.give_back_memory()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
