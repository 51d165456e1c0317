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
CGROUP = "sys/fs/cgroup"


@pytest.mark.parametrize(
    ("files", "vcpus", "memory_bytes"),
    [
        pytest.param(HOST, 16, 64 * GIB, id="no cgroup at all"),
        pytest.param(V2, 16, 64 * GIB, id="v2 without files"),
        pytest.param(
            {
                **V2,
                f"{CGROUP}/pod/worker/cpu.max": "max 100000\n",
                f"{CGROUP}/pod/worker/memory.max": "max\n",
            },
            16,
            64 * GIB,
            id="v2 without limits",
        ),
        pytest.param(
            {
                **V2,
                f"{CGROUP}/pod/worker/cpu.max": "400000 100000\n",
                f"{CGROUP}/pod/worker/memory.max": f"{2 * GIB}\n",
            },
            4,
            2 * GIB,
            id="v2",
        ),
        pytest.param(
            {
                **V2,
                f"{CGROUP}/pod/worker/cpu.max": "400000 100000\n",
                f"{CGROUP}/pod/cpu.max": "200000 100000\n",
                f"{CGROUP}/pod/worker/memory.max": f"{4 * GIB}\n",
                f"{CGROUP}/pod/memory.max": f"{3 * GIB}\n",
            },
            2,
            3 * GIB,
            id="v2 with a tighter outer group",
        ),
        pytest.param(
            {
                **V2,
                f"{CGROUP}/cpu.max": "300000 100000\n",
                f"{CGROUP}/memory.max": f"{GIB}\n",
            },
            3,
            GIB,
            id="v2 whose path is not below the mount",
        ),
        pytest.param(
            {
                **HOST,
                "proc/self/cgroup": "0::/\n",
                f"{CGROUP}/cpu.max": "150000 100000\n",
                f"{CGROUP}/memory.max": f"{GIB}\n",
            },
            1,
            GIB,
            id="a quota of 1.5 counts as 1",
        ),
        pytest.param(
            {**V2, f"{CGROUP}/pod/worker/cpu.max": "10000 100000\n"},
            1,
            64 * GIB,
            id="a tenth of a core is one slot",
        ),
        pytest.param(
            {**V2, f"{CGROUP}/pod/worker/cpu.max": "9900000 100000\n"},
            16,
            64 * GIB,
            id="a quota beyond the cores",
        ),
        pytest.param(
            {**V2, f"{CGROUP}/pod/worker/memory.max": f"{128 * GIB}\n"},
            16,
            64 * GIB,
            id="a limit beyond the memory",
        ),
        pytest.param(
            {
                **V1,
                f"{CGROUP}/cpu,cpuacct/docker/x/cpu.cfs_quota_us": "200000\n",
                f"{CGROUP}/cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000\n",
                f"{CGROUP}/memory/docker/x/memory.limit_in_bytes": f"{GIB}\n",
            },
            2,
            GIB,
            id="v1",
        ),
        pytest.param(
            {
                **V1,
                f"{CGROUP}/cpu/cpu.cfs_quota_us": "300000\n",
                f"{CGROUP}/cpu/cpu.cfs_period_us": "100000\n",
                f"{CGROUP}/memory/memory.limit_in_bytes": f"{2 * GIB}\n",
            },
            3,
            2 * GIB,
            id="v1 in a container",
        ),
        pytest.param(
            {
                **V1,
                f"{CGROUP}/cpu,cpuacct/docker/x/cpu.cfs_quota_us": "-1\n",
                f"{CGROUP}/cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000\n",
                f"{CGROUP}/memory/docker/x/memory.limit_in_bytes": "9223372036854771712\n",
            },
            16,
            64 * GIB,
            id="v1 without limits",
        ),
        pytest.param(
            {
                **HYBRID,
                f"{CGROUP}/cpu,cpuacct/x/cpu.cfs_quota_us": "500000\n",
                f"{CGROUP}/cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
                f"{CGROUP}/unified/x/memory.max": f"{5 * GIB}\n",
            },
            5,
            5 * GIB,
            id="hybrid",
        ),
        pytest.param(
            {
                **V2,
                f"{CGROUP}/pod/worker/cpu.max": "nonsense\n",
                f"{CGROUP}/pod/worker/memory.max": "\n",
            },
            16,
            64 * GIB,
            id="nonsense",
        ),
        pytest.param(
            {**V2, f"{CGROUP}/pod/worker/cpu.max": "100000 0\n"}, 16, 64 * GIB, id="no period"
        ),
    ],
)
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
