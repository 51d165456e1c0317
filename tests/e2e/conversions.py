"""`photo-worker convert` as a process, and what it leaves in its output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.pictures import noisy_jpeg

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("WORKER_")},
    "WORKER_EFFORT": "0",
    "WORKER_FULL_EFFORT": "0",
    "WORKER_VCPUS": "2",
}

OWN = (".photo-worker", "summary.json", "failures.jsonl")
"""What `convert` writes besides pictures: it holds times."""


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "worker", "convert", *map(str, arguments)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One run that has come to its end."""

    code: int
    output: str
    errors: str

    @property
    def summary(self) -> dict[str, Any]:
        """Of a run with `--json`."""
        summary: dict[str, Any] = json.loads(self.output)
        return summary


AS_ANYBODY = (
    "import ctypes, os, sys; libc = ctypes.CDLL(None)\n"
    # PR_CAPBSET_DROP of CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: root heeds permissions too.
    "libc.prctl(24, 1, 0, 0, 0); libc.prctl(24, 2, 0, 0, 0)\n"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def convert(*arguments: object, as_anybody: bool = False, seconds: int = 120) -> Ended:
    """Run it to its end; `as_anybody` without root's right to read and write everything."""
    before = [sys.executable, "-c", AS_ANYBODY] if as_anybody else []
    done = subprocess.run(
        [*before, *command(*arguments)],
        env=ENVIRONMENT,
        capture_output=True,
        timeout=seconds,
        check=False,
    )
    return Ended(
        code=done.returncode,
        output=done.stdout.decode(errors="replace"),
        errors=done.stderr.decode(errors="replace"),
    )


def tree(folder: Path) -> dict[str, bytes]:
    """Everything below a folder but what `convert` writes about itself; folders end with `/`."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.split("/", maxsplit=1)[0] in OWN:
            continue
        found[name + "/" * path.is_dir()] = b"" if path.is_dir() else path.read_bytes()
    return found


def left_over(folder: Path) -> list[str]:
    """What lies in the hidden folder besides the state."""
    hidden = folder / ".photo-worker"
    return sorted(path.name for path in hidden.iterdir() if path.name != "convert.sqlite")


def photos(folder: Path, count: int = 12) -> Path:
    """Small photos in a few folders, each another one."""
    for number in range(count):
        file = folder / ("", "a", "a/b", "c")[number % 4] / f"IMG_{number:04}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(noisy_jpeg(120 + 8 * number, 90, seed=number + 1))
    return folder
