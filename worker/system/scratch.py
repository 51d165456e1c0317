"""Scratch: a process's folder for temporary files; it also removes those of killed processes.

A killed process cannot clean up. Each process locks its folder, so the next process on the machine
can tell an abandoned folder from a folder in use. systemd-tmpfiles keeps locked folders as well.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from worker.errors import ScratchLost

PREFIX = "photo-worker-scratch-"


class Scratch:
    """A fresh folder below the system's temporary one (`TMPDIR`), locked by this process.

    Leaving the context removes the folder. Its name starts with `prefix`; folders with the same
    prefix are of the same kind.
    """

    def __init__(self, prefix: str = PREFIX) -> None:
        """Remove the folders of this kind that killed processes left, and make a folder.

        Raises:
            OSError: the disk is full or not writable.
        """
        for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
            _remove_if_abandoned(folder)
        self._made: int | None = None
        while self._made is None:
            self.path = Path(tempfile.mkdtemp(prefix=prefix))
            self._made = self._hold()

    def __enter__(self) -> Path:
        """Return the folder's path."""
        return self.path

    def __exit__(self, *_: object) -> None:
        """See `cleanup`."""
        self.cleanup()

    def _hold(self) -> int | None:
        """Return a descriptor that locks the folder; `None` if another process is removing it."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            return descriptor  # without locks on this file system, other processes keep it too
        if not _is(self.path, descriptor):
            os.close(descriptor)
            return None
        return descriptor

    def check(self) -> None:
        """Check that the folder is still there.

        Raises:
            ScratchLost: the folder was removed.
        """
        if self._made is None or not _is(self.path, self._made):
            raise ScratchLost(
                f"the scratch folder {self.path} is gone: something removes files from the "
                "temporary folder (TMPDIR) while the worker runs; another start makes a new one"
            )

    def cleanup(self) -> None:
        """Remove the folder, even while a child still writes into it; idempotent."""
        shutil.rmtree(self.path, ignore_errors=True)
        made, self._made = self._made, None
        if made is not None:
            os.close(made)


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(descriptor))
    except OSError:
        return False


def _remove_if_abandoned(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return  # the folder is another user's, or gone
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return  # the folder is in use
    finally:
        os.close(descriptor)
