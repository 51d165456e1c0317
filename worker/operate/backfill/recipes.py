"""This module warns of photos that other settings made, before their events are published.

An event for such a photo has the wanted effect only if the worker has this backfill's recipe. A
worker with the photo's recipe finds the photo current, and acks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from worker.errors import ConfigurationError
from worker.operate.backfill.comparison import Standing
from worker.operate.backfill.pages import Looked
from worker.telemetry.logs import Log

_WARNING = (
    "photos were made by another recipe: only workers with this backfill's settings and codecs "
    "make them anew, others leave them as they are"
)


@dataclass(slots=True, kw_only=True)
class RecipeWatch:
    """Looks at pages before their events are published; for one run.

    `here` is the fingerprint in force. `usual` is the fingerprint without the recipe's flags of the
    command line, `None` if there are no such flags. A dry run only warns.
    """

    here: str
    usual: str | None
    dry_run: bool
    log: Log
    _warned: bool = field(default=False, init=False)

    def __call__(self, pages: Iterable[list[Looked]]) -> Iterator[list[Looked]]:
        """Yield the same pages; log a warning for the first photos of another recipe.

        Raises:
            ConfigurationError: the photos have the recipe of this environment, so the workers have
                it too, and only the flags of this backfill differ.
        """
        for page in pages:
            if not self._warned and (others := _others(page)):
                self._tell(others.most_common(1)[0][0])
            yield page

    def _tell(self, theirs: str) -> None:
        self._warned = True
        gone, new = differences(theirs, self.here)
        if theirs == self.usual and not self.dry_run:
            raise ConfigurationError(
                [
                    (
                        f"the flags ask for {new}, but the photos were made with {gone}, the "
                        "settings of this environment: workers with these settings leave them as "
                        "they are. Set it for the workers, restart them, and set it in this "
                        "environment too, in place of the flags"
                    )
                ]
            )
        self.log.warning(_WARNING, theirs=gone, here=new)


def _others(page: Iterable[Looked]) -> Counter[str]:
    found = (looked.compared for looked in page if looked.compared is not None)
    return Counter(
        each.made_by
        for each in found
        if each.standing is Standing.STALE_RECIPE and each.made_by is not None
    )


def differences(theirs: str, here: str) -> tuple[str, str]:
    """Return the parts that only `theirs` has, and the parts that only `here` has."""

    def only(one: str, other: str) -> str:
        return " ".join(part for part in one.split(" ") if part not in other.split(" "))

    return only(theirs, here) or theirs, only(here, theirs) or here
