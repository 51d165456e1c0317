# A million names: a text costs a tenth of a Path.
# ruff: noqa: PTH112, PTH114
"""One picture: from what the walk found to renditions in the scratch folder, or why it has none."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from worker.convert.intake import ORIGINAL, NoPicture, OriginalUnreadable, take_in
from worker.convert.names import Naming, folded, is_reserved
from worker.convert.outcomes import (
    Converted,
    Failed,
    Fault,
    Found,
    Known,
    Outcome,
    OutputFails,
    Passed,
    PassedOver,
    Pending,
    Rendition,
    Source,
    Unchanged,
)
from worker.convert.output import Output, failing
from worker.convert.state import State
from worker.convert.walk import unreadable
from worker.errors import (
    CorruptOriginal,
    OriginalTooLarge,
    Permanent,
    RenderCrashed,
    RenderOutOfMemory,
    SlotUnavailable,
)
from worker.photo.limits import Limits
from worker.photo.ports import Renderer, Rendering


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one run makes of every picture.

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
        self, plan: Plan, output: Output, state: State, renderer: Callable[[], Renderer]
    ) -> None:
        """`renderer` is asked for with the first picture that needs one."""
        self._plan = plan
        self._output = output
        self._root = str(output.root)
        self._state = state
        self._renderer = renderer

    def judge(self, found: Found) -> Failed | Unchanged | Pending:
        """Whether there is nothing to do for it, by what the disk says of sizes and times."""
        if fault := self._collision(found):
            return fault
        known = self._state.find(found.name)
        if known is not None and self._is_there(found.name, known):
            same = known.source.size_bytes, known.source.mtime_ns
            if same == (found.size_bytes, found.mtime_ns):
                return Unchanged(found=found, known=known)
        return Pending(found=found, known=known)

    def convert(self, pending: Pending) -> Outcome:
        """Render it, unless its bytes are those of the last time.

        Raises:
            OutputFails: nothing can be written.
            Draining: the run ends before its turn.
        """
        folder = self._output.take_folder()
        outcome: Outcome | None = None
        try:
            outcome = self._convert(pending, folder)
        finally:
            if not isinstance(outcome, Converted):
                self._output.drop_folder(folder)
        return outcome

    def _convert(self, pending: Pending, folder: Path) -> Outcome:
        found, known = pending.found, pending.known
        original = folder / ORIGINAL
        try:
            source = take_in(found, original, self._plan.limits)
        except NoPicture:
            return PassedOver(name=found.name, why=Passed.NO_PICTURE)
        except OriginalUnreadable as error:
            return unreadable(found.name, error.cause)
        except (OriginalTooLarge, CorruptOriginal) as error:
            return Failed.by(found.name, error)
        except OSError as error:
            raise failing(self._output.root, error) from error
        if known and known.source.sha256 == source.sha256 and self._is_there(found.name, known):
            return Unchanged(found=found, known=known, source=source)
        try:
            return self._render(pending, source, original, folder)
        except Permanent as error:
            return Failed.by(found.name, error)
        except SlotUnavailable as error:
            full = os.strerror(errno.ENOSPC)
            if full in str(error):
                raise failing(self._output.root, OSError(errno.ENOSPC, full)) from error
            raise OutputFails(
                f"nothing can be rendered any more: {error}. What is there is complete; the same "
                "command goes on where it stopped"
            ) from error

    def _render(self, pending: Pending, source: Source, original: Path, folder: Path) -> Converted:
        found = pending.found
        try:
            rendering, renditions = self._attempt(original, folder)
        except (RenderCrashed, RenderOutOfMemory, SlotUnavailable):
            # Its neighbours may have been to blame; the same again is its own fault.
            rendering, renditions = self._attempt(original, folder)
        facts, cost = rendering.facts, rendering.cost
        largest = renditions[-1]
        full_size = (largest.width, largest.height) == (facts.width, facts.height)
        kept = (
            self._plan.keep_smaller
            and full_size
            and largest.size_bytes > source.size_bytes
            and not self._is_anothers(found.name)
        )
        if kept:
            renditions[-1] = Rendition(
                rung=largest.rung,
                suffix=self._plan.naming.kept(found.name),
                path=original,
                size_bytes=source.size_bytes,
                width=facts.width,
                height=facts.height,
            )
        return Converted(
            found=found,
            known=pending.known,
            source=source,
            renditions=tuple(renditions),
            kept=kept,
            format=facts.format,
            width=facts.width,
            height=facts.height,
            seconds=cost.seconds,
            cpu_seconds=cost.cpu_seconds,
            peak_bytes=cost.peak_bytes,
            folder=folder,
        )

    def _attempt(self, original: Path, folder: Path) -> tuple[Rendering, list[Rendition]]:
        rendering = self._renderer().render(original, folder)
        renditions = [
            Rendition(
                rung=each.size.rung,
                suffix=self._plan.naming.rendition(each.size.rung),
                path=each.path,
                size_bytes=each.size_bytes,
                width=each.size.width,
                height=each.size.height,
            )
            for each in rendering
        ]
        return rendering, sorted(renditions, key=lambda each: each.width * each.height)

    def _is_there(self, name: str, known: Known) -> bool:
        """Whether all that was made of it by this recipe lies there, and has the size it had."""
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
        """Whether its output has the name of something else's; by the originals alone.

        What is finished first must not decide: the same originals always come to the same output.
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
        return Failed(name=found.name, reason=Fault.NAME_COLLISION.value, message=message)

    def _is_anothers(self, name: str) -> bool:
        """Whether an original's own name is the one of another's rendition: it cannot be kept."""
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
