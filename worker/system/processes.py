"""This module measures the CPU seconds and the memory of processes, from Linux's /proc.

Without /proc these figures are 0. The figures of `getrusage` and `wait4` exist on macOS too.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.errors import Fatal
from worker.system.interpreter import environment_for

_TICKS = os.sysconf("SC_CLK_TCK")

_TIMES, _ENDED_TIMES = slice(11, 13), slice(13, 15)
"""utime and stime, cutime and cstime: fields 14 to 17 of proc(5); `_stat` begins at the third."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """CPU seconds and memory of one command and the children that it waited for, and its output."""

    cpu_seconds: float
    peak_bytes: int
    output: str


def run(command: Sequence[str], environment: Mapping[str, str], what: str) -> Cost:
    """Run a command to its end; `what` names it and its photo in errors.

    Raises:
        Fatal: the command cannot be started or fails; the message holds the last line of its
            standard error, or of its standard output if it wrote no error.
    """
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command,
                env=environment_for(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                # A program that buffers its output may write it after the error that ends it, so
                # the two are kept apart.
                stderr=errors,
            )
        except OSError as error:
            raise Fatal(f"{what}: {command[0]}: {error.strerror}") from error
        try:
            output = process.stdout.read().decode(errors="replace") if process.stdout else ""
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            if process.stdout:
                process.stdout.close()
        process.returncode = code = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    if code:
        *_, last = (said.strip() or output.strip()).splitlines() or ["it said nothing"]
        raise Fatal(f"{what}: ended with {code}: {last.strip()}")
    return Cost(
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_bytes=peak_bytes(usage),
        output=output,
    )


def peak_bytes(usage: resource.struct_rusage) -> int:
    """Return a process's peak memory; `ru_maxrss` is in bytes on macOS, else in KiB."""
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of a process; 0 if it is gone."""
    return sum(int(field) for field in _stat(pid)[_TIMES]) / _TICKS


def children_cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of all processes below `pid`: living ones and those it waited for."""
    ended = sum(int(field) for field in _stat(pid)[_ENDED_TIMES]) / _TICKS
    return ended + sum(tree_cpu_seconds(child) for child in children(pid))


def tree_cpu_seconds(pid: int, *, without: frozenset[int] = frozenset()) -> float:
    """Return the CPU seconds of a process and all below it, without the branches at `without`."""
    if pid in without:
        return 0.0
    below = sum(tree_cpu_seconds(child, without=without) for child in children(pid))
    return cpu_seconds(pid) + below


def working_seconds(pid: int) -> float:
    """Return how long a process's main thread has run or has waited for a busy core.

    Return 0 if the kernel does not count it (`/proc/PID/schedstat`).
    """
    with contextlib.suppress(OSError, ValueError):
        ran, waited = Path(f"/proc/{pid}/schedstat").read_text().split()[:2]
        return (int(ran) + int(waited)) / 1e9
    return 0.0


def children(pid: int) -> list[int]:
    """Return the process ids of the living children of a process."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):  # the thread may have ended meanwhile
                found += map(int, (thread / "children").read_text().split())
    return found


def memory_bytes(pid: int | str, field: str) -> int:
    """Return a `Vm...` figure of a process (`self` for this one) in bytes; 0 if it is unknown."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return 0


def resident_bytes(pid: int) -> int:
    """Return a process's memory, with its share of shared pages (`Pss`); 0 if it is gone.

    If the kernel does not state `Pss`, return the resident size.
    """
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return memory_bytes(pid, "VmRSS")


def reset_peak() -> None:
    """Reset this process's `VmHWM` if the kernel allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def machine_cpu_seconds() -> tuple[float, float]:
    """Return the seconds that all CPUs have worked since the boot, and their stolen seconds."""
    with contextlib.suppress(OSError):
        first = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        user, nice, system, _, _, irq, softirq, steal = (int(each) for each in first[:8])
        return (user + nice + system + irq + softirq) / _TICKS, steal / _TICKS
    return 0.0, 0.0


def _stat(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return ["0"] * 50
