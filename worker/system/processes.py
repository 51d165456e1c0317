"""What processes take: CPU seconds and memory, as Linux's /proc states them.

Without /proc these figures are 0. Those of `getrusage` and `wait4` exist on macOS too.
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
"""utime and stime, cutime and cstime: fields 14 to 17 of proc(5), from the third on, the state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one command took, with the children that it waited for."""

    cpu_seconds: float
    peak_bytes: int
    output: str


def run(command: Sequence[str], environment: Mapping[str, str], what: str) -> Cost:
    """Run a command to its end; `what` names it and its photo in errors.

    Raises:
        Fatal: it cannot be started or fails; the message holds the last line of its standard
            error, or of its standard output where it wrote no error.
    """
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command,
                env=environment_for(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                # Apart: a program that buffers its output writes it behind the error that ends it.
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
    """The most memory that a process has had; `ru_maxrss` is in bytes on macOS, else in KiB."""
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process; 0 once it is gone."""
    return sum(int(field) for field in _stat(pid)[_TIMES]) / _TICKS


def children_cpu_seconds(pid: int) -> float:
    """All processes below one: those that live, and the children that it has waited for."""
    ended = sum(int(field) for field in _stat(pid)[_ENDED_TIMES]) / _TICKS
    return ended + sum(tree_cpu_seconds(child) for child in children(pid))


def tree_cpu_seconds(pid: int, *, without: frozenset[int] = frozenset()) -> float:
    """A process and all below it, except for branches that begin with one of `without`."""
    if pid in without:
        return 0.0
    below = sum(tree_cpu_seconds(child, without=without) for child in children(pid))
    return cpu_seconds(pid) + below


def working_seconds(pid: int) -> float:
    """How long a process's main thread has run, or has waited for a busy core.

    0 where the kernel does not count it (`/proc/PID/schedstat`).
    """
    with contextlib.suppress(OSError, ValueError):
        ran, waited = Path(f"/proc/{pid}/schedstat").read_text().split()[:2]
        return (int(ran) + int(waited)) / 1e9
    return 0.0


def children(pid: int) -> list[int]:
    """The living children of a process."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):  # a thread that has ended meanwhile
                found += map(int, (thread / "children").read_text().split())
    return found


def memory_bytes(pid: int | str, field: str) -> int:
    """A `Vm...` figure of a process (`self` for this one); 0 where it is unknown."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return 0


def resident_bytes(pid: int) -> int:
    """A process's memory, with its share of shared pages (`Pss`); 0 once it is gone.

    The resident size where the kernel does not tell `Pss`.
    """
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return memory_bytes(pid, "VmRSS")


def reset_peak() -> None:
    """Reset this process's `VmHWM`, where the kernel allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def machine_cpu_seconds() -> tuple[float, float]:
    """Seconds that all CPUs have worked since the boot, and seconds that were stolen from them."""
    with contextlib.suppress(OSError):
        first = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        user, nice, system, _, _, irq, softirq, steal = (int(each) for each in first[:8])
        return (user + nice + system + irq + softirq) / _TICKS, steal / _TICKS
    return 0.0, 0.0


def _stat(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return ["0"] * 50
