# A million names: a text costs a tenth of a Path.
# ruff: noqa: PTH103, PTH104, PTH106, PTH108, PTH114, PTH120
"""Placing: finished renditions to their names in the output, whole or not at all.

The order lets a process be killed between any two steps, and its files still be told from others':

1. The state says on disk which files an original may have.
2. Old files that the new ones do not replace are removed.
3. Each new file gets its name by a rename.
4. The state says that all of it is done, together with the next originals' first step.

A file that the state does not name is somebody else's, and is never touched.
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
"""Pictures that share one wait for the disk, at most."""


class Placer:
    """One run's, with a thread of its own, so that slots need not wait for the disk."""

    def __init__(
        self,
        output: OutputFolder,
        state: StateFile,
        made: str,
        end: RunEnd,
        tell: Callable[[Outcome], None],
    ) -> None:
        """`tell` is told, in the placer's thread, what became of each picture."""
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
        """Begin to take pictures."""
        self._thread.start()

    def put(self, finished: Converted | Unchanged) -> None:
        """Hand over a picture; waits while the disk is behind."""
        self._queue.put(finished)

    def finish(self) -> None:
        """Wait until all that was handed over lies in its place."""
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
                    # Its time is another; the next look need not read it.
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
        """One wait for the disk: what is done, and what is about to be."""
        done, self._done = self._done, []
        if done or begun:
            self._state.write([*done, *begun])

    def _obstacle(self, each: Converted) -> Failed | None:
        """Whether a file that is not its own has one of its names."""
        for new in each.files:
            if each.known and new.suffix in each.known.files:
                continue
            path = f"{self._root}/{each.found.name}{new.suffix}"
            if not os.path.lexists(path) or _is_own_ladder(path, new.suffix, each.known):
                continue
            # Without its state a tree can be taken over: such bytes only this recipe makes. An
            # original that lies there may be somebody's own copy.
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
        """What an earlier run made of it and this one does not; first: it may be in the way."""
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
    """Everything that may lie there from now on."""
    files = dict(each.known.files) if each.known else {}
    files |= {new.suffix: new.size_bytes for new in each.files}
    return Known(content=each.content, made=None, files=files)


def _is_own_ladder(path: str, suffix: str, known: Known | None) -> bool:
    """Whether all that lies there is an original's earlier ladder, which goes."""
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
