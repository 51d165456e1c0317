"""Scratch: this process's folder for originals and renditions, and what killed workers left.

A worker that is killed cannot clean up. Each folder holds a lock that dies with its process, so the
next worker on the machine can tell an abandoned folder from one in use.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from pathlib import Path

PREFIX = "photo-worker-"
_LOCK = ".lock"


class Scratch:
    """A fresh folder below the system's temporary one (`TMPDIR`), locked by this process."""

    def __init__(self) -> None:
        """Remove what killed workers left, and make a folder.

        Raises:
            OSError: the disk is full, or not writable.
        """
        for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            _remove_if_abandoned(folder)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        unlocked = self.path / f"{_LOCK}.new"
        self._lock = unlocked.open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        # Only now under the name that others look for: nobody finds it unlocked while we live.
        unlocked.rename(self.path / _LOCK)

    def cleanup(self) -> None:
        """Remove it, whatever a child still writes there; idempotent."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _remove_if_abandoned(folder: Path) -> None:
    try:
        with (folder / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        # In use, another user's, or no worker's at all.
        return
