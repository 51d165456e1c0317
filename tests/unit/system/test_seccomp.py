"""The filter of system calls, run through a small interpreter for both architectures."""

from __future__ import annotations

import errno

import pytest

from worker.system.seccomp import ARCHITECTURES, Architecture, program

ALLOW, DENY, UNKNOWN = 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
PID = 4242
READ = {"x86_64": 0, "aarch64": 63}

on_both = pytest.mark.parametrize("name", sorted(ARCHITECTURES))


def verdict(
    of: Architecture, number: int, first: int = 0, second: int = 0, *, audit: int | None = None
) -> int:
    """What the kernel would do with a call."""
    words = {0: number, 4: of.audit if audit is None else audit, 16: first, 24: second}
    instructions = program(of, PID)
    at, loaded = 0, 0
    while True:
        code, if_true, if_false, value = instructions[at]
        at += 1
        if code == 0x06:
            return value
        if code == 0x20:
            loaded = words[value]
            continue
        holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[code]
        at += if_true if holds else if_false


@on_both
def test_what_a_decoder_needs_is_allowed(name: str) -> None:
    architecture = ARCHITECTURES[name]
    assert verdict(architecture, READ[name]) == ALLOW
    threads = 0x3D0F00
    assert verdict(architecture, architecture.clone, threads) == ALLOW
    assert verdict(architecture, architecture.thread_kill, PID) == ALLOW
    assert verdict(architecture, architecture.prlimit, 0) == ALLOW
    assert verdict(architecture, architecture.prlimit, PID) == ALLOW
    for command in (1, 2, 3, 4, 1030):  # flags and copies of descriptors
        assert verdict(architecture, architecture.fcntl, PID, command) == ALLOW


@on_both
def test_the_rest_of_the_machine_is_out_of_reach(name: str) -> None:
    architecture = ARCHITECTURES[name]
    assert len(set(architecture.denied)) == len(architecture.denied)
    for number in architecture.denied:
        assert verdict(architecture, number, PID) == DENY
    fork = 0x01200011
    assert verdict(architecture, architecture.clone, fork) == DENY
    assert verdict(architecture, 435) == UNKNOWN
    for number in (architecture.kill, architecture.thread_kill, architecture.prlimit):
        assert verdict(architecture, number, PID + 1) == DENY
    for number in (architecture.kill, architecture.thread_kill):
        assert verdict(architecture, number, 0) == DENY
    for command in (8, 10, 15, 1024, 1026):  # set owner, signal, owner, lease, notify
        assert verdict(architecture, architecture.fcntl, 0, command) == DENY


NAMED = {
    "setpriority": (141, 140),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "ioprio_set": (251, 30),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchownat": (260, 54),
    "truncate": (76, 45),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "fremovexattr": (199, 16),
    "chroot": (161, 51),
    "mknodat": (259, 33),
    "symlinkat": (266, 36),
    "linkat": (265, 37),
    "pivot_root": (155, 41),
    "memfd_create": (319, 279),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "memfd_secret": (447, 447),
    "mount_setattr": (442, 442),
    "fchmodat2": (452, 452),
}
"""By x86-64's number and ARM64's."""


@pytest.mark.parametrize("call", NAMED)
def test_what_changes_others_files_priority_or_memory_is_denied(call: str) -> None:
    for name, number in zip(("x86_64", "aarch64"), NAMED[call], strict=True):
        assert verdict(ARCHITECTURES[name], number) == DENY


@on_both
def test_other_numberings_are_denied_altogether(name: str) -> None:
    architecture = ARCHITECTURES[name]
    assert verdict(architecture, READ[name], audit=0x40000003) == DENY


def test_x32_calls_are_denied() -> None:
    assert verdict(ARCHITECTURES["x86_64"], 0x40000000 | 41) == DENY
