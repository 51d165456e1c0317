"""Which render comes next: as many at once as fit the memory, each after a bounded wait.

A pure queue for memory, without pictures, processes or clock. A render is ordinary if every slot
could run one of its size at the same time. Ordinary renders come in the order of arrival. A large
one lets `PASSES` of them go before it, because it takes the memory of several. Then it is due:
until it runs, only renders that leave its room free are admitted. So a burst of panoramas delays
small photos by one panorama each `PASSES` photos.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from worker.errors import WorkerError

PASSES: Final = 8
"""Ordinary renders that may go before the oldest large one: a few seconds of a slot."""

T = TypeVar("T")


class NeverFits(WorkerError):
    """More memory than all renders together may have."""


@dataclass(eq=False, slots=True, kw_only=True)
class Ticket(Generic[T]):
    """A render that waits or runs; only the queue changes it.

    `needs_bytes` counts while it runs, `held_bytes` from its arrival. `due_since` is the number of
    the admission at which `PASSES` others had `passed` it.
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
        """What all renders may have together."""
        return self._memory_bytes

    @property
    def used_bytes(self) -> int:
        """What those that run need, and all hold."""
        return sum(ticket.needs_bytes for ticket in self._running) + self._held_bytes

    @property
    def waiting(self) -> list[Ticket[T]]:
        """Those not admitted, oldest first."""
        return list(self._waiting)

    @property
    def running(self) -> list[Ticket[T]]:
        """Those admitted and not gone, in the order of their admission."""
        return list(self._running)

    def arrive(self, item: T, *, needs_bytes: int, held_bytes: int = 0) -> Ticket[T]:
        """Queue a render to be measured first, which takes `needs_bytes`.

        Raises:
            NeverFits: more than the whole memory.
        """
        self._check(needs_bytes)
        self._arrivals += 1
        ticket = Ticket(
            item=item, needs_bytes=needs_bytes, held_bytes=held_bytes, arrival=self._arrivals
        )
        self._waiting.append(ticket)
        return ticket

    def measured(self, ticket: Ticket[T], needs_bytes: int) -> None:
        """Queue a measured render again, in its old place; it will take `needs_bytes`.

        Raises:
            NeverFits: more than the whole memory; the ticket is unchanged.
        """
        self._check(needs_bytes)
        self._running.remove(ticket)
        ticket.needs_bytes, ticket.measured = needs_bytes, True
        self._waiting.append(ticket)
        self._waiting.sort(key=lambda ticket: ticket.arrival)

    def next(self) -> Ticket[T] | None:
        """Admit the render whose turn it is; `None` if all must wait."""
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
        """Remove a render that has ended or is turned away; idempotent."""
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
        # Alone it always runs, or the bytes that others hold while they wait could stop everything.
        return not self._running or ticket.needs_bytes <= self._memory_bytes - self.used_bytes

    def _pass(self, ordinary: Ticket[T], large: Ticket[T]) -> None:
        """Count a render that goes before an older large one; measuring does not count."""
        if ordinary.measured and large.arrival < ordinary.arrival:
            large.passed += 1
            if large.passed >= PASSES:
                large.due_since = self._admissions + 1

    def _beside(self, due: Ticket[T], since: int) -> Ticket[T] | None:
        """Admit one that leaves the due one's room free, so that only older renders delay it."""
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
