"""Facts that belong with the figures of a measured run: the machine and the versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from worker.system.machine import read_machine


def machine(root: Path = Path("/")) -> dict[str, Any]:
    """Return the CPU model, granted vCPUs and memory, kernel, and the load of the last minutes."""
    granted = read_machine(root)
    return {
        "cpu": _cpu_model(root),
        "vcpus": granted.vcpus,
        "memory_bytes": granted.memory_bytes,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cpu_model(root: Path) -> str:
    try:
        lines = (root / "proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or "unknown"
