"""Variables: the names of settings in the environment."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Final

PREFIX: Final = "WORKER_"

_OTHER_NAMES: Final = {
    "project": "GOOGLE_CLOUD_PROJECT",
    "pubsub_emulator_host": "PUBSUB_EMULATOR_HOST",
    "storage_emulator_host": "STORAGE_EMULATOR_HOST",
}

_NEAR: Final = 0.85
"""From this difflib ratio on, a name counts as a misspelling of another name."""


def variable(name: str) -> str:
    """Return a setting's variable: `WORKER_...`, or the name that Google's clients read."""
    return _OTHER_NAMES.get(name, f"{PREFIX}{name.upper()}")


def misspelt(environment: Mapping[str, str], settings: Iterable[str]) -> list[str]:
    """Return a problem for each misspelt variable; a typo would silently mean the default."""
    known = [variable(name) for name in settings]
    problems = []
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name in known:
            continue
        if near := difflib.get_close_matches(name, known, n=1, cutoff=_NEAR):
            problems.append(
                f"{name}={environment[name]!r}: no such setting; did you mean {near[0]}?"
            )
    return problems
