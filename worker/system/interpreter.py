"""This module builds the command of a new process with the same Python and the same package.

`python -m` looks for modules in the current folder first, so a `queue.py` there would run with the
worker's credentials. `-P` leaves that folder out. Then `PYTHONPATH` must name a source checkout
that is not installed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

_PATH = "PYTHONPATH"


def command(module: str, *arguments: str) -> list[str]:
    """Return the command line of `python -m module`."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment_for(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with a `PYTHONPATH` in which `command` finds this package."""
    folder = checkout()
    if folder is None:
        return dict(environment)
    # The operator's folders come first, as they do in this process.
    named = [part for part in environment.get(_PATH, "").split(os.pathsep) if part]
    if str(folder) not in named:
        named.append(str(folder))
    return {**environment, _PATH: os.pathsep.join(named)}


def checkout() -> Path | None:
    """Return the source checkout that holds this package; `None` if the package is installed."""
    folder = Path(__file__).resolve().parents[2]
    return None if next(folder.glob("*.dist-info"), None) else folder
