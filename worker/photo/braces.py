"""Braces, brackets and commas in globs: find where they open and close, and expand the braces.

`globs` does the matching.
"""

from __future__ import annotations

EXPANSIONS_MAX = 1000
"""The most globs that one glob may stand for; each pair of braces multiplies the number."""


def expand(glob: str, whole: str) -> list[str]:
    """Return the globs without braces that a glob stands for; error messages quote `whole`.

    Raises:
        ValueError: a brace or bracket is not closed, a brace is too many, or the result is more
            than `EXPANSIONS_MAX` globs.
    """
    expanded, position = [""], 0
    for start, end in _braces(glob, whole):
        inner = [
            choice
            for alternative in split(glob[start + 1 : end], whole)
            for choice in expand(alternative, whole)
        ]
        before = glob[position:start]
        if len(expanded) * len(inner) > EXPANSIONS_MAX:
            raise ValueError(f"{whole!r} stands for more than {EXPANSIONS_MAX:,} globs")
        expanded = [f"{head}{before}{choice}" for head in expanded for choice in inner]
        position = end + 1
    return [head + glob[position:] for head in expanded]


def _braces(glob: str, whole: str) -> list[tuple[int, int]]:
    """Return the indexes at which each outermost pair of braces opens and closes."""
    pairs, depth, start = [], 0, 0
    for index, character in bare(glob, whole):
        if character == "{":
            start = start if depth else index
            depth += 1
        elif character == "}":
            depth -= 1
            if depth < 0:
                raise ValueError(f"{whole!r} closes a brace that none opens; write \\}} for itself")
            if depth == 0:
                pairs.append((start, index))
    if depth:
        raise ValueError(f"{whole!r} has a brace that is not closed; write \\{{ for itself")
    return pairs


def split(text: str, whole: str) -> list[str]:
    """Split a text at the commas outside of braces.

    Raises:
        ValueError: see `expand`.
    """
    inside = _braces(text, whole)
    commas = [
        index
        for index, character in bare(text, whole)
        if character == "," and not any(start < index < end for start, end in inside)
    ]
    starts = [0, *(comma + 1 for comma in commas)]
    return [text[start:end] for start, end in zip(starts, [*commas, len(text)], strict=True)]


def bare(text: str, whole: str) -> list[tuple[int, str]]:
    """Return each character with its index, without escaped characters and `[...]`.

    Raises:
        ValueError: see `class_end`.
    """
    bare, index = [], 0
    while index < len(text):
        if text[index] == "\\":
            index += 2
        elif text[index] == "[":
            index = class_end(text, index, whole)
        else:
            bare.append((index, text[index]))
            index += 1
    return bare


def class_end(text: str, start: int, whole: str) -> int:
    """Return the index after the `]` that closes the `[` at `start`.

    Raises:
        ValueError: the `]` is missing, or a slash comes before it.
    """
    index = start + 1
    if text[index : index + 1] in ("!", "^"):
        index += 1
    first = index
    while index < len(text):
        if text[index] == "\\":
            index += 1
        elif text[index] == "]" and index > first:
            return index + 1
        if text[index : index + 1] == "/":
            raise ValueError(f"{whole!r} has a slash between brackets; they stand for no slash")
        index += 1
    raise ValueError(f"{whole!r} has a bracket that is not closed; write \\[ for itself")
