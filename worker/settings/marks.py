"""Settings that are pictures, places and colours: what was written becomes what was meant.

The one room of settings that reads a file: a watermark's, once, so that a wrong one is told with
all other faults. Like `setting_texts` it raises ValueError with what is expected, and knows no
variable's name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator

from worker.errors import CorruptOriginal, UnsupportedFormat
from worker.photo.watermark import MAX_BYTES, PictureFile, Position
from worker.render.formats.formats import sniff

_COLOUR: Final = re.compile(r"#?([0-9a-f]{6}|[0-9a-f]{3})", re.IGNORECASE)
_RRGGBB: Final = 6


def picture_file(value: object) -> object:
    """The file of this name, which must begin like a picture that can be rendered."""
    if not isinstance(value, str):
        return value
    try:
        path = Path(value)
        if path.exists() and not (path.is_file() or path.is_dir()):
            # A pipe would keep the worker waiting for whoever may write to it.
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
    """Where a watermark lies, in any spelling: `Center`, `north_east`."""
    if not isinstance(value, str):
        return value
    return value.lower().replace("_", "-").replace("center", "centre")


def colour(value: object) -> object:
    """`#rrggbb` of that, of `#rgb`, or of either without the `#` that a shell would mind."""
    if not isinstance(value, str):
        return value
    if value.lower() == "transparent":
        return None
    match = _COLOUR.fullmatch(value)
    if match is None:
        raise ValueError("must be #rrggbb, #rgb or `transparent`")
    digits = match[1].lower()
    return "#" + (digits if len(digits) == _RRGGBB else "".join(2 * each for each in digits))


FileOfPicture = Annotated[PictureFile | None, BeforeValidator(picture_file)]
Placing = Annotated[Position, BeforeValidator(position)]
Background = Annotated[str | None, BeforeValidator(colour)]
