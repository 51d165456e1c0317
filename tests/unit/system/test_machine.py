"""What the cgroup grants, on false `/proc` and `/sys` trees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.system.machine import Machine, read_machine

GIB = 1 << 30
HOST = {"proc/meminfo": "MemTotal:       67108864 kB\nMemFree:        1024 kB\n"}
"""64 GiB."""


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))


def lay(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2 = {**HOST, "proc/self/cgroup": "0::/pod/worker\n"}
V1 = {**HOST, "proc/self/cgroup": "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/\n"}
HYBRID = {**HOST, "proc/self/cgroup": "4:cpu,cpuacct:/x\n0::/x\n"}
AT_ROOT = {**HOST, "proc/self/cgroup": "0::/\n"}
CGROUP = "sys/fs/cgroup"


def v2(cpu: str | None = None, memory: object = None, group: str = "/pod/worker") -> dict[str, str]:
    """The files of a cgroup of version 2."""
    files = {"cpu.max": cpu, "memory.max": memory}
    return {
        f"{CGROUP}{group}/{name}": f"{text}\n" for name, text in files.items() if text is not None
    }


def v1_cpu(folder: str, quota: int) -> dict[str, str]:
    """The CPU's files of a cgroup of version 1."""
    folder = f"{CGROUP}/{folder}"
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": "100000\n"}


def v1_memory(folder: str, limit: int) -> dict[str, str]:
    return {f"{CGROUP}/{folder}/memory.limit_in_bytes": f"{limit}\n"}


DOCKER_CPU, DOCKER_MEMORY = "cpu,cpuacct/docker/x", "memory/docker/x"
TIGHTER = v2("200000 100000", 3 * GIB, "/pod")
GRANTED: dict[str, tuple[dict[str, str], int, int]] = {
    "no cgroup at all": (HOST, 16, 64 * GIB),
    "v2 without files": (V2, 16, 64 * GIB),
    "v2 without limits": (V2 | v2("max 100000", "max"), 16, 64 * GIB),
    "v2": (V2 | v2("400000 100000", 2 * GIB), 4, 2 * GIB),
    "v2 with a tighter outer group": (V2 | v2("400000 100000", 4 * GIB) | TIGHTER, 2, 3 * GIB),
    "v2 whose path is not below the mount": (V2 | v2("300000 100000", GIB, ""), 3, GIB),
    "a quota of 1.5 counts as 1": (AT_ROOT | v2("150000 100000", GIB, ""), 1, GIB),
    "a tenth of a core is one slot": (V2 | v2("10000 100000"), 1, 64 * GIB),
    "a quota beyond the cores": (V2 | v2("9900000 100000"), 16, 64 * GIB),
    "a limit beyond the memory": (V2 | v2(memory=128 * GIB), 16, 64 * GIB),
    "v1": (V1 | v1_cpu(DOCKER_CPU, 200_000) | v1_memory(DOCKER_MEMORY, GIB), 2, GIB),
    "v1 in a container": (V1 | v1_cpu("cpu", 300_000) | v1_memory("memory", 2 * GIB), 3, 2 * GIB),
    "v1 without limits": (
        V1 | v1_cpu(DOCKER_CPU, -1) | v1_memory(DOCKER_MEMORY, 9223372036854771712),
        16,
        64 * GIB,
    ),
    "hybrid": (
        HYBRID | v1_cpu("cpu,cpuacct/x", 500_000) | v2(memory=5 * GIB, group="/unified/x"),
        5,
        5 * GIB,
    ),
    "nonsense": (V2 | v2("nonsense", ""), 16, 64 * GIB),
    "no period": (V2 | v2("100000 0"), 16, 64 * GIB),
}


@pytest.mark.parametrize(("files", "vcpus", "memory_bytes"), GRANTED.values(), ids=GRANTED)
def test_what_is_granted(
    tmp_path: Path, files: dict[str, str], vcpus: int, memory_bytes: int
) -> None:
    assert read_machine(lay(tmp_path, files)) == Machine(vcpus=vcpus, memory_bytes=memory_bytes)


def test_the_affinity_binds_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7})
    assert read_machine(lay(tmp_path, HOST)).vcpus == 3


def test_this_machine_is_read() -> None:
    machine = read_machine()
    assert machine.vcpus >= 1
    assert machine.memory_bytes > 64 << 20
