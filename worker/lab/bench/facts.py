"""The facts in the head of a report: the machine, the versions and the time."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from typing import Any

from worker import __version__
from worker.settings.settings import Settings
from worker.system.facts import machine, versions

_PACKAGES = (
    "pyvips",
    "pyvips-binary",
    "pi-heif",
    "google-cloud-pubsub",
    "google-cloud-storage",
    "grpcio",
)


def facts(verb: str) -> dict[str, Any]:
    """Return the head of a report: verb, time, machine, versions."""
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


def request_of(settings: Settings) -> dict[str, Any]:
    """Return the settings that decide the renditions, for a request to a child of `bench`."""
    recipe = settings.recipe("")
    return {
        "ladder": str(recipe.ladder),
        "quality": recipe.looks.quality,
        "effort": recipe.looks.effort,
        "full_effort": recipe.looks.full_effort,
    }
