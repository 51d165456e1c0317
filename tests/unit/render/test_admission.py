"""Which render comes next: the sum fits, the large yield, and nobody waits for ever."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.render.admission import PASSES, Admission, NeverFits, Ticket

MEMORY = 100
SLOTS = 2
SMALL, LARGE = 10, 90


@dataclass
class Slots:
    """Slots that take what is admitted, as the pool's threads do."""

    memory: int = MEMORY
    count: int = SLOTS
    order: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.admission = Admission[str](memory_bytes=self.memory, slots=self.count)
        self.running: list[Ticket[str]] = []
        self.needs: dict[str, int] = {}

    def arrive(self, name: str, needs: int, held: int = 0) -> None:
        self.needs[name] = needs
        self.admission.arrive(name, needs_bytes=1, held_bytes=held)

    def fill(self) -> None:
        """Give every free slot what may run now; headers are read at once."""
        while len(self.running) < self.count and (ticket := self.admission.next()):
            if not ticket.measured:
                self.admission.measured(ticket, self.needs[ticket.item])
                continue
            self.running.append(ticket)
            self.order.append(ticket.item)
            used = self.admission.used_bytes
            assert used <= self.memory or len(self.admission.running) == 1

    def finish(self, ticket: Ticket[str]) -> None:
        self.running.remove(ticket)
        self.admission.leave(ticket)

    def run_to_the_end(self) -> list[str]:
        """Finish whatever runs, the small before the large, until nothing waits."""
        self.fill()
        while self.running:
            self.finish(min(self.running, key=lambda ticket: ticket.needs_bytes))
            self.fill()
        assert not self.admission.waiting
        return self.order


def test_what_fits_comes_in_the_order_of_arrival() -> None:
    slots = Slots()
    for number in range(10):
        slots.arrive(str(number), SMALL + number)
    assert slots.run_to_the_end() == [str(number) for number in range(10)]


def test_no_more_than_the_memory_is_given_out() -> None:
    slots = Slots(count=8)
    for number in range(8):
        slots.arrive(str(number), 40)
    slots.fill()
    assert len(slots.running) == 2
    slots.finish(slots.running[0])
    slots.fill()
    assert len(slots.running) == 2


def test_whoever_is_measured_keeps_the_place_of_its_arrival() -> None:
    admission = Admission[str](memory_bytes=MEMORY, slots=SLOTS)
    for name in ("first", "second"):
        admission.arrive(name, needs_bytes=1)
    first, second = admission.next(), admission.next()
    assert first is not None
    assert second is not None
    for ticket in (second, first):
        admission.measured(ticket, SMALL)
    assert [ticket.item for ticket in admission.waiting] == ["first", "second"]


def test_what_can_never_fit_is_told_at_once() -> None:
    admission = Admission[str](memory_bytes=MEMORY, slots=SLOTS)
    with pytest.raises(NeverFits):
        admission.arrive("a", needs_bytes=MEMORY + 1)
    admission.arrive("b", needs_bytes=1)
    ticket = admission.next()
    assert ticket is not None
    with pytest.raises(NeverFits):
        admission.measured(ticket, MEMORY + 1)
    admission.leave(ticket)
    assert admission.used_bytes == 0


def test_the_small_pass_a_large_one_that_waits() -> None:
    slots = Slots()
    slots.arrive("large", LARGE)
    slots.arrive("small", SMALL)
    slots.arrive("small too", SMALL)
    assert slots.run_to_the_end() == ["small", "small too", "large"]


def test_a_large_one_waits_for_so_many_small_ones_and_no_more() -> None:
    slots = Slots()
    slots.arrive("large", LARGE)
    for number in range(40):
        slots.arrive(str(number), SMALL)
    order = slots.run_to_the_end()
    assert order.index("large") <= PASSES + SLOTS


def test_beside_a_due_large_one_only_what_leaves_it_its_room_is_admitted() -> None:
    slots = Slots(count=3)
    slots.arrive("large", 70)
    for number in range(PASSES):
        slots.arrive(str(number), 20)
    slots.arrive("beside", 30)
    slots.arrive("in its way", 31)
    slots.fill()
    while len(slots.order) < PASSES:
        slots.finish(slots.running[0])
        slots.fill()
    while slots.running:
        slots.finish(slots.running[0])
        slots.fill()
    late = slots.order[PASSES:]
    assert late.index("large") < late.index("in its way")


def test_panoramas_in_a_row_let_the_small_between_them() -> None:
    slots = Slots()
    for number in range(4):
        slots.arrive(f"large {number}", MEMORY)
    for number in range(4 * PASSES):
        slots.arrive(f"small {number}", SMALL)
    order = slots.run_to_the_end()
    large = [at for at, name in enumerate(order) if name.startswith("large")]
    assert large == [(number + 1) * (PASSES + 1) - 1 for number in range(4)]


def test_originals_that_are_held_take_room_but_never_all_of_it() -> None:
    slots = Slots()
    for name in ("a", "b", "c", "d"):
        slots.arrive(name, 50, held=60)
    slots.fill()
    assert [ticket.item for ticket in slots.running] == ["a"]
    assert slots.run_to_the_end() == ["a", "b", "c", "d"]


def test_leaving_gives_back_and_may_be_repeated() -> None:
    admission = Admission[str](memory_bytes=MEMORY, slots=SLOTS)
    waiting = admission.arrive("a", needs_bytes=10, held_bytes=5)
    admission.arrive("b", needs_bytes=20)
    running = admission.next()
    assert running is waiting
    for _ in range(2):
        admission.leave(running)
    assert admission.used_bytes == 0
    assert [ticket.item for ticket in admission.waiting] == ["b"]


@given(
    needs=st.lists(st.integers(1, MEMORY), max_size=40),
    held=st.integers(0, 40),
    count=st.integers(1, 6),
    chances=st.randoms(use_true_random=False),
)
def test_everything_runs_once_and_a_large_one_is_passed_so_often_at_most(
    needs: list[int], held: int, count: int, chances: object
) -> None:
    slots = Slots(count=count)
    pending = [(str(number), size) for number, size in enumerate(needs)]
    pick = chances.randrange  # type: ignore[attr-defined]
    while pending or slots.running or slots.admission.waiting:
        for name, size in pending[: (arriving := pick(4))]:
            slots.arrive(name, size, held if pick(3) == 0 else 0)
        del pending[:arriving]
        slots.fill()
        assert all(ticket.passed <= PASSES for ticket in slots.admission.waiting)
        if slots.running:
            slots.finish(slots.running[pick(len(slots.running))])
        else:
            assert not slots.admission.waiting, "nothing runs, and something waits"
    assert sorted(slots.order) == sorted(str(number) for number in range(len(needs)))
    assert slots.admission.used_bytes == 0


@given(
    small=st.lists(st.integers(1, 30), max_size=40),
    large=st.integers(51, MEMORY),
    count=st.integers(1, 6),
    chances=st.randoms(use_true_random=False),
)
def test_a_due_one_waits_for_older_renders_only(
    small: list[int], large: int, count: int, chances: object
) -> None:
    slots = Slots(count=count)
    slots.arrive("large", large)
    for number, size in enumerate(small):
        slots.arrive(str(number), size)
    pick = chances.randrange  # type: ignore[attr-defined]
    older: set[str] | None = None
    while slots.running or slots.admission.waiting:
        slots.fill()
        if "large" in slots.order:
            break
        (waiting,) = (ticket for ticket in slots.admission.waiting if ticket.item == "large")
        if waiting.due_since is not None:
            older = older or {ticket.item for ticket in slots.running}
            if not any(ticket.item in older for ticket in slots.running):
                room = MEMORY - slots.admission.used_bytes
                assert room >= large, "younger renders stand in its way"
        slots.finish(slots.running[pick(len(slots.running))])
    assert "large" in slots.order
