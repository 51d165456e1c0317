# Strings, because a `Path` costs ten times as much and a run can have a million names.
# ruff: noqa: PTH103, PTH104, PTH106, PTH108, PTH114, PTH120
"""Placing moves finished renditions to their names in the output, each of them whole.

The process may be killed between two steps. Because of this order, the next run can still tell its
own files from other people's files:

1. The state on disk names the files that an original may have.
2. Old files that the new files do not replace are deleted.
3. A rename gives each new file its name.
4. The state on disk says that the original is done; the same write is step 1 of the next originals.

A file that the state does not name belongs to somebody else and is left as it is.
"""

from __future__ import annotations

import errno
import filecmp
import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from worker.convert.outcomes import (
    Converted,
    Failed,
    Known,
    Outcome,
    OutputFails,
    PictureFault,
    RunEnd,
    Unchanged,
)
from worker.convert.output import FATAL, OutputFolder, failing
from worker.convert.state import StateFile
from worker.errors import Fatal

_BATCH: Final = 64
"""The most pictures that share one disk sync."""


class Placer:
    """Moves the files of one run into place, in its own thread: slots do not wait for the disk."""

    def __init__(
        self,
        output: OutputFolder,
        state: StateFile,
        made: str,
        end: RunEnd,
        tell: Callable[[Outcome], None],
    ) -> None:
        """The placer's thread calls `tell` with the outcome of each picture."""
        self._root = str(output.root)
        self._output = output
        self._state = state
        self._made = made
        self._end = end
        self._tell = tell
        self._queue: queue.Queue[Converted | Unchanged | None] = queue.Queue(maxsize=_BATCH)
        self._done: list[tuple[str, Known]] = []
        self._thread = threading.Thread(target=self._run, name="placer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, finished: Converted | Unchanged) -> None:
        """Queue a picture; wait while the queue is full because the disk is slow."""
        self._queue.put(finished)

    def finish(self) -> None:
        """Wait until all queued pictures are in place."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        going = True
        while going:
            batch = [self._queue.get()]
            with suppress(queue.Empty):
                while len(batch) < _BATCH:
                    batch.append(self._queue.get_nowait())
            going = None not in batch
            finished = [each for each in batch if each is not None]
            try:
                if self._end.fatal is None:
                    self._place_all(finished)
                if not going or self._queue.empty():
                    self._settle([])
            except OutputFails as error:
                self._end.fail(error)
            except Exception as error:  # noqa: BLE001 (without this thread the others would wait)
                self._end.fail(Fatal(f"{type(error).__name__}: {error}"))
            for each in finished:
                if isinstance(each, Converted):
                    self._output.give_folder(each.folder)

    def _place_all(self, finished: list[Converted | Unchanged]) -> None:
        ready: list[Converted] = []
        for each in finished:
            if isinstance(each, Unchanged):
                if each.renewed is not None:
                    # Only the file's modification time changed. Save the new time, so that the
                    # next run does not read the file.
                    self._done.append((each.name, each.renewed))
                self._tell(each)
            elif fault := self._obstacle(each):
                self._tell(fault)
            else:
                ready.append(each)
        self._settle([(each.found.name, _begun(each)) for each in ready])
        for each in ready:
            self._place(each)

    def _settle(self, begun: list[tuple[str, Known]]) -> None:
        """Write the finished and the planned files to the state with one disk sync."""
        done, self._done = self._done, []
        if done or begun:
            self._state.write([*done, *begun])

    def _obstacle(self, each: Converted) -> Failed | None:
        """Return the failure of a picture if somebody else's file has one of its names."""
        for new in each.files:
            if each.known and new.suffix in each.known.files:
                continue
            path = f"{self._root}/{each.found.name}{new.suffix}"
            if not os.path.lexists(path) or _is_own_ladder(path, new.suffix, each.known):
                continue
            # If the state file is lost, this run may adopt existing files. It adopts a file only if
            # its bytes equal the new rendition, because only this recipe makes these bytes. It does
            # not adopt a copy of the original, because the user may have put it there.
            kept = each.kept and new is each.files[-1]
            if kept or os.path.islink(path) or not _same(path, str(new.path)):
                return Failed(
                    name=each.found.name,
                    reason=PictureFault.NAME_TAKEN.value,
                    message=f"{path} is there and was not made by photo-worker convert: move it "
                    "away, or convert into another folder",
                )
        return None

    def _place(self, each: Converted) -> None:
        name = each.found.name
        try:
            self._remove_old(each)
            for new in each.files:
                path = f"{self._root}/{name}{new.suffix}"
                try:
                    os.rename(new.path, path)
                except FileNotFoundError:
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    os.rename(new.path, path)
        except OSError as error:
            if error.errno in FATAL:
                raise failing(self._output.root, error) from error
            self._tell(self._not_placed(each, error))
            return
        files = {new.suffix: new.size_bytes for new in each.files}
        self._done.append((name, Known(content=each.content, made=self._made, files=files)))
        self._tell(each)

    def _remove_old(self, each: Converted) -> None:
        """Delete the files that an earlier run made and this run does not make.

        Do it before the renames, because an old file can block a new name.
        """
        if each.known is None:
            return
        base = f"{self._root}/{each.found.name}"
        dropped = each.known.files.keys() - {new.suffix for new in each.files}
        for suffix in dropped:
            if os.path.lexists(base + suffix):
                os.unlink(base + suffix)
        if any(suffix.startswith("/") for suffix in dropped):
            with suppress(OSError):
                os.rmdir(base)

    def _not_placed(self, each: Converted, error: OSError) -> Failed:
        kinds = {
            errno.ENAMETOOLONG: PictureFault.NAME_TOO_LONG,
            errno.EEXIST: PictureFault.NAME_TAKEN,
            errno.ENOTDIR: PictureFault.NAME_TAKEN,
            errno.EISDIR: PictureFault.NAME_TAKEN,
            errno.ENOTEMPTY: PictureFault.NAME_TAKEN,
        }
        fault = kinds.get(error.errno or 0, PictureFault.UNWRITABLE)
        where = os.fsdecode(error.filename2 or error.filename or each.found.name)
        message = f"{where}: {error.strerror or error}"
        return Failed(name=each.found.name, reason=fault.value, message=message)


def _begun(each: Converted) -> Known:
    """Return all files that the original may have in the output from now on."""
    files = dict(each.known.files) if each.known else {}
    files |= {new.suffix: new.size_bytes for new in each.files}
    return Known(content=each.content, made=None, files=files)


def _is_own_ladder(path: str, suffix: str, known: Known | None) -> bool:
    """Return True if the folder holds only old renditions of this original.

    `_remove_old` deletes them.
    """
    if suffix or known is None or os.path.islink(path):
        return False
    try:
        return all(f"/{each.name}" in known.files for each in Path(path).iterdir())
    except OSError:
        return False


def _same(path: str, other: str) -> bool:
    try:
        return filecmp.cmp(path, other, shallow=False)
    except OSError:
        return False
