"""The child process of one render slot: `python -m worker.render.child`.

The child reads requests from standard input and writes answers to standard output, as `protocol`
defines them. When the parent dies, by whatever signal, standard input ends; then the child exits,
even in the middle of a render.
"""

from __future__ import annotations

import errno
import gc
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from worker.errors import CorruptOriginal, Permanent, RenderCrashed, RenderOutOfMemory
from worker.photo.checksum import crc32c_of
from worker.photo.header import Header
from worker.photo.ladder import RungSize
from worker.photo.limits import Limits
from worker.photo.watermark import Watermark
from worker.render.formats.formats import sniff
from worker.render.formats.svg_size import EDGE_PX
from worker.render.image import imaging
from worker.render.image.imaging import Picture
from worker.render.image.overlay import Overlay, read_overlay
from worker.render.memory import UNTOUCHED
from worker.render.protocol import (
    Answer,
    Done,
    Finished,
    KeepRequest,
    MeasureRequest,
    ProbeRequest,
    Ready,
    Refused,
    RenderRequest,
    Request,
    RungWritten,
    Unavailable,
    decode_request,
    encode,
)
from worker.system import sandbox

_PARENT_GONE = 70
_MESSAGE_MAX_CHARS = 2000


class _NoFile(Exception):
    """The scratch folder is full, broken or gone."""


def main(memory_bytes: int, scratch: Path) -> None:
    """Serve requests until standard input ends, inside the sandbox of `sandbox.confine`."""
    # A service manager may signal every process of the worker; the parent drains, then ends this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    unconfined = sandbox.confine(memory_bytes, scratch)
    # What a codec prints to standard output must not get into an answer.
    responder = _Responder(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    # The objects of the imports stay. Without this, each collection would spend 2 ms on them.
    gc.freeze()
    try:
        responder.say(Ready(codec=imaging.codec(), unconfined=unconfined))
        while True:
            answer = responder.last_answer(requests.get())
            # Free memory before the answer: after it, another render gets this memory.
            _forget()
            responder.say(answer)
    except BrokenPipeError:
        os._exit(_PARENT_GONE)


def _listen(requests: queue.SimpleQueue[Request]) -> None:
    try:
        for line in sys.stdin:
            requests.put(decode_request(line))
    finally:
        # Exit also if the last line is incomplete, so that no child outlives its parent.
        os._exit(_PARENT_GONE)


class _Responder:
    """Serves requests, one after the other."""

    def __init__(self, answers: BinaryIO) -> None:
        self._answers = answers
        self._overlays: dict[Watermark, Overlay] = {}

    def say(self, answer: Answer) -> None:
        self._answers.write(encode(answer))
        self._answers.flush()

    def last_answer(self, request: Request) -> Answer:
        """Serve one request: write all answers except the last, and return the last."""
        try:
            return self._do(request)
        except Permanent as error:
            return _refused(error)
        except _NoFile as error:
            return Unavailable(message=str(error))
        except MemoryError:
            return _refused(RenderOutOfMemory("the render's memory limit was reached"))
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001
            # This may be a bug and not the picture's fault. The reason of a crash is retried first.
            traceback.print_exc()
            return _refused(RenderCrashed(f"{type(error).__name__}: {error}"))

    def _do(self, request: Request) -> Answer:
        match request:
            case MeasureRequest():
                return _measure(request)
            case RenderRequest():
                return self._render(request)
            case ProbeRequest():
                return self._probe(request)
            case KeepRequest():
                self._overlays[request.watermark] = read_overlay(request.file, request.watermark)
                return Done()

    def _probe(self, request: ProbeRequest) -> Done:
        picture = _open(_read(request.original), request.max_pixels)
        self.say(picture.header)
        picture.decode()
        return Done()

    def _render(self, request: RenderRequest) -> Finished:
        cpu_before = time.process_time()
        bounds, looks = request.bounds, request.looks
        sandbox.limit_render(bounds.memory_bytes, bounds.cpu_seconds)
        picture = _open(_read(request.original), bounds.max_pixels, bounds.drawn_px)
        picture.decode()
        overlay = self._overlays[looks.watermark] if looks.watermark else None
        renditions = picture.renditions(
            request.ladder, looks, overlay, placeholder=request.placeholder
        )
        for size, data in _blameless(renditions):
            _write(request.folder / f"{size.rung}.{looks.format}", data)
            self.say(RungWritten(size=size, size_bytes=len(data), crc32c=crc32c_of(data)))
        return Finished(
            facts=picture.facts(),
            cpu_seconds=round(time.process_time() - cpu_before, 4),
            peak_bytes=sandbox.own_peak(),
        )


def _measure(request: MeasureRequest) -> Header:
    bounds = request.bounds
    sandbox.limit_render(bounds.memory_bytes, bounds.cpu_seconds)
    data = _read(request.original)
    if untouched := UNTOUCHED.get(sniff(data)):
        # libvips reserves this much when it opens the file, before any pixel is decoded.
        more_bytes = int(untouched * bounds.max_pixels)
        sandbox.limit_render(bounds.memory_bytes + more_bytes, bounds.cpu_seconds)
    return _open(data, bounds.max_pixels, bounds.drawn_px).header


def _open(data: bytes, max_pixels: int, drawn_px: int = EDGE_PX) -> Picture:
    limits = Limits(max_original_bytes=sys.maxsize, max_original_pixels=max_pixels)
    return Picture(data, limits, drawn_px=drawn_px)


def _read(original: Path) -> bytes:
    try:
        return original.read_bytes()
    except OSError as error:
        raise _NoFile(f"the original cannot be read: {error}") from error


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise  # the render's limit of file size, which is the same in every folder
        raise _NoFile(f"a rendition cannot be written: {error}") from error


def _blameless(renditions: Iterator[tuple[RungSize, bytes]]) -> Iterator[tuple[RungSize, bytes]]:
    """Yield the renditions; report a failure after the decode as a crash, not as a bad picture."""
    try:
        yield from renditions
    except CorruptOriginal as error:
        raise RenderCrashed(f"after the decode: {error}") from error


def _refused(error: Permanent) -> Refused:
    return Refused(reason=error.reason.value, message=str(error)[:_MESSAGE_MAX_CHARS])


def _forget() -> None:
    """Return the last picture's memory to the kernel, so that the slots' peaks do not add up."""
    gc.collect()
    imaging.give_back_memory()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
