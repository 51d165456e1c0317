"""This module plans how many renders and messages, and how much memory, a machine can carry."""

from __future__ import annotations

from dataclasses import dataclass

from worker.errors import ConfigurationError

MIB = 1 << 20

PARENT_BYTES = 200 * MIB
"""The parent process: Python, the two Google clients and their threads (docs/performance.md)."""

IN_FLIGHT_BYTES = 16 * MIB
"""For one message in flight: original and renditions on a temporary file system, and buffers."""

HELD_ORIGINAL_BYTES = IN_FLIGHT_BYTES // 2
"""`IN_FLIGHT_BYTES` contains an original up to this size; the rest of a larger one is added."""

CHILD_BYTES = 56 * MIB
"""A child process between two renders: 30 MiB after its start; allocators keep the rest."""

RENDER_BYTES = 184 * MIB
"""`memory` predicts this for a 24 MP photo of an upright camera; each slot should have as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Sizes derived from vCPUs and memory.

    `in_flight` limits the messages in this worker: it is FlowControl.max_messages, and the number
    of executor threads. All running renders share `render_memory_bytes`; a single render may use
    all of it.
    """

    slots: int
    in_flight: int
    render_memory_bytes: int


def plan_capacity(*, vcpus: int, memory_bytes: int, in_flight_per_vcpu: int) -> Capacity:
    """Plan a slot for each vCPU and `in_flight_per_vcpu` messages a slot; less if memory is short.

    Raises:
        ConfigurationError: the memory is too small for one render.
    """
    slot_bytes = CHILD_BYTES + RENDER_BYTES
    room = memory_bytes - PARENT_BYTES - IN_FLIGHT_BYTES
    if room < slot_bytes:
        raise no_room(memory_bytes, PARENT_BYTES + IN_FLIGHT_BYTES + slot_bytes)
    slots = min(vcpus, room // slot_bytes)
    left = memory_bytes - PARENT_BYTES - slots * slot_bytes
    in_flight = max(1, min(slots * in_flight_per_vcpu, left // IN_FLIGHT_BYTES))
    return Capacity(
        slots=slots,
        in_flight=in_flight,
        render_memory_bytes=(
            memory_bytes - PARENT_BYTES - in_flight * IN_FLIGHT_BYTES - slots * CHILD_BYTES
        ),
    )


def no_room(memory_bytes: int, needed_bytes: int) -> ConfigurationError:
    """Return the error for memory that is too small for one render."""
    return ConfigurationError(
        [
            (
                f"WORKER_MEMORY_BYTES: {memory_bytes} (unless set, what the container or the "
                "machine has) leaves no room for one render; "
                f"at least {needed_bytes} ({needed_bytes // MIB} MiB) are needed"
            )
        ]
    )
