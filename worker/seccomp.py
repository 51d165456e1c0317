"""A filter of system calls for child processes: no network, no programs, nobody else's processes.

The program is built by hand (classic BPF) because it is thirty comparisons long, and installed
with two system calls, so that no compiled library has to come along. It denies what a decoder
never needs, and allows the rest: a list of what is allowed would break with each new codec.
Numbers are from Linux's `asm/unistd_64.h` and `asm-generic/unistd.h`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass
from typing import Final

_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_DENY: Final = _ERRNO | errno.EPERM
_UNKNOWN: Final = _ERRNO | errno.ENOSYS

_LOAD_WORD: Final = 0x20
_JUMP_IF_EQUAL: Final = 0x15
_JUMP_IF_NOT_LESS: Final = 0x35
_JUMP_IF_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06
_NUMBER_AT: Final = 0
_ARCHITECTURE_AT: Final = 4
_FIRST_ARGUMENT_AT: Final = 16
"""The lower half of it, as both architectures are little-endian."""

_CLONE_THREAD: Final = 0x00010000
_SET_MODE_FILTER: Final = 1
_ALL_THREADS: Final = 1
_NO_NEW_PRIVS: Final = 38
_INSTRUCTION: Final = struct.Struct("=HBBI")

Instruction = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The numbers of the system calls that are named in the filter."""

    audit: int
    seccomp: int
    clone: int
    thread_kill: int
    kill: int
    prlimit: int
    denied: tuple[int, ...]
    foreign_from: int | None = None


_DENIED_ON_BOTH = (424, 425, 434, 438, 440)
"""pidfd_send_signal, io_uring_setup (it can open sockets), pidfd_open, pidfd_getfd,
process_madvise."""

_CLONE3: Final = 435

ARCHITECTURES: Final = {
    "x86_64": Architecture(
        audit=0xC000003E,
        seccomp=317,
        clone=56,
        thread_kill=234,
        kill=62,
        prlimit=302,
        denied=(
            *(41, 53),  # socket, socketpair
            *(57, 58, 59, 322),  # fork, vfork, execve, execveat
            *(101, 310, 311, 129, 297, 200),  # ptrace, process_vm_*, rt_*sigqueueinfo, tkill
            *(165, 272, 308),  # mount, unshare, setns
            *(248, 249, 250, 298, 321, 323),  # keys, perf_event_open, bpf, userfaultfd
            *_DENIED_ON_BOTH,
        ),
        foreign_from=0x40000000,  # the x32 calls, which are others at the same architecture
    ),
    "aarch64": Architecture(
        audit=0xC00000B7,
        seccomp=277,
        clone=220,
        thread_kill=131,
        kill=129,
        prlimit=261,
        denied=(
            *(198, 199),
            *(221, 281),
            *(117, 270, 271, 138, 240, 130),
            *(40, 97, 268),
            *(217, 218, 219, 241, 280, 282),
            *_DENIED_ON_BOTH,
        ),
    ),
}


def program(of: Architecture, pid: int) -> list[Instruction]:
    """The filter for one process: each rule is a comparison and what follows if it holds.

    Signals and limits may only be those of `pid` itself (a codec that aborts signals itself).
    Anything called by another architecture's numbers is denied.
    """
    instructions: list[Instruction] = [
        (_LOAD_WORD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_IF_EQUAL, 1, 0, of.audit),
        (_RETURN, 0, 0, _DENY),
        (_LOAD_WORD, 0, 0, _NUMBER_AT),
    ]
    if of.foreign_from is not None:
        instructions += [
            (_JUMP_IF_NOT_LESS, 0, 1, of.foreign_from),
            (_RETURN, 0, 0, _DENY),
        ]
    for number in of.denied:
        instructions += [(_JUMP_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _DENY)]
    # Its flags lie in memory, out of a filter's sight; C libraries fall back to `clone`.
    instructions += [(_JUMP_IF_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _UNKNOWN)]
    instructions += _only_if(of.clone, (_JUMP_IF_ANY_BIT, _CLONE_THREAD))
    for number in (of.thread_kill, of.kill):
        instructions += _only_if(number, (_JUMP_IF_EQUAL, pid))
    instructions += _only_if(of.prlimit, (_JUMP_IF_EQUAL, 0), (_JUMP_IF_EQUAL, pid))
    return [*instructions, (_RETURN, 0, 0, _ALLOW)]


def _only_if(number: int, *accepted: tuple[int, int]) -> list[Instruction]:
    """Allow a call if its first argument passes one of the tests, else deny it."""
    tests = [(test, len(accepted) - at, 0, value) for at, (test, value) in enumerate(accepted)]
    block = [
        (_LOAD_WORD, 0, 0, _FIRST_ARGUMENT_AT),
        *tests,
        (_RETURN, 0, 0, _DENY),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return [(_JUMP_IF_EQUAL, 0, len(block), number), *block]


def forbid_new_privileges() -> None:
    """No program that this process might start gains any; the kernel wants it before a filter.

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS")


def install() -> None:
    """Filter every thread of this process from here on, for good.

    Raises:
        OSError: the kernel refuses, or the architecture has no filter here.
    """
    architecture = ARCHITECTURES.get(platform.machine())
    if architecture is None:
        raise OSError(errno.ENOSYS, f"no filter for {platform.machine()}")
    forbid_new_privileges()
    instructions = program(architecture, os.getpid())
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*each) for each in instructions))
    filter_of_them = ctypes.create_string_buffer(
        struct.pack("@HP", len(instructions), ctypes.addressof(code))
    )
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(architecture.seccomp, _SET_MODE_FILTER, _ALL_THREADS, filter_of_them):
        raise OSError(ctypes.get_errno(), "seccomp")
