"""This module names the files of an original below the output; it only handles text.

A name begins with the original's whole name, with its ending: `a.jpg` and `a.png` are two pictures.

    ladder         sub/a.jpg  →  sub/a.jpg/320.webp … sub/a.jpg/full.webp
    a single size  sub/a.jpg  →  sub/a.jpg.webp

If an original is kept because its WebP would be larger, it takes the place of the WebP:
`sub/a.jpg/full.jpg` in a ladder, `sub/a.jpg` for a single size.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from worker.photo.ladder import FULL, Ladder

SUMMARY: Final = "summary.json"
FAILURES: Final = "failures.jsonl"

HIDDEN: Final = ".photo-worker"
"""The folder of `state` and of unfinished files; the walk leaves it out wherever it is."""

STATE: Final = "convert.sqlite"
"""The file of `state` in the hidden folder."""

_RESERVED: Final = frozenset({SUMMARY, FAILURES, HIDDEN})
"""The names that `convert` itself writes at the top of the output."""

_SUFFIX: Final = re.compile(r"|(/([0-9]+|full))?\.(webp|png)|/full(\.[^/]*)?", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """The naming of one run's files; `ending` is the ending of renditions, such as `.webp`."""

    single: bool
    ending: str

    @classmethod
    def of(cls, ladder: Ladder, output_format: str) -> Naming:
        """Return the naming for a ladder; a ladder of one rung is a single size."""
        return cls(single=len(ladder.rungs) == 1, ending=f".{output_format}")

    def rendition(self, rung: str) -> str:
        """Return what follows the original's name in a rendition's name."""
        return self.ending if self.single else f"/{rung}{self.ending}"

    def kept(self, name: str) -> str:
        """Return what follows the original's name if the original is kept as it is."""
        if self.single:
            return ""
        last = name.rpartition("/")[2]
        stem, dot, ending = last.rpartition(".")
        return f"/{FULL}.{ending}" if dot and stem else f"/{FULL}"

    def top(self, name: str) -> str:
        """Return the name at which, or below which, all of an original's renditions are."""
        return name + self.ending if self.single else name


def is_suffix(suffix: str) -> bool:
    """Return True if `convert` can have put this suffix after an original's name."""
    return _SUFFIX.fullmatch(suffix) is not None


def is_reserved(name: str) -> bool:
    """Return True if a name is one that `convert` itself writes in the output, or lies below one.

    On a disk that ignores case, pass the `folded` name.
    """
    return name.partition("/")[0] in _RESERVED


def folded(name: str) -> str:
    """Return the same text for all names that a disk without case or composition takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
