"""A filter of system calls for child processes: no network, no programs, no other processes.

The filter is classic BPF. It is built by hand, because it is one row of comparisons, and installed
with two system calls, without a compiled library. It denies calls that a decoder does not need and
allows the rest: a list of allowed calls would break with each new codec. Numbers are from Linux's
`asm/unistd_64.h` and `asm-generic/unistd.h`; from 424 on they are the same everywhere.
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
_SECOND_ARGUMENT_AT: Final = 24
"""The offsets of the arguments' lower halves; both architectures are little-endian."""

_CLONE_THREAD: Final = 0x00010000
_SET_MODE_FILTER: Final = 1
_ALL_THREADS: Final = 1
_NO_NEW_PRIVS: Final = 38
_CAPABILITIES_VERSION: Final = 0x20080522
_INSTRUCTION: Final = struct.Struct("=HBBI")

Instruction = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The numbers of the system calls that are named in the filter."""

    audit: int
    seccomp: int
    capset: int
    clone: int
    thread_kill: int
    kill: int
    prlimit: int
    fcntl: int
    denied: tuple[int, ...]
    foreign_from: int | None = None


_DENIED_ON_BOTH = (
    *(424, 434, 438, 440),  # pidfd_send_signal, pidfd_open, pidfd_getfd, process_madvise
    425,  # io_uring_setup: it can open sockets
    *(428, 429, 430, 431, 432, 433, 442, 467),  # open_tree, move_mount, fs*, mount_setattr
    447,  # memfd_secret
    *(452, 463, 466, 469),  # fchmodat2, setxattrat, removexattrat, file_setattr
)

_SIGNALS_OF_FILES: Final = (8, 10, 15, 1024, 1026)
"""F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY: they make the kernel send a signal to any
named process, or delay processes that open a file."""

_CLONE3: Final = 435

ARCHITECTURES: Final = {
    "x86_64": Architecture(
        audit=0xC000003E,
        seccomp=317,
        capset=126,
        clone=56,
        thread_kill=234,
        kill=62,
        prlimit=302,
        fcntl=72,
        denied=(
            *(41, 53),  # socket, socketpair
            *(57, 58, 59, 322),  # fork, vfork, execve, execveat
            *(101, 310, 311, 129, 297, 200),  # ptrace, process_vm_*, rt_*sigqueueinfo, tkill
            *(155, 161, 165, 166, 272, 308),  # pivot_root, chroot, mount, umount2, unshare, setns
            *(141, 142, 144, 203, 251, 314),  # setpriority, sched_set*, ioprio_set
            *(256, 279),  # migrate_pages, move_pages
            *(90, 91, 92, 93, 94, 260, 268),  # chmod, chown
            *(76, 132, 235, 261, 280),  # truncate by path, utime
            *(86, 88, 133, 259, 265, 266),  # link, symlink, mknod: a pipe would block its reader
            *(188, 189, 190, 197, 198, 199),  # setxattr, removexattr
            *(253, 254, 294, 300, 301),  # inotify, fanotify
            # memory that outlasts its process, or escapes its limit: memfd_create, System V's
            # shared memory, queues and semaphores, mq_open, mq_unlink
            *(319, 29, 30, 31, 64, 65, 66, 68, 69, 70, 71, 220, 240, 241),
            *(248, 249, 250, 298, 321, 323),  # keys, perf_event_open, bpf, userfaultfd
            *_DENIED_ON_BOTH,
        ),
        foreign_from=0x40000000,  # the x32 calls, which share the architecture's number
    ),
    "aarch64": Architecture(
        audit=0xC00000B7,
        seccomp=277,
        capset=91,
        clone=220,
        thread_kill=131,
        kill=129,
        prlimit=261,
        fcntl=25,
        denied=(
            *(198, 199),
            *(221, 281),
            *(117, 270, 271, 138, 240, 130),
            *(41, 51, 40, 39, 97, 268),
            *(140, 118, 119, 122, 30, 274),
            *(238, 239),
            *(52, 53, 54, 55),
            *(45, 88),
            *(33, 36, 37),
            *(5, 6, 7, 14, 15, 16),
            *(26, 27, 262, 263),
            *(279, 194, 196, 195, 190, 193, 191, 186, 189, 188, 187, 192, 180, 181),
            *(217, 218, 219, 241, 280, 282),
            *_DENIED_ON_BOTH,
        ),
    ),
}


def program(of: Architecture, pid: int) -> list[Instruction]:
    """Return the filter for one process: each rule is a comparison and the answer if it is true.

    The process may signal and limit only `pid`, which is itself (a codec that aborts signals its
    own process). Calls by another architecture's numbers are denied.
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
    # The flags of `clone3` are in memory, where a filter cannot read them. C libraries fall back
    # to `clone`.
    instructions += [(_JUMP_IF_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _UNKNOWN)]
    instructions += _only_if(of.clone, (_JUMP_IF_ANY_BIT, _CLONE_THREAD))
    for number in (of.thread_kill, of.kill):
        instructions += _only_if(number, (_JUMP_IF_EQUAL, pid))
    instructions += _only_if(of.prlimit, (_JUMP_IF_EQUAL, 0), (_JUMP_IF_EQUAL, pid))
    instructions += _unless(of.fcntl, _SIGNALS_OF_FILES)
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


def _unless(number: int, refused: tuple[int, ...]) -> list[Instruction]:
    """Deny a call whose second argument is one of these, else allow it."""
    tests = [(_JUMP_IF_EQUAL, len(refused) - at, 0, value) for at, value in enumerate(refused)]
    block = [
        (_LOAD_WORD, 0, 0, _SECOND_ARGUMENT_AT),
        *tests,
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _DENY),
    ]
    return [(_JUMP_IF_EQUAL, 0, len(block), number), *block]


def drop_capabilities() -> None:
    """Drop root's capabilities from the calling thread; with them it could raise hard limits again.

    Raises:
        OSError: the architecture is unknown here, or the kernel refuses the call.
    """
    header = struct.pack("=Ii", _CAPABILITIES_VERSION, 0)
    system_call("capset", _own_architecture().capset, header, bytes(24))


def forbid_new_privileges() -> None:
    """Give up new privileges for this process; the kernel requires it before a filter.

    Raises:
        OSError: the kernel refuses the call.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS")


def install() -> None:
    """Filter every thread of this process from here on, for good.

    Raises:
        OSError: the kernel refuses the filter, or the architecture is unknown here.
    """
    architecture = _own_architecture()
    forbid_new_privileges()
    instructions = program(architecture, os.getpid())
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*each) for each in instructions))
    filter_of_them = ctypes.create_string_buffer(
        struct.pack("@HP", len(instructions), ctypes.addressof(code))
    )
    system_call("seccomp", architecture.seccomp, _SET_MODE_FILTER, _ALL_THREADS, filter_of_them)


def system_call(name: str, number: int, *arguments: object) -> int:
    """Make a system call by its number.

    Raises:
        OSError: the call fails; `name` is in the message.
    """
    result = int(ctypes.CDLL(None, use_errno=True).syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def _own_architecture() -> Architecture:
    known = ARCHITECTURES.get(platform.machine())
    if known is None:
        raise OSError(errno.ENOSYS, f"no system calls are known of {platform.machine()}")
    return known
