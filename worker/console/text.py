"""This module formats durations, sizes, names and JSON for standard output."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Final

_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_KIB: Final = 1024
_WHOLE_FROM: Final = 100


def plain(text: str) -> str:
    """Return a text on one line; control characters become visible escapes."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def duration(seconds: float) -> str:
    """Return seconds in the two largest units: `12 s`, `4 min 5 s`, `2 h`, `3 d 4 h`."""
    rest = round(seconds)
    for (unit, length), (finer, finer_length) in pairwise(_UNITS):
        if rest >= length:
            whole, more = rest // length, rest % length // finer_length
            return f"{whole} {unit} {more} {finer}" if more else f"{whole} {unit}"
    return f"{rest} s"


def size(size_bytes: int) -> str:
    """Return bytes in the largest unit that they fill: `812 B`, `3.4 MiB`, `512 MiB`."""
    scaled, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if scaled < _KIB:
            break
        scaled, unit = scaled / _KIB, larger
    decimals = 0 if unit == "B" or scaled >= _WHOLE_FROM else 1
    return f"{scaled:,.{decimals}f} {unit}"


def to_json(value: object, *, indent: int | None = 2) -> str:
    """Return JSON that is valid UTF-8: half of a surrogate pair in a file's name stays escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return text.encode(errors="backslashreplace").decode()
