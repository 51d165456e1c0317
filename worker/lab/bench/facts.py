"""What a report needs so that its figures mean something: the machine, the versions, the moment."""

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


def request_of(settings: Settings) -> dict[str, Any]:
    """What decides the renditions, as the child processes of `bench` are asked for them."""
    recipe = settings.recipe("")
    return {
        "ladder": str(recipe.ladder),
        "quality": recipe.looks.quality,
        "effort": recipe.looks.effort,
        "full_effort": recipe.looks.full_effort,
    }
