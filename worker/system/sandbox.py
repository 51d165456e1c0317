"""The sandbox that a child process puts itself into, before it sees its first picture.

Limits of memory, CPU seconds, file size and open files work on POSIX. The filter of system calls,
the restriction of files and dropped capabilities work on Linux. If a platform, kernel or container
refuses one of them, a child runs without it and reports it. See docs/decisions/0013.
"""

from __future__ import annotations

import math
import os
import re
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from worker.system import interpreter, landlock, processes, seccomp

MIB: Final = 1 << 20

FILE_BYTES: Final = 256 * MIB
"""The largest file that a child may write; a rendition is much smaller (WebP holds 268 MP)."""

OPEN_FILES: Final = 64

MARGIN_BYTES: Final = 96 * MIB
"""The limit also counts mapped but unused pages (stacks, arenas): 35 MiB measured. The rest is for
renders that are slightly larger than predicted."""

LIFE_CPU_SECONDS: Final = 6 * 3600
"""The hard CPU limit for the whole life of one child (200 renders of 100 s each); the child cannot
raise it."""

_SPARE_CPU_SECONDS: Final = 1

_ARENA_BYTES: Final = 2 * 128 * MIB
"""Two arenas of the C library reserve so many addresses, and use little memory."""

_READABLE: Final = (
    "/usr/lib",
    "/usr/lib64",
    "/usr/share",
    "/usr/local/share",
    "/lib",
    "/lib64",
    "/etc/fonts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/var/cache/fontconfig",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
    "/dev/null",
    "/dev/urandom",
)

_OUT_OF_MEMORY: Final = re.compile(
    r"out of memory|no memory|(?:failed|unable|cannot) to (?:m?alloc|allocate)|bad_alloc"
    r"|cannot allocate|insufficient memory|wbuffer_write|memory allocation|error creating thread",
    re.IGNORECASE,
)


def tells_of_no_memory(text: str) -> bool:
    """Return True if a library's message means that it ran out of memory."""
    return _OUT_OF_MEMORY.search(text) is not None


def confine(memory_bytes: int, scratch: Path) -> list[str]:
    """Put this process into the sandbox; return what the platform or its kernel refused, as text.

    `memory_bytes` is the most that one render may have, above what the process has now. The process
    may then read and write files below `scratch`, and read Python and its libraries. Call it in
    the main thread, before other threads start.
    """
    # The limit is doubled, because the kernel also counts memory that a codec reserves but does
    # not use.
    room = 2 * memory_bytes + MARGIN_BYTES
    limits = {
        "RLIMIT_DATA": processes.memory_bytes("self", "VmData") + room,
        # `RLIMIT_DATA` does not count shared mappings.
        "RLIMIT_AS": processes.memory_bytes("self", "VmSize") + room + _ARENA_BYTES,
        "RLIMIT_CPU": LIFE_CPU_SECONDS,
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": FILE_BYTES,
        "RLIMIT_NOFILE": OPEN_FILES,
    }
    refused = []
    for name, most in limits.items():
        try:
            _limit(name, most)
        except (AttributeError, OSError, ValueError) as error:
            # macOS refuses finite limits of memory.
            refused.append(f"{name}: {error}")
    os.closerange(3, OPEN_FILES)
    if sys.platform != "linux":
        why = f"{sys.platform} knows no filter of system calls and no restriction of files"
        return [*refused, why]
    try:
        seccomp.drop_capabilities()
    except OSError as error:
        refused.append(f"capabilities: {error}")
    try:
        seccomp.forbid_new_privileges()
        landlock.restrict(_readable(), scratch)
    except OSError as error:
        refused.append(f"files: {error}")
    try:
        seccomp.install()
    except OSError as error:
        refused.append(f"system calls: {error}")
    return refused


def _limit(name: str, most: int) -> None:
    """Set the soft and the hard limit, so that they cannot be raised again.

    A lower hard limit that the process already has stays.

    Raises:
        AttributeError, OSError, ValueError: the platform does not know the limit, or refuses it.
    """
    kind: int = getattr(resource, name)
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(kind, (most, most))


def limit_render(memory_bytes: int, cpu_seconds: float) -> None:
    """Limit the next render to `memory_bytes` and `cpu_seconds` above what the process has used.

    These soft limits are below the hard ones that `confine` has set. If the prediction was too low,
    only this render fails; the OOM killer does not run.
    """
    _limit_softly(
        "RLIMIT_DATA", processes.memory_bytes("self", "VmData") + memory_bytes + MARGIN_BYTES
    )
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = used.ru_utime + used.ru_stime + cpu_seconds + _SPARE_CPU_SECONDS
    _limit_softly("RLIMIT_CPU", math.ceil(seconds))


def _limit_softly(name: str, most: int) -> None:
    # `confine` has already reported the limits that the platform refuses.
    with suppress(AttributeError, OSError, ValueError):
        kind: int = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            resource.setrlimit(kind, (min(hard, most), hard))


def own_peak() -> int:
    """Return this process's peak memory, in bytes."""
    # On Linux, the figure of getrusage starts at the parent's peak.
    return processes.memory_bytes("self", "VmHWM") or processes.peak_bytes(
        resource.getrusage(resource.RUSAGE_SELF)
    )


def _readable() -> list[Path]:
    """Return the folders and files that hold Python, this package and the libraries of both."""
    # Without `-P`, the first entry is the folder in which the worker was started.
    importable = sys.path if sys.flags.safe_path else sys.path[1:]
    places = [sys.prefix, sys.base_prefix, *importable, *_READABLE]
    # The checkout folder also holds files that are not the package, so the child may not read it.
    barred = {Path(), Path("/"), interpreter.checkout()}
    return [Path(__file__).parents[1], *(path for path in map(Path, places) if path not in barred)]
