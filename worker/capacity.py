"""How much this machine runs at once: render slots and messages in flight."""

from __future__ import annotations

from dataclasses import dataclass

from worker.errors import ConfigurationError

MIB = 1 << 20

PARENT_BYTES = 200 * MIB
"""The parent process: Python, the two Google clients and their threads (docs/performance.md)."""

IN_FLIGHT_BYTES = 16 * MIB
"""One message held: its original and renditions on a temporary file system, and its buffers."""

RENDER_BYTES = 320 * MIB
"""A child process on a 24 MP photo: interpreter, libvips, decoded pixels, encoder."""

SLOT_LIMIT_BYTES = 2048 * MIB
"""A child's address space for data is never limited to more than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Sizes derived from vCPUs and memory.

    `in_flight` bounds the messages held here, and is FlowControl.max_messages and the number of
    executor threads alike. `slot_memory_bytes` is the limit that one child process runs under.
    """

    slots: int
    in_flight: int
    slot_memory_bytes: int


def plan_capacity(*, vcpus: int, memory_bytes: int, in_flight_per_vcpu: int) -> Capacity:
    """One slot for each vCPU and `in_flight_per_vcpu` messages for each, cut down to fit memory.

    Raises:
        ConfigurationError: not even one render fits.
    """
    room = memory_bytes - PARENT_BYTES - IN_FLIGHT_BYTES
    if room < RENDER_BYTES:
        needed = PARENT_BYTES + IN_FLIGHT_BYTES + RENDER_BYTES
        raise ConfigurationError(
            [
                (
                    f"WORKER_MEMORY_BYTES: {memory_bytes} leaves no room for one render; "
                    f"at least {needed} ({needed // MIB} MiB) are needed"
                )
            ]
        )
    slots = min(vcpus, room // RENDER_BYTES)
    left = memory_bytes - PARENT_BYTES - slots * RENDER_BYTES
    in_flight = max(1, min(slots * in_flight_per_vcpu, left // IN_FLIGHT_BYTES))
    return Capacity(
        slots=slots,
        in_flight=in_flight,
        slot_memory_bytes=min(
            SLOT_LIMIT_BYTES,
            (memory_bytes - PARENT_BYTES - in_flight * IN_FLIGHT_BYTES) // slots,
        ),
    )
