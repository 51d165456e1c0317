"""Globs: choose names by a list of patterns. Pure.

A glob matches a whole name, such as `hanoi-2026/IMG_0042.jpg`; a glob without a slash matches the
last part of a name. Case is ignored, because cameras write `IMG_0042.JPG`. Uploaders choose the
names, so matching takes linear time on any name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from worker.photo.braces import EXPANSIONS_MAX, bare, class_end, expand, split

_ANY = "**"


@dataclass(frozen=True, slots=True)
class _Path:
    """One glob without braces: runs of segments, with any number of segments between two runs."""

    runs: tuple[tuple[re.Pattern[str], ...], ...]

    def matches(self, segments: Sequence[str]) -> bool:
        """Return True if the runs are in order, the first at the start, the last at the end."""
        first, last = self.runs[0], self.runs[-1]
        if len(self.runs) == 1:
            return len(segments) == len(first) and _run_at(first, segments, 0)
        end = len(segments) - len(last)
        if end < len(first) or not _run_at(last, segments, end):
            return False
        if not _run_at(first, segments, 0):
            return False
        at = len(first)
        for run in self.runs[1:-1]:
            # The leftmost match leaves the most room for the next runs, so it is enough to try it.
            while at + len(run) <= end and not _run_at(run, segments, at):
                at += 1
            at += len(run)
            if at > end:
                return False
        return True


@dataclass(frozen=True, slots=True)
class _Glob:
    text: str
    paths: tuple[_Path, ...]

    def matches(self, segments: Sequence[str]) -> bool:
        return any(path.matches(segments) for path in self.paths)


@dataclass(frozen=True, slots=True)
class Globs:
    """A choice of names; thread-safe.

    Without `include` every name is taken; `exclude` wins. In a glob:

    - `*` is any text without a slash, `?` any one character but a slash;
    - `**` is any text; as a whole segment, any number of segments, even 0 (`a/**/b` takes `a/b`);
    - `[a-z0-9]` is one of these characters, `[!a-z]` any other character;
    - `{jpg,jpeg,hei[cf]}` is one of these globs, which may have braces themselves;
    - a backslash takes away the meaning of the next character;
    - a glob without a slash matches the last segment alone (`*.jpg` takes `a/b.jpg`); a slash at
      its start anchors it (`/*.jpg` does not take `a/b.jpg`); a slash at its end means everything
      in a folder.

    Upper and lower case are the same, and so are composed and decomposed letters (`é`).

    Raises:
        ValueError: a glob is malformed; the text quotes it and says why.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    _included: tuple[_Glob, ...] = field(init=False, repr=False, compare=False)
    _excluded: tuple[_Glob, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile the globs."""
        object.__setattr__(self, "_included", tuple(_compile(text) for text in self.include))
        object.__setattr__(self, "_excluded", tuple(_compile(text) for text in self.exclude))

    def chooses(self, name: str) -> bool:
        """Return True if a name is taken."""
        return self.why_not(name) is None

    def why_not(self, name: str) -> str | None:
        """Return why a name is not taken, for a log; `None` if it is taken."""
        if not self._included and not self._excluded:
            return None
        segments = _composed(name).split("/")
        for glob in self._excluded:
            if glob.matches(segments):
                return f"excluded by {glob.text!r}"
        if self._included and not any(glob.matches(segments) for glob in self._included):
            return "not included"
        return None


def split_globs(text: str) -> tuple[str, ...]:
    """Split a comma list of globs; commas in braces, in brackets or after a backslash stay.

    Raises:
        ValueError: a brace or bracket is not closed, or a brace is too many.
    """
    return tuple(part.strip() for part in split(text, text) if part.strip())


def _compile(text: str) -> _Glob:
    if not text.strip():
        raise ValueError("an empty glob chooses nothing; leave it out")
    composed = _composed(text)
    expanded = expand(composed, text)
    paths = [path for each in expanded for path in _segment_lists(each, text)]
    return _Glob(text, tuple(_path(segments, text) for segments in dict.fromkeys(paths)))


def _segment_lists(glob: str, whole: str) -> list[tuple[str, ...]]:
    """Return the lists of segments of a glob without braces.

    Each segment is `**`, or the glob of one segment. `a**b` within a segment means `a*b` or
    `a*/**/*b`, so there can be more than one list.
    """
    if not glob:
        raise ValueError(f"{whole!r} stands for an empty glob too, which chooses nothing")
    segments = glob.removeprefix("/").split("/")
    if segments[-1] in ("", _ANY):
        # A folder means all objects below it, not an object of its name.
        segments[-1:] = [_ANY, "*"]
    if "/" not in glob:
        segments = [_ANY, *segments]
    lists: list[tuple[str, ...]] = [()]
    for segment in segments:
        ways = _ways(segment, whole)
        if len(lists) * len(ways) > EXPANSIONS_MAX:
            raise ValueError(f"{whole!r} stands for more than {EXPANSIONS_MAX:,} globs")
        lists = [(*head, *way) for head in lists for way in ways]
    return lists


def _ways(segment: str, whole: str) -> list[tuple[str, ...]]:
    if segment == _ANY:
        return [(_ANY,)]
    parts = _between_crossings(segment, whole)
    if 2 ** (len(parts) - 1) > EXPANSIONS_MAX:
        raise ValueError(f"{whole!r} stands for more than {EXPANSIONS_MAX:,} globs")
    ways: list[tuple[str, ...]] = [(parts[0],)]
    for part in parts[1:]:
        ways = [
            longer
            for way in ways
            for longer in (
                (*way[:-1], f"{way[-1]}*{part}"),
                (*way[:-1], f"{way[-1]}*", _ANY, f"*{part}"),
            )
        ]
    return ways


def _between_crossings(segment: str, whole: str) -> list[str]:
    """Split at each run of two stars or more; escaped and bracketed stars do not count."""
    stars = {index for index, character in bare(segment, whole) if character == "*"}
    marks = "".join("*" if index in stars else "." for index in range(len(segment)))
    runs = [run.span() for run in re.finditer(r"\*{2,}", marks)]
    starts = [0, *(end for _, end in runs)]
    ends = [*(start for start, _ in runs), len(segment)]
    return [segment[start:end] for start, end in zip(starts, ends, strict=True)]


def _path(segments: tuple[str, ...], whole: str) -> _Path:
    runs: list[list[re.Pattern[str]]] = [[]]
    for segment in segments:
        if segment == _ANY:
            runs.append([])
        else:
            runs[-1].append(_segment(segment, whole))
    return _Path(tuple(tuple(run) for run in runs))


def _segment(glob: str, whole: str) -> re.Pattern[str]:
    """Return a regular expression that does not backtrack from one star into another."""
    chunks, index = [""], 0
    while index < len(glob):
        character = glob[index]
        if character == "*":
            chunks.append("")
            index += 1
            continue
        end = index + 1
        piece = re.escape(character)
        if character == "?":
            piece = "."
        elif character == "[":
            end = class_end(glob, index, whole)
            piece = _class(glob[index + 1 : end - 1], whole)
        elif character == "\\":
            if end == len(glob):
                raise ValueError(f"{whole!r} ends with a backslash; write \\\\ for itself")
            piece, end = re.escape(glob[end]), end + 1
        chunks[-1] += piece
        index = end
    middle = "".join(f"(?>.*?{chunk})" for chunk in chunks[1:-1] if chunk)
    tail = f".*{chunks[-1]}" if len(chunks) > 1 else ""
    return re.compile(chunks[0] + middle + tail, re.IGNORECASE | re.DOTALL)


def _class(inner: str, whole: str) -> str:
    negated = inner[:1] in ("!", "^")
    items = _class_items(inner[1:] if negated else inner)
    pieces, index = [], 0
    while index < len(items):
        if index + 2 < len(items) and items[index + 1] == ("-", True):
            low, high = items[index][0], items[index + 2][0]
            if low > high:
                raise ValueError(f"{whole!r} has a range that is the wrong way round: {low}-{high}")
            pieces.append(f"{re.escape(low)}-{re.escape(high)}")
            index += 3
        else:
            pieces.append(re.escape(items[index][0]))
            index += 1
    return f"[{'^' if negated else ''}{''.join(pieces)}]"


def _class_items(inner: str) -> list[tuple[str, bool]]:
    """Return each character, with True if it is unescaped."""
    items, index = [], 0
    while index < len(inner):
        escaped = inner[index] == "\\"
        index += escaped
        items.append((inner[index], not escaped))
        index += 1
    return items


def _run_at(run: Sequence[re.Pattern[str]], segments: Sequence[str], at: int) -> bool:
    return all(
        pattern.fullmatch(segment)
        for pattern, segment in zip(run, segments[at : at + len(run)], strict=True)
    )


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)
