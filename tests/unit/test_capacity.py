"""Slots and messages in flight, from vCPUs and memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.capacity import (
    IN_FLIGHT_BYTES,
    MIB,
    PARENT_BYTES,
    RENDER_BYTES,
    SLOT_LIMIT_BYTES,
    plan_capacity,
)
from worker.errors import ConfigurationError

LEAST_BYTES = PARENT_BYTES + IN_FLIGHT_BYTES + RENDER_BYTES


def test_ample_memory_leaves_it_to_the_vcpus() -> None:
    capacity = plan_capacity(vcpus=4, memory_bytes=64 << 30, in_flight_per_vcpu=3)
    assert (capacity.slots, capacity.in_flight) == (4, 12)
    assert capacity.slot_memory_bytes == SLOT_LIMIT_BYTES


def test_little_memory_cuts_slots_and_messages_down() -> None:
    capacity = plan_capacity(vcpus=8, memory_bytes=LEAST_BYTES, in_flight_per_vcpu=3)
    assert (capacity.slots, capacity.in_flight) == (1, 1)
    assert capacity.slot_memory_bytes == RENDER_BYTES


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
    used = PARENT_BYTES + capacity.slots * RENDER_BYTES + capacity.in_flight * IN_FLIGHT_BYTES
    assert used <= memory_bytes
    assert RENDER_BYTES <= capacity.slot_memory_bytes <= SLOT_LIMIT_BYTES
    held = capacity.in_flight * IN_FLIGHT_BYTES
    assert PARENT_BYTES + held + capacity.slots * capacity.slot_memory_bytes <= memory_bytes
