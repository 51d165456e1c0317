"""This module finds the vCPUs and the memory that the cgroup grants, not those of the host.

It reads cgroup v2 and v1 files and the scheduler's affinity. Tests pass another root folder.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_UNLIMITED_BYTES = 1 << 60
"""cgroup v1 writes a page-rounded 2**63 if there is no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Whole vCPUs (at least 1; a quota of 1.5 counts as 1) and bytes of memory."""

    vcpus: int
    memory_bytes: int


def read_machine(root: Path = Path("/")) -> Machine:
    """Return what the cgroup, the affinity mask and the kernel let this process use."""
    quotas = [quota for folder in _folders(root, "cpu") if (quota := _cpu_quota(folder))]
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    vcpus = max(1, math.floor(min([affinity or 1, *quotas])))
    limits = [limit for folder in _folders(root, "memory") if (limit := _memory_limit(folder))]
    return Machine(vcpus=vcpus, memory_bytes=min([_host_memory(root), *limits]))


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """Yield this process's cgroup folders for a controller, from the innermost to the mount's root.

    The limits of outer groups apply as well. Inside a container, the path in `/proc/self/cgroup`
    may not exist below the mount; then only its existing ancestors have limits.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, names, path = line.split(":", 2)
        if names == "":
            mounts = [root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"]
        elif controller in names.split(","):
            mounts = [root / "sys/fs/cgroup" / names, root / "sys/fs/cgroup" / controller]
        else:
            continue
        for mount in mounts:
            inner = Path(path.lstrip("/"))
            yield from (mount / part for part in (inner, *inner.parents))


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _cpu_quota(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    if not quota:
        quota = _read(folder / "cpu.cfs_quota_us")
        period = _read(folder / "cpu.cfs_period_us")
    if quota.isdigit() and period.isdigit() and int(period):
        return int(quota) / int(period)
    return None


def _memory_limit(folder: Path) -> int | None:
    text = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")
    return int(text) if text.isdigit() and int(text) < _UNLIMITED_BYTES else None


def _host_memory(root: Path) -> int:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
