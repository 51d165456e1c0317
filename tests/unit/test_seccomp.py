"""The filter of system calls, run through a small interpreter for both architectures."""

from __future__ import annotations

import errno

import pytest

from worker.seccomp import ARCHITECTURES, Architecture, program

ALLOW, DENY, UNKNOWN = 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
PID = 4242
READ = {"x86_64": 0, "aarch64": 63}

on_both = pytest.mark.parametrize("name", sorted(ARCHITECTURES))


def verdict(of: Architecture, number: int, first: int = 0, *, audit: int | None = None) -> int:
    """What the kernel would do with a call."""
    words = {0: number, 4: of.audit if audit is None else audit, 16: first}
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


@on_both
def test_other_numberings_are_denied_altogether(name: str) -> None:
    architecture = ARCHITECTURES[name]
    assert verdict(architecture, READ[name], audit=0x40000003) == DENY


def test_x32_calls_are_denied() -> None:
    assert verdict(ARCHITECTURES["x86_64"], 0x40000000 | 41) == DENY
