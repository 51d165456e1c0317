"""Setting texts: what a value of the environment means, before it is a setting.

Each function takes what was written and gives what was meant, or raises ValueError with what is
expected; what is no text passes as it is. Knows no variable's name.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

from worker.photo.globs import Globs, split_globs
from worker.photo.ladder import Ladder

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_SIZE: Final = re.compile(r"([0-9]+)\s*(|[kmgt]i?b?|b)", re.IGNORECASE)
_SCALE: Final = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def auto(value: object) -> object:
    """`None` for `auto`: the machine, or another setting, decides."""
    return None if value in ("auto", "") else value


def size(value: object) -> object:
    """Bytes from `512`, `64k`, `64 MiB` or `2GB`; all units are powers of 1,024."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(match[1]) * _SCALE[match[2][:1].lower()]
    return value


Bytes = Annotated[int, BeforeValidator(size), Field(gt=0)]


def bucket(text: str) -> str:
    """A bucket's name, also from `gs://NAME/`."""
    name = text.removeprefix("gs://").rstrip("/")
    if not _BUCKET.fullmatch(name):
        raise ValueError("must be a bucket's name: 3 to 222 of a-z, 0-9, '.', '_' and '-'")
    return name


def buckets(value: object) -> object:
    """Buckets' names from a comma list, each once."""
    if not isinstance(value, str):
        return value
    names = [name.strip() for name in value.split(",") if name.strip()]
    if not names:
        raise ValueError("must name at least one bucket")
    return tuple(dict.fromkeys(bucket(name) for name in names))


def globs(value: object) -> object:
    """Globs from a comma list, each looked at as a whole (`*.{jpg,png}` is one)."""
    if not isinstance(value, str):
        return value
    return Globs(include=split_globs(value)).include


def ladder_of(value: object) -> object:
    """A ladder from its comma list."""
    return Ladder.parse(value) if isinstance(value, str) else value


def resource_path(kind: str, name: str, project: str | None) -> str:
    """`projects/P/topics/T` from a full or a short name (`kind`: topic or subscription).

    Raises:
        ValueError: a short name without a project, or a name that is neither.
    """
    if re.fullmatch(rf"projects/[^/]+/{kind}s/[^/]+", name):
        return name
    if "/" in name:
        raise ValueError(f"must be NAME or projects/PROJECT/{kind}s/NAME")
    if not project:
        raise ValueError("is a short name, so GOOGLE_CLOUD_PROJECT must be set")
    return f"projects/{project}/{kind}s/{name}"
