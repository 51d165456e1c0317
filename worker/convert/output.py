# Strings, because a `Path` costs ten times as much and a run can have a million names.
# ruff: noqa: PTH114
"""The output folder: its lock, its scratch folder, and its checks.

Its hidden folder, `.photo-worker`, holds the file of `state`, and during a run the scratch folder.
The scratch folder is on the file system of the output, so that a rename can move a file into place.
The kernel releases the lock when the process ends, even if the process is killed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from worker.convert.intake import ORIGINAL
from worker.convert.names import HIDDEN
from worker.convert.outcomes import OutputFails
from worker.errors import UsageFault

_SCRATCH: Final = "scratch-"

FATAL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE})
"""Errors that the next picture would get as well."""


class OutputFolder:
    """An output folder held by this process from `open` to `close`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hidden = root / HIDDEN
        self.scratch = self.hidden
        self.folds = False
        """True if names that differ only in case are one name on this disk."""
        self._lock: int | None = None

        self._made: list[Path] = []
        self._free: list[Path] = []

    def open(self) -> None:
        """Make the folder if it is missing, lock it, and remove a killed run's unfinished files.

        Raises:
            UsageFault: the folder cannot be written, or another process converts into it.
        """
        folders = (self.hidden, *self.hidden.parents)
        self._made = [folder for folder in folders if not os.path.lexists(folder)]
        if self.hidden.is_symlink():
            raise UsageFault(f"{self.hidden} is a link: remove it, or name another folder")
        try:
            self.hidden.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.hidden, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._hold(self._lock)
            self._remove_scratch()
            # Use a new folder: a child of a killed run may still write into the old one.
            self.scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=self.hidden.absolute()))
            self.folds = self._ignores_case()
        except (FileExistsError, NotADirectoryError) as error:
            raise UsageFault(f"{self.root} is no folder: name one for the output") from error
        except OSError as error:
            raise UsageFault(f"cannot write to {self.root}: {error.strerror}") from error

    def close(self) -> None:
        """Remove the scratch folder and release the lock; idempotent."""
        if self._lock is None:
            return
        self._remove_scratch()
        os.close(self._lock)
        self._lock = None

    def linked_folder(self, name: str) -> str | None:
        """Return the first link among a name's folders and the name itself; `None` without one."""
        path = str(self.root)
        for part in name.split("/"):
            path = f"{path}/{part}"
            if os.path.islink(path):
                return path
        return None

    def take_folder(self) -> Path:
        """Return an empty scratch folder for one picture; thread-safe.

        Raises:
            OutputFails: the folder cannot be made.
        """
        with suppress(IndexError):
            return self._free.pop()
        try:
            return Path(tempfile.mkdtemp(dir=self.scratch))
        except OSError as error:
            raise failing(self.root, error) from error

    def give_folder(self, folder: Path) -> None:
        """Keep a used folder for another picture, because making a new one costs milliseconds."""
        with suppress(OSError):
            (folder / ORIGINAL).unlink(missing_ok=True)
            if not any(folder.iterdir()):
                self._free.append(folder)
                return
        self.drop_folder(folder)

    def drop_folder(self, folder: Path) -> None:
        """Remove a scratch folder with its content."""
        shutil.rmtree(folder, ignore_errors=True)

    def undo(self) -> None:
        """Remove what `open` made; for a run that found no picture."""
        if self._made:
            shutil.rmtree(self.hidden, ignore_errors=True)
        for folder in self._made[1:]:
            with suppress(OSError):
                folder.rmdir()

    def _hold(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageFault(
                f"another photo-worker converts into {self.root} at this moment; wait for it, or "
                "name another folder"
            ) from error
        except OSError:
            return  # this file system has no such locks; SQLite still locks the state

    def _remove_scratch(self) -> None:
        for left in self.hidden.glob(f"{_SCRATCH}*"):
            shutil.rmtree(left, ignore_errors=True)

    def _ignores_case(self) -> bool:
        probe = self.scratch / "Case-\u00e9"
        probe.touch()
        try:
            return any((self.scratch / name).exists() for name in ("case-\u00e9", "Case-e\u0301"))
        finally:
            probe.unlink()


def check_apart(source: Path, output: Path) -> None:
    """Check that the output and the originals are separate folders.

    Raises:
        UsageFault: the source is missing, or the output would mix with it.
    """
    try:
        real = source.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise UsageFault(f"{source}: {getattr(error, 'strerror', None) or error}") from error
    if not (real.is_dir() or real.is_file()):
        raise UsageFault(f"{source} is neither a folder nor a file")
    target = output.resolve()
    if real == target:
        raise UsageFault(f"{output} is what is to be converted: name another folder for the output")
    if real.is_dir() and target in real.parents:
        raise UsageFault(
            f"{source} lies in {output}: what is written there could not be told from originals; "
            "name another folder for the output"
        )


def failing(root: Path, error: OSError) -> OutputFails:
    """Return the error for an output that cannot be written any more."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputFails(
            f"the disk of {root} is full ({error.strerror}). What is there is complete: make room "
            "and run the same command again, it goes on where it stopped"
        )
    return OutputFails(
        f"{root} cannot be written any more: {error.strerror or error}. What is there is complete; "
        "the same command goes on where it stopped"
    )
