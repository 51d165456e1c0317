"""This module decides which render comes next: as many at once as fit the memory.

It is a pure queue, without pictures, processes or clock. A render is ordinary if every slot could
run a render of its size at the same time. Ordinary renders run in the order of arrival. A large
render lets `PASSES` ordinary ones go before it, because it takes the memory of several. Then it is
due: until it runs, only renders that leave its memory free are admitted. So every wait is bounded,
and a burst of panoramas delays small photos by one panorama for each `PASSES` photos.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from worker.errors import WorkerError

PASSES: Final = 8
"""Ordinary renders that may go before the oldest large one: a few seconds of a slot."""

T = TypeVar("T")


class NeverFits(WorkerError):
    """A render needs more memory than all renders together may have."""


@dataclass(eq=False, slots=True, kw_only=True)
class Ticket(Generic[T]):
    """A render that waits or runs; only the queue changes its ticket.

    `needs_bytes` counts while the render runs, `held_bytes` from its arrival. `due_since` is the
    number of the admission at which the render became due: `PASSES` renders had `passed` it.
    """

    item: T
    needs_bytes: int
    held_bytes: int
    arrival: int
    measured: bool = False
    passed: int = 0
    due_since: int | None = None
    admission: int = 0


class Admission(Generic[T]):
    """The memory of one pool of slots. Not thread-safe; its owner locks."""

    def __init__(self, *, memory_bytes: int, slots: int) -> None:
        """All renders together get `memory_bytes`; `slots` of them run at most."""
        self._memory_bytes = memory_bytes
        self._ordinary_bytes = memory_bytes // slots
        self._waiting: list[Ticket[T]] = []
        self._running: list[Ticket[T]] = []
        self._arrivals = 0
        self._admissions = 0

    @property
    def memory_bytes(self) -> int:
        """Return the memory for all renders together."""
        return self._memory_bytes

    @property
    def used_bytes(self) -> int:
        """Return what running renders need plus what running and waiting renders hold."""
        return sum(ticket.needs_bytes for ticket in self._running) + self._held_bytes

    @property
    def waiting(self) -> list[Ticket[T]]:
        """Return the tickets that wait for admission, oldest first."""
        return list(self._waiting)

    @property
    def running(self) -> list[Ticket[T]]:
        """Return the admitted tickets that have not left, in the order of their admission."""
        return list(self._running)

    def arrive(self, item: T, *, needs_bytes: int, held_bytes: int = 0) -> Ticket[T]:
        """Queue a render for its measuring, which takes `needs_bytes`.

        Raises:
            NeverFits: `needs_bytes` is more than the whole memory.
        """
        self._check(needs_bytes)
        self._arrivals += 1
        ticket = Ticket(
            item=item, needs_bytes=needs_bytes, held_bytes=held_bytes, arrival=self._arrivals
        )
        self._waiting.append(ticket)
        return ticket

    def measured(self, ticket: Ticket[T], needs_bytes: int) -> None:
        """Queue a measured render again, in its old place; to run it takes `needs_bytes`.

        Raises:
            NeverFits: `needs_bytes` is more than the whole memory; the ticket is unchanged.
        """
        self._check(needs_bytes)
        self._running.remove(ticket)
        ticket.needs_bytes, ticket.measured = needs_bytes, True
        self._waiting.append(ticket)
        self._waiting.sort(key=lambda ticket: ticket.arrival)

    def next(self) -> Ticket[T] | None:
        """Admit the render whose turn it is and return it; return `None` if all must wait."""
        large = [ticket for ticket in self._waiting if ticket.needs_bytes > self._ordinary_bytes]
        for due in large:
            if due.due_since is not None:
                return self._admit(due) if self._fits(due) else self._beside(due, due.due_since)
        for ordinary in self._waiting:
            if ordinary not in large and self._fits(ordinary):
                if large:
                    self._pass(ordinary, large[0])
                return self._admit(ordinary)
        return self._admit(large[0]) if large and self._fits(large[0]) else None

    def leave(self, ticket: Ticket[T]) -> None:
        """Remove a render that has ended or was turned away; idempotent."""
        for tickets in (self._waiting, self._running):
            if ticket in tickets:
                tickets.remove(ticket)

    def _check(self, needs_bytes: int) -> None:
        if needs_bytes > self._memory_bytes:
            raise NeverFits(f"{needs_bytes} of {self._memory_bytes} bytes")

    @property
    def _held_bytes(self) -> int:
        return sum(ticket.held_bytes for ticket in (*self._waiting, *self._running))

    def _fits(self, ticket: Ticket[T]) -> bool:
        # If no render runs, the next one may always run. Otherwise the bytes that waiting renders
        # hold could stop all of them.
        return not self._running or ticket.needs_bytes <= self._memory_bytes - self.used_bytes

    def _pass(self, ordinary: Ticket[T], large: Ticket[T]) -> None:
        """Count that `ordinary` goes before an older `large` render; measuring does not count."""
        if ordinary.measured and large.arrival < ordinary.arrival:
            large.passed += 1
            if large.passed >= PASSES:
                large.due_since = self._admissions + 1

    def _beside(self, due: Ticket[T], since: int) -> Ticket[T] | None:
        """Admit a render that leaves the memory for `due` free: only older renders delay `due`."""
        younger = sum(each.needs_bytes for each in self._running if each.admission > since)
        room = self._memory_bytes - self._held_bytes - due.needs_bytes - younger
        for ticket in self._waiting:
            if ticket is not due and ticket.needs_bytes <= room and self._fits(ticket):
                return self._admit(ticket)
        return None

    def _admit(self, ticket: Ticket[T]) -> Ticket[T]:
        self._admissions += 1
        ticket.admission = self._admissions
        self._waiting.remove(ticket)
        self._running.append(ticket)
        return ticket
