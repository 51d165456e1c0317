"""Values: turn the text of a variable into a value.

Each function takes a text and returns its value, or raises ValueError with the expected form. An
argument that is already a value is returned unchanged. `picture_file` reads its file, so a wrong
watermark is reported together with all other problems.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

from worker.errors import CorruptOriginal, UnsupportedFormat
from worker.photo.globs import Globs, split_globs
from worker.photo.ladder import Ladder
from worker.photo.watermark import MAX_BYTES, PictureFile, Position
from worker.render.formats.formats import sniff

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_SIZE: Final = re.compile(r"([0-9]+)\s*(|[kmgt]i?b?|b)", re.IGNORECASE)
_COLOUR: Final = re.compile(r"#?([0-9a-f]{6}|[0-9a-f]{3})", re.IGNORECASE)
_RRGGBB: Final = 6
_SCALE: Final = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def auto(value: object) -> object:
    """Return `None` for `auto`: the machine, or another setting, decides."""
    return None if value in ("auto", "") else value


def size(value: object) -> object:
    """Return bytes from `512`, `64k`, `64 MiB` or `2GB`; all units are powers of 1,024."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(match[1]) * _SCALE[match[2][:1].lower()]
    return value


Bytes = Annotated[int, BeforeValidator(size), Field(gt=0)]


def bucket(text: str) -> str:
    """Return a bucket's name, also from `gs://NAME/`."""
    name = text.removeprefix("gs://").rstrip("/")
    if not _BUCKET.fullmatch(name):
        raise ValueError("must be a bucket's name: 3 to 222 of a-z, 0-9, '.', '_' and '-'")
    return name


def buckets(value: object) -> object:
    """Return the names of buckets from a comma list, each once."""
    if not isinstance(value, str):
        return value
    names = [name.strip() for name in value.split(",") if name.strip()]
    if not names:
        raise ValueError("must name at least one bucket")
    return tuple(dict.fromkeys(bucket(name) for name in names))


def globs(value: object) -> object:
    """Return globs from a comma list; a comma in braces does not split (`*.{jpg,png}`)."""
    if not isinstance(value, str):
        return value
    return Globs(include=split_globs(value)).include


def ladder_of(value: object) -> object:
    """Return a ladder from its comma list."""
    return Ladder.parse(value) if isinstance(value, str) else value


def picture_file(value: object) -> object:
    """Read a picture's file; it must begin like a picture that can be rendered."""
    if not isinstance(value, str):
        return value
    try:
        path = Path(value)
        if path.exists() and not (path.is_file() or path.is_dir()):
            # `open` would wait for the writer of a pipe.
            raise ValueError("it is a pipe or a device, not a file")  # noqa: TRY301
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > MAX_BYTES:
        raise ValueError(f"must not have more than {MAX_BYTES >> 20} MiB")
    try:
        sniff(data)
    except (UnsupportedFormat, CorruptOriginal) as error:
        raise ValueError(f"must be a picture: {error}") from error
    return PictureFile(name=value, data=data)


def position(value: object) -> object:
    """Return a watermark's position from any spelling, such as `Center` or `north_east`."""
    if not isinstance(value, str):
        return value
    return value.lower().replace("_", "-").replace("center", "centre")


def colour(value: object) -> object:
    """Return `#rrggbb` from `#rrggbb` or `#rgb`; the `#`, a shell's comment sign, may be missing.

    Return `None` from `transparent`.
    """
    if not isinstance(value, str):
        return value
    if value.lower() == "transparent":
        return None
    match = _COLOUR.fullmatch(value)
    if match is None:
        raise ValueError("must be #rrggbb, #rgb or `transparent`")
    digits = match[1].lower()
    return "#" + (digits if len(digits) == _RRGGBB else "".join(2 * each for each in digits))


def resource_path(kind: str, name: str, project: str | None) -> str:
    """Return `projects/P/topics/T` from a full or a short name (`kind`: topic or subscription).

    Raises:
        ValueError: a short name comes without a project, or the name is neither full nor short.
    """
    if re.fullmatch(rf"projects/[^/]+/{kind}s/[^/]+", name):
        return name
    if "/" in name:
        raise ValueError(f"must be NAME or projects/PROJECT/{kind}s/NAME")
    if not project:
        raise ValueError("is a short name, so GOOGLE_CLOUD_PROJECT must be set")
    return f"projects/{project}/{kind}s/{name}"


FileOfPicture = Annotated[PictureFile | None, BeforeValidator(picture_file)]
Placing = Annotated[Position, BeforeValidator(position)]
Background = Annotated[str | None, BeforeValidator(colour)]
