"""The render slots: a pool of child processes, one original at a time in each.

Each slot is a thread that owns one `child` and a pipe to it. A child that crashes, hangs or runs
out of memory fails only its own original; the slot starts another child and goes on. All originals
wait in one queue (`admission`), each of them twice: first any slot measures it, which reads its
header; later any slot renders it, when the predicted memory is free. The handler takes each
finished rendition while the child encodes the next one, so a slot does not wait for uploads. See
docs/decisions/0003.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path
from typing import Final

from worker.errors import (
    Draining,
    Fatal,
    RenderCrashed,
    SlotUnavailable,
    WorkerError,
)
from worker.photo.header import PictureFacts
from worker.photo.ports import RenderCost, Rendered
from worker.photo.recipe import Recipe
from worker.render.admission import Admission, NeverFits, Ticket
from worker.render.capacity import HELD_ORIGINAL_BYTES
from worker.render.handshake import START_SECONDS, FirstCodec, shake_hands
from worker.render.job import QueuedRendering, RenderSettings
from worker.render.memory import header_bytes, limit_bytes, peak_bytes
from worker.render.protocol import Finished
from worker.render.slot import Child
from worker.render.verification import Refusal, verified_header
from worker.telemetry.logs import Log

RECYCLE_AFTER: Final = 200
"""A child is replaced after so many renders. A new child costs 0.07 CPU seconds, and ends whatever
a picture may have left in the old one."""

_RESPAWN_PAUSE_SECONDS: Final = 1.0


class RenderPool:
    """`ports.Renderer` over `slots` child processes; thread-safe."""

    def __init__(
        self, settings: RenderSettings, slots: int, log: Log, *, told_unconfined: bool = False
    ) -> None:
        """Set `told_unconfined` if another pool has logged the missing parts of the sandbox."""
        self._settings = settings
        self._log = log
        self._changed = threading.Condition()
        self._admission = Admission[QueuedRendering](
            memory_bytes=settings.memory_bytes, slots=slots
        )
        self._admitting = True
        self._stopped = threading.Event()
        self._codec = FirstCodec()
        self._recipe: Recipe | None = None
        self._children: dict[int, Child] = {}
        self._told_unconfined = told_unconfined
        self._threads = [
            threading.Thread(target=self._serve, args=(number,), name=f"slot-{number}", daemon=True)
            for number in range(slots)
        ]

    def start(self) -> None:
        """Start every child, and return when the first is ready.

        Raises:
            RendererBroken: all children failed; the message holds the last child's error.
            ConfigurationError: the watermark cannot be decoded.
        """
        for thread in self._threads:
            thread.start()
        try:
            codec = self._codec.wait(len(self._threads))
        except Fatal:
            self.stop()
            raise
        self._recipe = dataclasses.replace(self._settings.recipe, codec=codec)

    @property
    def recipe(self) -> Recipe:
        """See `ports.Renderer`; known after `start`."""
        if self._recipe is None:
            raise RuntimeError("start() comes first")
        return self._recipe

    @property
    def running(self) -> int:
        """Count the renders that hold a slot at this moment; measuring does not count."""
        with self._changed:
            return sum(ticket.measured for ticket in self._admission.running)

    @property
    def admitted_bytes(self) -> int:
        """Return the memory predicted for renders in slots, plus what all renders hold."""
        with self._changed:
            return self._admission.used_bytes

    @property
    def alive(self) -> bool:
        """Return True if at least one child process is up."""
        with self._changed:
            return any(child.alive for child in self._children.values())

    @property
    def serving(self) -> bool:
        """Return True if every slot takes renders, or will do so when its new child is up."""
        return all(thread.is_alive() for thread in self._threads)

    @property
    def pids(self) -> list[int]:
        """Return the process ids of the living children."""
        with self._changed:
            return [child.pid for child in self._children.values() if child.alive]

    def render(self, original: Path, folder: Path) -> QueuedRendering:
        """See `ports.Renderer`."""
        rendering = QueuedRendering(self._settings, original, folder)
        size_bytes = rendering.original_bytes
        needs_bytes = header_bytes(size_bytes)
        with self._changed:
            if not self._admitting:
                raise Draining("this worker is draining; no new render starts")
            try:
                self._admission.arrive(
                    rendering,
                    needs_bytes=needs_bytes,
                    held_bytes=max(0, size_bytes - HELD_ORIGINAL_BYTES),
                )
            except NeverFits:
                rendering.answers.put(self._settings.too_large("the original", needs_bytes))
            self._changed.notify()
        return rendering

    def close_admission(self) -> None:
        """Turn away waiting and new renders; running renders go on."""
        with self._changed:
            self._admitting = False
            for ticket in self._admission.waiting:
                self._turn_away(ticket)

    def _turn_away(self, ticket: Ticket[QueuedRendering]) -> None:
        self._admission.leave(ticket)
        ticket.item.answers.put(_turned_away())

    def open_admission(self) -> None:
        """Take renders again, unless the pool has stopped."""
        with self._changed:
            self._admitting = not self._stopped.is_set()

    def stop(self) -> None:
        """Kill every child at once; running renders end with `Draining`. Idempotent."""
        self.close_admission()
        self._stopped.set()
        with self._changed:
            for child in self._children.values():
                child.kill()
            self._changed.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=5)

    def _serve(self, number: int) -> None:
        child: Child | None = None
        while not self._stopped.is_set():
            if child is None or not child.alive or child.requests >= 2 * RECYCLE_AFTER:
                child = self._spawn(number, child)
                if child is None:
                    self._leave_to_others()
                    self._stopped.wait(_RESPAWN_PAUSE_SECONDS)
                    continue
            if ticket := self._take(child):
                self._handle(child, ticket)
        if child is not None:
            child.close()

    def _take(self, child: Child) -> Ticket[QueuedRendering] | None:
        """Wait for the next render whose memory is free.

        Return `None` if the pool stops, or if the idle child has died (the OOM killer, an
        operator).
        """
        admitted: list[Ticket[QueuedRendering]] = []

        def is_there() -> bool:
            if self._stopped.is_set() or not child.alive:
                return True
            if ticket := self._admission.next():
                admitted.append(ticket)
            return bool(admitted)

        with self._changed:
            self._changed.wait_for(is_there)
            return admitted[0] if admitted else None

    def _handle(self, child: Child, ticket: Ticket[QueuedRendering]) -> None:
        """Measure the original and queue it again; the second time, render it."""
        answer: tuple[PictureFacts, RenderCost] | WorkerError | None
        try:
            answer = (
                self._render(child, ticket) if ticket.measured else self._measure(child, ticket)
            )
            if said := child.stderr_tail():
                self._log.debug("a child process said", said=said)
        except WorkerError as error:
            # `close` kills the child and waits for its exit. Without the wait, `alive` may still be
            # True and the dead child gets the next render.
            child.close()
            stopped = Draining("this worker stopped before the render had finished")
            answer = stopped if self._stopped.is_set() else error
        except Exception as error:  # noqa: BLE001 (a slot that dies would leave its renders waiting)
            child.close()
            answer = RenderCrashed(f"the child answered nonsense: {error!r}")
        with self._changed:
            if answer is not None:
                self._admission.leave(ticket)
                ticket.item.answers.put(answer)
            self._changed.notify_all()

    def _measure(self, child: Child, ticket: Ticket[QueuedRendering]) -> WorkerError | None:
        """Let the child read the header, then queue the render; a returned error ends it."""
        child.send(ticket.item.measure_request(ticket.needs_bytes))
        answer = child.receive(time.monotonic() + self._settings.wall_seconds)
        header = verified_header(answer, self._settings.max_pixels)
        if isinstance(header, WorkerError):
            return header
        ticket.item.header = header
        needs_bytes = peak_bytes(header, ticket.item.original_bytes, self._settings.recipe)
        ticket.item.limit_bytes = limit_bytes(header, needs_bytes)
        try:
            with self._changed:
                # Check `_admitting` before `measured()`: after it, another slot may start this
                # render.
                if not self._admitting:
                    return _turned_away()
                self._admission.measured(ticket, needs_bytes)
        except NeverFits:
            what = f"this {header.width}x{header.height} {header.format}"
            return self._settings.too_large(what, needs_bytes)
        return None

    def _render(
        self, child: Child, ticket: Ticket[QueuedRendering]
    ) -> tuple[PictureFacts, RenderCost] | Refusal:
        """Let the child render; pass each rendition on, and return facts and cost, or a refusal."""
        expected = ticket.item.expected_renditions()
        started = time.monotonic()
        child.send(ticket.item.render_request())
        deadline = started + self._settings.wall_seconds
        while isinstance(answer := expected.verified(child.receive(deadline)), Rendered):
            ticket.item.answers.put(answer)
        if not isinstance(answer, Finished):
            return answer
        cost = RenderCost(
            seconds=round(time.monotonic() - started, 4),
            cpu_seconds=answer.cpu_seconds,
            peak_bytes=answer.peak_bytes,
        )
        return answer.facts, cost

    def _spawn(self, number: int, old: Child | None) -> Child | None:
        if old is not None:
            old.close()
        child: Child | None = None
        try:
            child = Child(self._settings.memory_bytes, self._settings.scratch)
            with self._changed:
                self._children[number] = child
                stopped = self._stopped.is_set()
            if stopped:
                child.kill()
            ready = shake_hands(child, self._settings, time.monotonic() + START_SECONDS)
            self._report(ready.codec)
            self._warn(ready.unconfined)
        except Exception as error:  # noqa: BLE001 (a slot that dies would leave its renders waiting)
            if not self._stopped.is_set():
                self._log.error("a child process did not start", slot=number, error=str(error))
            self._report(error)
            if child is not None:
                child.close()
            return None
        return child

    def _report(self, codec: str | Exception) -> None:
        if self._recipe is None:
            self._codec.report(codec)

    def _warn(self, unconfined: list[str]) -> None:
        with self._changed:
            tells = bool(unconfined) and not self._told_unconfined
            self._told_unconfined |= tells
        if tells:
            self._log.warning("children run without part of their sandbox", refused=unconfined)

    def _leave_to_others(self) -> None:
        """Wake the other slots so that they take the waiting renders.

        If no slot has a child, fail the renders with `SlotUnavailable`; Pub/Sub redelivers them.
        """
        with self._changed:
            if not any(child.alive for child in self._children.values()):
                for ticket in self._admission.waiting:
                    self._admission.leave(ticket)
                    ticket.item.answers.put(SlotUnavailable("no child process could be started"))
            self._changed.notify_all()


def _turned_away() -> Draining:
    return Draining("this worker is draining before the render began")
