"""The render slots: a pool of child processes, one original at a time in each.

Each slot is a thread that owns one child (`render_child`) and a pipe of its own to it, so a child
that crashes, hangs or runs out of memory costs its own original and nothing else; the slot starts
another child and goes on. Handlers wait in one queue; a finished rendition is handed over while
the child encodes the next, so uploads never hold a slot. See docs/decisions/0003.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from worker.errors import (
    PERMANENT_BY_REASON,
    Draining,
    Reason,
    RenderCrashed,
    RendererBroken,
    SlotUnavailable,
    WorkerError,
)
from worker.ladder import Ladder, RungSize
from worker.ports import PictureFacts, RenderCost, Rendered
from worker.recipe import Recipe
from worker.slot import Child
from worker.telemetry import Log

_START_SECONDS: Final = 60.0
_RESPAWN_PAUSE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderSettings:
    """What every render of this pool has in common."""

    ladder: Ladder
    quality: int
    effort: int
    full_effort: int
    max_pixels: int
    timeout_seconds: float
    slot_memory_bytes: int


class QueuedRendering:
    """`ports.Rendering` for one request; taken by the one handler that asked for it."""

    def __init__(self, request: dict[str, Any], rungs: frozenset[str]) -> None:
        """Wait in the queue; nothing runs yet."""
        self.request = request
        self._rungs = rungs
        self.answers: queue.SimpleQueue[dict[str, Any] | WorkerError] = queue.SimpleQueue()
        self._facts: PictureFacts | None = None
        self._cost: RenderCost | None = None

    def __iter__(self) -> Iterator[Rendered]:
        """See `ports.Rendering`."""
        while True:
            answer = self.answers.get()
            if isinstance(answer, WorkerError):
                raise answer
            if "refused" in answer:
                refusal = answer["refused"]
                raise PERMANENT_BY_REASON[Reason(refusal["reason"])](refusal["message"])
            if "facts" in answer:
                self._facts = PictureFacts(**answer["facts"])
                self._cost = RenderCost(**answer["cost"])
                return
            yield self._rendered(answer["rendered"])

    def _rendered(self, fields: dict[str, Any]) -> Rendered:
        """Believe a child about sizes and sums, never about names: it must not choose a file."""
        size = RungSize(**fields["size"])
        if size.rung not in self._rungs:
            raise RenderCrashed(f"the child answers with a rung nobody asked for: {size.rung!r}")
        return Rendered(
            size=size,
            path=Path(self.request["folder"], f"{size.rung}.webp"),
            size_bytes=fields["size_bytes"],
            crc32c=fields["crc32c"],
        )

    @property
    def facts(self) -> PictureFacts:
        """See `ports.Rendering`."""
        if self._facts is None:
            raise RuntimeError("take every rendition first")
        return self._facts

    @property
    def cost(self) -> RenderCost:
        """See `ports.Rendering`."""
        if self._cost is None:
            raise RuntimeError("take every rendition first")
        return self._cost


class RenderPool:
    """`ports.Renderer` over `slots` child processes; thread-safe."""

    def __init__(self, settings: RenderSettings, slots: int, log: Log) -> None:
        """Start nothing yet."""
        self._settings = settings
        self._log = log
        self._waiting: queue.SimpleQueue[QueuedRendering | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._admitting = True
        self._stopped = threading.Event()
        self._codec: queue.Queue[str | RendererBroken] = queue.Queue()
        self._recipe: Recipe | None = None
        self._children: dict[int, Child] = {}
        self._running = 0
        self._threads = [
            threading.Thread(target=self._serve, args=(number,), name=f"slot-{number}", daemon=True)
            for number in range(slots)
        ]

    def start(self) -> None:
        """Start every child, and return when the first is ready.

        Raises:
            RendererBroken: none got ready; the message holds what it printed last.
        """
        for thread in self._threads:
            thread.start()
        codec = self._first_codec()
        if isinstance(codec, RendererBroken):
            self.stop()
            raise codec
        self._recipe = Recipe(
            ladder=self._settings.ladder,
            quality=self._settings.quality,
            effort=self._settings.effort,
            full_effort=self._settings.full_effort,
            codec=codec,
        )

    def _first_codec(self) -> str | RendererBroken:
        """What the first child that gets ready says of its codecs, or why none did."""
        told: str | RendererBroken = RendererBroken("there are no slots")
        for _ in self._threads:
            try:
                told = self._codec.get(timeout=_START_SECONDS)
            except queue.Empty:
                return RendererBroken(f"no child process got ready in {_START_SECONDS:.0f} s")
            if isinstance(told, str):
                break
        return told

    @property
    def recipe(self) -> Recipe:
        """See `ports.Renderer`; known after `start`."""
        if self._recipe is None:
            raise RuntimeError("start() comes first")
        return self._recipe

    @property
    def running(self) -> int:
        """Renders that hold a slot at this moment."""
        return self._running

    @property
    def alive(self) -> bool:
        """Whether at least one child process is up."""
        with self._lock:
            return any(child.alive for child in self._children.values())

    @property
    def serving(self) -> bool:
        """Whether every slot takes renders, or is about to with another child."""
        return all(thread.is_alive() for thread in self._threads)

    @property
    def pids(self) -> list[int]:
        """The children's process ids at this moment."""
        with self._lock:
            return [child.pid for child in self._children.values() if child.alive]

    def render(self, original: Path, folder: Path) -> QueuedRendering:
        """See `ports.Renderer`."""
        settings = self._settings
        rendering = QueuedRendering(
            {
                "original": str(original),
                "folder": str(folder),
                "ladder": str(settings.ladder),
                "quality": settings.quality,
                "effort": settings.effort,
                "full_effort": settings.full_effort,
                "max_pixels": settings.max_pixels,
            },
            frozenset(rung.name for rung in settings.ladder.rungs),
        )
        with self._lock:
            if self._admitting:
                self._waiting.put(rendering)
                return rendering
        raise Draining("this worker is draining; no new render starts")

    def close_admission(self) -> None:
        """Turn away what waits and what will come; running renders go on."""
        with self._lock:
            self._admitting = False
            while True:
                try:
                    waiting = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if waiting is not None:
                    waiting.answers.put(Draining("this worker is draining before the render began"))

    def stop(self) -> None:
        """Kill every child at once; running renders end with `Draining`. Idempotent."""
        self.close_admission()
        self._stopped.set()
        with self._lock:
            for child in self._children.values():
                child.kill()
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=5)

    def _serve(self, number: int) -> None:
        child: Child | None = None
        while not self._stopped.is_set():
            if child is None or not child.alive:
                child = self._spawn(number, child)
                if child is None:
                    self._refuse_one()
                    continue
            rendering = self._waiting.get()
            if rendering is None:
                break
            if not child.alive:
                # It died idle (the OOM killer, an operator); that is not this picture's fault.
                child = self._spawn(number, child)
                if child is None:
                    rendering.answers.put(SlotUnavailable("no child process could be started"))
                    continue
            self._count(1)
            try:
                self._run(child, rendering)
            finally:
                self._count(-1)
        if child is not None:
            child.close()

    def _count(self, change: int) -> None:
        with self._lock:
            self._running += change

    def _spawn(self, number: int, old: Child | None) -> Child | None:
        if old is not None:
            old.close()
        child: Child | None = None
        try:
            child = Child(self._settings.slot_memory_bytes)
            with self._lock:
                self._children[number] = child
                stopped = self._stopped.is_set()
            if stopped:
                child.kill()
            ready = child.receive(time.monotonic() + _START_SECONDS)
            self._tell(str(ready["ready"]["codec"]))
        except Exception as error:  # noqa: BLE001 (a slot that dies would leave its renders waiting)
            if not self._stopped.is_set():
                self._log.error("a child process did not start", slot=number, error=str(error))
            self._tell(RendererBroken(f"a child process did not start: {error}"))
            if child is not None:
                child.close()
            return None
        return child

    def _tell(self, codec: str | RendererBroken) -> None:
        if self._recipe is None:
            self._codec.put(codec)

    def _refuse_one(self) -> None:
        """Let one waiting handler go, so that its message reaches a healthier worker."""
        try:
            waiting = self._waiting.get(timeout=_RESPAWN_PAUSE_SECONDS)
        except queue.Empty:
            return
        if waiting is not None:
            waiting.answers.put(SlotUnavailable("no child process could be started"))

    def _run(self, child: Child, rendering: QueuedRendering) -> None:
        """Carry one request to the child and its answers back, to the last or to its death."""
        started = time.monotonic()
        deadline = started + self._settings.timeout_seconds
        try:
            child.send(rendering.request)
            while True:
                answer = child.receive(deadline)
                if "facts" in answer:
                    answer["cost"]["seconds"] = round(time.monotonic() - started, 4)
                rendering.answers.put(answer)
                if "facts" in answer or "refused" in answer:
                    break
            if said := child.last_words():
                self._log.debug("a child process said", said=said)
        except WorkerError as error:
            # Reaped as well: until then it counts as alive, and the next render would be its.
            child.close()
            stopped = Draining("this worker stopped before the render had finished")
            rendering.answers.put(stopped if self._stopped.is_set() else error)
        except Exception as error:  # noqa: BLE001 (an answer that is not the protocol's: a taken-over child)
            child.close()
            rendering.answers.put(RenderCrashed(f"the child answered nonsense: {error!r}"))
