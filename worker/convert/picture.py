# Strings, because a `Path` costs ten times as much and a run can have a million names.
# ruff: noqa: PTH112, PTH114
"""This module turns one found picture into renditions in the scratch folder, or into a failure."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from worker.convert.intake import ORIGINAL, NoPicture, OriginalUnreadable, take_in
from worker.convert.names import Naming, folded, is_reserved
from worker.convert.originals import unreadable
from worker.convert.outcomes import (
    Content,
    Converted,
    Failed,
    Found,
    Known,
    NewFile,
    Outcome,
    OutputFails,
    Passed,
    PassedOver,
    PictureFault,
    Unchanged,
)
from worker.convert.output import OutputFolder, failing
from worker.convert.state import StateFile
from worker.errors import (
    Permanent,
    RenderCrashed,
    RenderOutOfMemory,
    SlotUnavailable,
)
from worker.photo.limits import Limits
from worker.photo.ports import Renderer, Rendering


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The settings that one run uses for every picture.

    `made` names everything that decides an output's bytes. `originals` is the folder that is
    converted.
    """

    originals: str
    naming: Naming
    made: str
    keep_smaller: bool
    limits: Limits


class Pictures:
    """Judges and converts pictures of one run; thread-safe."""

    def __init__(
        self, plan: Plan, output: OutputFolder, state: StateFile, renderer: Callable[[], Renderer]
    ) -> None:
        """`renderer` is called for the first picture that needs a render."""
        self._plan = plan
        self._output = output
        self._root = str(output.root)
        self._state = state
        self._renderer = renderer

    def judge(self, found: Found) -> Failed | Unchanged | None:
        """Return the outcome by names, sizes and times alone; `None` if the file must be read."""
        if fault := self._collision(found):
            return fault
        known = self._state.find(found.name)
        if fault := self._linked(found.name, known):
            return fault
        if known is not None and self._is_there(found.name, known):
            same = known.content.size_bytes, known.content.mtime_ns
            if same == (found.size_bytes, found.mtime_ns):
                return Unchanged(name=found.name)
        return None

    def convert(self, found: Found) -> Outcome:
        """Render a picture, unless its bytes are the same as in the last run.

        Raises:
            OutputFails: the output cannot be written.
            Draining: the run ends before the picture is rendered.
        """
        folder = self._output.take_folder()
        outcome: Outcome | None = None
        try:
            outcome = self._convert(found, folder)
        finally:
            if not isinstance(outcome, Converted):
                self._output.drop_folder(folder)
        return outcome

    def _convert(self, found: Found, folder: Path) -> Outcome:
        known = self._state.find(found.name)
        original = folder / ORIGINAL
        try:
            content = take_in(found, original, self._plan.limits)
            same = known is not None and known.content.sha256 == content.sha256
            if known is None or not same or not self._is_there(found.name, known):
                return self._render(found, known, content, folder)
            renewed = Known(content=content, made=known.made, files=known.files)
            return Unchanged(name=found.name, renewed=renewed)
        except NoPicture:
            return PassedOver(name=found.name, why=Passed.NO_PICTURE)
        except OriginalUnreadable as error:
            return unreadable(found.name, error.cause)
        except Permanent as error:
            return Failed.by(found.name, error)
        except OSError as error:
            raise failing(self._output.root, error) from error
        except SlotUnavailable as error:
            full = os.strerror(errno.ENOSPC)
            if full in str(error):
                raise failing(self._output.root, OSError(errno.ENOSPC, full)) from error
            raise OutputFails(
                f"nothing can be rendered any more: {error}. What is there is complete; the same "
                "command goes on where it stopped"
            ) from error

    def _render(
        self, found: Found, known: Known | None, content: Content, folder: Path
    ) -> Converted:
        original = folder / ORIGINAL
        try:
            rendering, files = self._attempt(original, folder)
        except (RenderCrashed, RenderOutOfMemory, SlotUnavailable):
            # Other renders may have caused the first failure. A second one is the picture's fault.
            rendering, files = self._attempt(original, folder)
        facts, largest = rendering.facts, files[-1]
        full_size = (largest.width, largest.height) == (facts.width, facts.height)
        kept = (
            self._plan.keep_smaller
            and full_size
            and largest.size_bytes > content.size_bytes
            and not self._is_anothers(found.name)
        )
        if kept:
            files[-1] = dataclasses.replace(
                largest,
                suffix=self._plan.naming.kept(found.name),
                path=original,
                size_bytes=content.size_bytes,
            )
        return Converted(
            found=found,
            known=known,
            content=content,
            files=tuple(files),
            kept=kept,
            facts=facts,
            cost=rendering.cost,
            folder=folder,
        )

    def _attempt(self, original: Path, folder: Path) -> tuple[Rendering, list[NewFile]]:
        rendering = self._renderer().render(original, folder)
        files = [
            NewFile(
                rung=each.size.rung,
                suffix=self._plan.naming.rendition(each.size.rung),
                path=each.path,
                size_bytes=each.size_bytes,
                width=each.size.width,
                height=each.size.height,
            )
            for each in rendering
        ]
        return rendering, sorted(files, key=lambda each: each.width * each.height)

    def _is_there(self, name: str, known: Known) -> bool:
        """Return True if this recipe made the files of a picture and all still have their sizes."""
        if known.made != self._plan.made:
            return False
        for suffix, size_bytes in known.files.items():
            try:
                status = os.lstat(f"{self._root}/{name}{suffix}")
            except OSError:
                return False
            if status.st_size != size_bytes:
                return False
        return True

    def _collision(self, found: Found) -> Failed | None:
        """Return the failure of a picture whose output would have the name of something else.

        Only the originals decide, and not which picture is finished first, so that the same
        originals always give the same output.
        """
        plan, top = self._plan, self._plan.naming.top(found.name)
        other = ""
        if is_reserved(folded(top) if self._output.folds else top):
            other = "what is written there besides pictures"
        elif plan.naming.single and _is_folder(f"{plan.originals}/{top}"):
            other = f"the folder {top}"
        elif self._output.folds:
            key = folded(top)
            owner = self._state.claim(key, found.name)
            if owner != found.name and os.path.lexists(f"{plan.originals}/{owner}"):
                other = f"{owner}, on a disk that takes both names for one"
            elif owner != found.name:
                self._state.take(key, found.name)
        if not other:
            return None
        message = f"its output would have the name of {other}; rename one of them"
        return Failed(name=found.name, reason=PictureFault.NAME_COLLISION.value, message=message)

    def _linked(self, name: str, known: Known | None) -> Failed | None:
        """Return the failure of a picture if a link would move its files to another place."""
        ladder = known is not None and any(suffix.startswith("/") for suffix in known.files)
        inside = ladder or not self._plan.naming.single
        path = self._output.linked_folder(name if inside else name.rpartition("/")[0])
        if path is None:
            return None
        message = f"{path} is a link: move it away, or convert into another folder"
        return Failed(name=name, reason=PictureFault.NAME_TAKEN.value, message=message)

    def _is_anothers(self, name: str) -> bool:
        """Return True if an original's name is reserved for another file, so it cannot be kept."""
        ending = self._plan.naming.ending
        if not self._plan.naming.single:
            return False
        if is_reserved(folded(name) if self._output.folds else name):
            return True
        return name.endswith(ending) and os.path.lexists(
            f"{self._plan.originals}/{name.removesuffix(ending)}"
        )


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)
