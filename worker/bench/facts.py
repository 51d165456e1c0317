"""What a report needs so that its figures mean something: the machine, the versions, the moment."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from worker import __version__
from worker.config import Settings
from worker.machine import read_machine

_PACKAGES = (
    "pyvips",
    "pyvips-binary",
    "pi-heif",
    "google-cloud-pubsub",
    "google-cloud-storage",
    "grpcio",
)


def facts(verb: str) -> dict[str, Any]:
    """The head of a report: verb, time, machine, versions."""
    return {
        "verb": verb,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {
            "photo-worker": __version__,
            "python": platform.python_version(),
            **versions(_PACKAGES),
        },
    }


def machine(root: Path = Path("/")) -> dict[str, Any]:
    """CPU model, vCPUs and memory that are granted, kernel, and the load of the last minutes."""
    granted = read_machine(root)
    return {
        "cpu": _cpu_model(root),
        "vcpus": granted.vcpus,
        "memory_bytes": granted.memory_bytes,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def request_of(settings: Settings) -> dict[str, Any]:
    """What decides the renditions, as the child processes of `bench` are asked for them."""
    recipe = settings.recipe("")
    return {
        "ladder": str(recipe.ladder),
        "quality": recipe.quality,
        "effort": recipe.effort,
        "full_effort": recipe.full_effort,
    }


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
