"""What the files of an original are called below the output; pure text.

The original's whole name stays, its ending too: `a.jpg` and `a.png` are two pictures.

    ladder         sub/a.jpg  →  sub/a.jpg/320.webp … sub/a.jpg/full.webp
    a single size  sub/a.jpg  →  sub/a.jpg.webp

An original that is kept because its WebP would be larger takes that one's place:
`sub/a.jpg/full.jpg` in a ladder, `sub/a.jpg` where there is a single size.
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
"""The folder of `state` and of what is half done; the walk passes by it wherever it lies."""

STATE: Final = "convert.sqlite"
"""The file of `state` in it."""

_RESERVED: Final = frozenset({SUMMARY, FAILURES, HIDDEN})
"""What `convert` writes itself at the top of the output."""

_SUFFIX: Final = re.compile(r"|(/([0-9]+|full))?\.(webp|png)|/full(\.[^/]*)?", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How one run calls its files: `ending` is that of renditions, `.webp`."""

    single: bool
    ending: str

    @classmethod
    def of(cls, ladder: Ladder, output_format: str) -> Naming:
        """A ladder of one rung is a single size."""
        return cls(single=len(ladder.rungs) == 1, ending=f".{output_format}")

    def rendition(self, rung: str) -> str:
        """What comes behind the original's name."""
        return self.ending if self.single else f"/{rung}{self.ending}"

    def kept(self, name: str) -> str:
        """The same for an original that is kept as it is."""
        if self.single:
            return ""
        last = name.rpartition("/")[2]
        stem, dot, ending = last.rpartition(".")
        return f"/{FULL}.{ending}" if dot and stem else f"/{FULL}"

    def top(self, name: str) -> str:
        """The one name that all of an original's renditions lie at, or below."""
        return name + self.ending if self.single else name


def is_suffix(suffix: str) -> bool:
    """Whether `convert` can have given a file this name behind its original's."""
    return _SUFFIX.fullmatch(suffix) is not None


def is_reserved(name: str) -> bool:
    """Whether a name in the output is, or lies below, what `convert` writes there itself.

    On a disk that ignores case the name is a `folded` one.
    """
    return name.partition("/")[0] in _RESERVED


def folded(name: str) -> str:
    """The same for all names that a disk which ignores case and composition takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
