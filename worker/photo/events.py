"""Events: parse a message's data and attributes into frozen records.

There are two producers: the gallery's back end (JSON data with a `type`) and GCS notifications
(attributes `eventType`, `bucketId`, ...). `delivery` has the facts of transport (message id,
delivery attempt).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from worker.errors import ForbiddenSource, InvalidEvent
from worker.photo.globs import Globs
from worker.photo.layout import Layout
from worker.photo.strangers import what_it_is

PHOTO_ID_MAX_BYTES = 800
OBJECT_NAME_MAX_BYTES = 1024
"""GCS's limit for an object's name, in UTF-8."""

VERSION_MAX = 2**63 - 1
"""A GCS generation is a signed 64-bit number; versions have the same range."""


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""Unicode's whole category Cc."""


def _photo_id(value: str) -> str:
    try:
        size_bytes = len(value.encode())
    except UnicodeEncodeError as error:
        raise ValueError("must be valid UTF-8 (a lone surrogate is not)") from error
    if not 1 <= size_bytes <= PHOTO_ID_MAX_BYTES:
        raise ValueError(f"must have 1 to {PHOTO_ID_MAX_BYTES} bytes of UTF-8, has {size_bytes}")
    if _CONTROL.search(value):
        raise ValueError("must have no control characters")
    if any(segment in ("", ".", "..") for segment in value.split("/")):
        raise ValueError("must have no empty, '.' or '..' segment and no '/' at either end")
    return value


def _object_url(value: str) -> str:
    bucket, slash, name = value.removeprefix("gs://").partition("/")
    if not (value.startswith("gs://") and bucket and slash and name):
        raise ValueError("must be gs://BUCKET/OBJECT")
    try:
        size_bytes = len(name.encode())
    except UnicodeEncodeError as error:
        raise ValueError("must be valid UTF-8 (a lone surrogate is not)") from error
    if size_bytes > OBJECT_NAME_MAX_BYTES or name in (".", "..") or "\r" in name or "\n" in name:
        raise ValueError("names no possible GCS object")
    return value


def _generation(value: object) -> object:
    # JSON producers often send the number that their GCS client gave them.
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number else value


def _fits_64_bits(value: str) -> str:
    if int(value) > VERSION_MAX:
        raise ValueError(f"must be at most {VERSION_MAX}, as generations are")
    return value


PhotoId = Annotated[str, AfterValidator(_photo_id)]
Version = Annotated[int, Field(gt=0, le=VERSION_MAX)]
ObjectUrl = Annotated[str, AfterValidator(_object_url)]
Generation = Annotated[
    str,
    BeforeValidator(_generation),
    StringConstraints(pattern=r"^[1-9][0-9]{0,18}$"),
    AfterValidator(_fits_64_bits),
]
LabelKey = Annotated[str, StringConstraints(min_length=1, max_length=63)]
LabelValue = Annotated[str, StringConstraints(max_length=255)]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=32)]


def check_photo_id(value: str) -> None:
    """Check that a text may be a photo id.

    Raises:
        ValueError: the text is no valid photo id; the message says why.
    """
    _photo_id(value)


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    photo_id: PhotoId
    version: Version


class Register(_Event):
    """Render this original and show it as this photo, unless a newer version is known."""

    type: Literal["photo.register"] = "photo.register"
    original: ObjectUrl
    generation: Generation | None = None
    labels: Labels = Field(default_factory=dict)

    @property
    def bucket(self) -> str:
        """The original's bucket."""
        return self.original.removeprefix("gs://").partition("/")[0]

    @property
    def object(self) -> str:
        """The original's object name."""
        return self.original.removeprefix("gs://").partition("/")[2]


class Deregister(_Event):
    """Remove this photo, unless a newer version is known."""

    type: Literal["photo.deregister"] = "photo.deregister"


class Ignored(BaseModel):
    """A message that the worker acks without further work; `why` is for the log."""

    model_config = ConfigDict(frozen=True)

    why: str


Event = Register | Deregister | Ignored
_EVENT: TypeAdapter[Register | Deregister] = TypeAdapter(
    Annotated[Register | Deregister, Field(discriminator="type")]
)


_EVERYTHING = Globs()


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """The buckets of originals, and the bucket and names of the worker's own output.

    `globs` choose the photos among the objects of notifications. An event of the back end is always
    about a photo.
    """

    originals: frozenset[str]
    renditions: str
    layout: Layout
    globs: Globs = _EVERYTHING

    def is_output(self, bucket: str, name: str) -> bool:
        """Return True if an object is the worker's own output."""
        return bucket == self.renditions and self.layout.is_output(name)


def parse(data: bytes, attributes: Mapping[str, str], buckets: Buckets) -> Event:
    """Read one message.

    Raises:
        InvalidEvent: it is neither an event nor a notification; the text names each wrong field.
        ForbiddenSource: it is a notification about a bucket outside of `originals`, so there is no
            photo whose manifest could record the failure.
    """
    if "eventType" in attributes and "objectId" in attributes:
        return _notification(attributes, buckets)
    try:
        return _EVENT.validate_json(data)
    except ValidationError as error:
        raise InvalidEvent(what_it_is(data, attributes) or explain(error)) from error


NOTIFIED = {
    "OBJECT_FINALIZE": "photo.register",
    "OBJECT_DELETE": "photo.deregister",
    "OBJECT_ARCHIVE": "photo.deregister",
}
"""The notifications that are events, and their event types.

A bucket with object versioning archives an object that is deleted or overwritten.
"""


def _notification(
    attributes: Mapping[str, str], buckets: Buckets
) -> Register | Deregister | Ignored:
    kind, name = attributes["eventType"], attributes["objectId"]
    bucket = attributes.get("bucketId", "")
    if (why := _no_change_of_an_original(attributes, buckets)) is not None:
        return Ignored(why=why)
    if bucket not in buckets.originals:
        raise ForbiddenSource(f"a notification about {bucket!r}, which no original may lie in")
    if (why := buckets.globs.why_not(name)) is not None:
        return Ignored(why=why)
    generation = attributes.get("objectGeneration", "")
    try:
        version = int(generation) if generation.isascii() and generation.isdigit() else 0
        if NOTIFIED[kind] == "photo.deregister":
            return Deregister(photo_id=name, version=version)
        return Register(
            photo_id=name, version=version, original=f"gs://{bucket}/{name}", generation=generation
        )
    except ValidationError as error:
        raise InvalidEvent(f"notification about {name!r}: {explain(error)}") from error


def _no_change_of_an_original(attributes: Mapping[str, str], buckets: Buckets) -> str | None:
    kind, name = attributes["eventType"], attributes["objectId"]
    if kind not in NOTIFIED:
        return f"notification {kind}"
    if name.endswith("/"):
        return "folder marker"
    if buckets.is_output(attributes.get("bucketId", ""), name):
        # If the worker registered its own output, that would cause more output without end.
        return "own output"
    if kind != "OBJECT_FINALIZE" and "overwrittenByGeneration" in attributes:
        return "overwritten, the finalize of the new generation registers it"
    return None


def explain(error: ValidationError) -> str:
    """Return each wrong field with what was expected, on one line."""
    problems = []
    for item in error.errors(include_url=False):
        path = ".".join(str(step) for step in item["loc"] if step not in _TAGS)
        message = item["msg"].removeprefix("Value error, ")
        problems.append(f"{path}: {message}" if path else message)
    return "; ".join(problems)


_TAGS = ("photo.register", "photo.deregister")
