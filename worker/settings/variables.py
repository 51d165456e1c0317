"""Variables: what a setting is called in the environment. It only names them."""

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
"""How much alike two names are, by difflib's ratio, before one is a misspelling of the other."""


def variable(name: str) -> str:
    """The environment variable of a setting: `WORKER_...`, or the name Google's clients read."""
    return _OTHER_NAMES.get(name, f"{PREFIX}{name.upper()}")


def misspelt(environment: Mapping[str, str], settings: Iterable[str]) -> list[str]:
    """Variables that look like ours but are none: a typo would silently mean the default."""
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
