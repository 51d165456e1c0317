"""How this package starts another process of its own: the same Python, the same package.

Never anything of the folder that it happens to be started in: `python -m` would look there first,
so a `queue.py` in it would run with the worker's credentials. `-P` leaves that folder out; then a
source checkout that is not installed has to be named.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

_PATH = "PYTHONPATH"


def command(module: str, *arguments: str) -> list[str]:
    """The command line of `python -m module`."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment_for(environment: Mapping[str, str]) -> dict[str, str]:
    """The same environment, in which such a command finds this package."""
    folder = checkout()
    if folder is None:
        return dict(environment)
    # Last: what the operator has named comes first, as it does in this process.
    named = [part for part in environment.get(_PATH, "").split(os.pathsep) if part]
    if str(folder) not in named:
        named.append(str(folder))
    return {**environment, _PATH: os.pathsep.join(named)}


def checkout() -> Path | None:
    """The folder that holds this package and is no installation: more may lie in it."""
    folder = Path(__file__).resolve().parents[2]
    return None if next(folder.glob("*.dist-info"), None) else folder
