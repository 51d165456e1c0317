"""Slots and messages in flight, from vCPUs and memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import ConfigurationError
from worker.photo.header import Header
from worker.photo.ladder import DEFAULT_LADDER
from worker.photo.looks import Looks
from worker.photo.recipe import Recipe
from worker.render.capacity import (
    CHILD_BYTES,
    IN_FLIGHT_BYTES,
    MIB,
    PARENT_BYTES,
    RENDER_BYTES,
    plan_capacity,
)
from worker.render.memory import peak_bytes

LEAST_BYTES = PARENT_BYTES + IN_FLIGHT_BYTES + CHILD_BYTES + RENDER_BYTES


def test_ample_memory_leaves_it_to_the_vcpus() -> None:
    capacity = plan_capacity(vcpus=4, memory_bytes=64 << 30, in_flight_per_vcpu=3)
    assert (capacity.slots, capacity.in_flight) == (4, 12)
    held = PARENT_BYTES + 12 * IN_FLIGHT_BYTES + 4 * CHILD_BYTES
    assert capacity.render_memory_bytes == (64 << 30) - held


def test_little_memory_cuts_slots_and_messages_down() -> None:
    capacity = plan_capacity(vcpus=8, memory_bytes=LEAST_BYTES, in_flight_per_vcpu=3)
    assert (capacity.slots, capacity.in_flight) == (1, 1)
    assert capacity.render_memory_bytes == RENDER_BYTES


def test_too_little_memory_says_how_much_is_needed() -> None:
    with pytest.raises(ConfigurationError, match=rf"WORKER_MEMORY_BYTES.*{LEAST_BYTES // MIB} MiB"):
        plan_capacity(vcpus=1, memory_bytes=LEAST_BYTES - 1, in_flight_per_vcpu=1)


@given(
    vcpus=st.integers(1, 256),
    memory_bytes=st.integers(LEAST_BYTES, 1 << 40),
    in_flight_per_vcpu=st.integers(1, 64),
)
def test_the_plan_fits(vcpus: int, memory_bytes: int, in_flight_per_vcpu: int) -> None:
    capacity = plan_capacity(
        vcpus=vcpus, memory_bytes=memory_bytes, in_flight_per_vcpu=in_flight_per_vcpu
    )
    assert 1 <= capacity.slots <= vcpus
    assert 1 <= capacity.in_flight <= capacity.slots * in_flight_per_vcpu
    assert capacity.render_memory_bytes >= capacity.slots * RENDER_BYTES
    held = PARENT_BYTES + capacity.in_flight * IN_FLIGHT_BYTES + capacity.slots * CHILD_BYTES
    assert held + capacity.render_memory_bytes == memory_bytes


def test_a_slot_has_room_for_a_photo_of_24_megapixels() -> None:
    recipe = Recipe(
        ladder=DEFAULT_LADDER, looks=Looks(quality=80, effort=4, full_effort=2), codec=""
    )
    photo = Header(
        format="jpeg", width=6000, height=4000, bands=3, bits=8, turned=True, copied=True
    )
    assert peak_bytes(photo, 12 * MIB, recipe) <= RENDER_BYTES
