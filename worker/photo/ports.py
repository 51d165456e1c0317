"""Ports: the protocols that handlers use to reach the outside, and the values that cross them.

The same handlers run on Google's services and on the tests' in-memory services, so the protocols
have no SDK types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from worker.photo.header import PictureFacts
from worker.photo.ladder import RungSize
from worker.photo.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object as the bucket states it; `crc32c` is base64, big-endian, as GCS writes it.

    `created` is the time at which this generation was written, by the bucket's clock.
    """

    bucket: str
    name: str
    generation: int
    size_bytes: int
    crc32c: str
    created: datetime


class ObjectStore(Protocol):
    """Buckets; thread-safe. Every call retries transient faults within a budget.

    Each method raises `StorageUnavailable` once that budget is used up.
    """

    def stat(self, bucket: str, name: str, generation: str | None = None) -> StoredObject | None:
        """Return the object or `None`, at one `generation` or the newest."""

    def fetch(
        self,
        bucket: str,
        name: str,
        generation: str | None,
        into: Path,
        check_bytes: Callable[[int], None],
    ) -> StoredObject | None:
        """Download an object to a file, verified by size and crc32c; return `None` if missing.

        `generation` pins one; otherwise it is the newest. `check_bytes` gets its size before the
        first byte; an exception of it ends the download. What is stored gzipped is unpacked, and
        `check_bytes` gets the size that this has come to.

        Raises:
            OriginalForbidden: the object is refused, while its bucket answers.
            CorruptOriginal: it is stored gzipped and cannot be unpacked.
            StorageRefused: the bucket is refused as well.
        """

    def read(self, bucket: str, name: str) -> tuple[bytes, int] | None:
        """Return a small object's bytes and generation, or `None`."""

    def write(  # noqa: PLR0913 (one request, and all of it belongs in that one request)
        self,
        bucket: str,
        name: str,
        data: bytes | Path,
        *,
        content_type: str,
        cache_control: str,
        if_generation: int,
        crc32c: str | None = None,
        custom_time: datetime | None = None,
    ) -> StoredObject:
        """Write in a single request if the object is at `if_generation` (0: does not exist).

        `crc32c` is the checksum of the bytes, if the caller knows it; a `Path` is read in pieces.

        Raises:
            PreconditionFailed: the object is at another generation. After a lost response, this
                write itself may have changed the generation.
        """

    def delete(self, bucket: str, name: str) -> bool:
        """Delete the object; return False if it did not exist."""

    def check_bucket(self, bucket: str) -> None:
        """Check that a bucket can be read.

        Raises:
            BucketUnavailable: the bucket is missing or forbidden.
        """

    def objects(
        self, bucket: str, prefix: str, *, start: str | None = None, end: str | None = None
    ) -> Iterator[StoredObject]:
        """Yield the objects under a prefix with `start <= name < end`, in name order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One finished WebP file on this machine; `crc32c` is base64 as GCS states it."""

    size: RungSize
    path: Path
    size_bytes: int
    crc32c: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderCost:
    """The cost of a render: seconds in its slot, CPU seconds, the child's peak memory so far."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


class Rendering(Protocol):
    """A running render of one original: it yields renditions, then has facts and cost."""

    def __iter__(self) -> Iterator[Rendered]:
        """Yield each rendition once it is written, in any order of rungs.

        Raises:
            CorruptOriginal, UnsupportedFormat, OriginalTooLarge: the child refused the original.
            RenderCrashed, RenderTimeout, RenderOutOfMemory: the child died of the original.
            SlotUnavailable: a child could not be started, or could not use its files.
            Draining: the worker stops before this render has finished.
        """

    @property
    def facts(self) -> PictureFacts:
        """Known once every rendition has been taken; RuntimeError before."""

    @property
    def cost(self) -> RenderCost:
        """Known once every rendition has been taken; RuntimeError before."""


class Renderer(Protocol):
    """Child processes that render; thread-safe."""

    @property
    def recipe(self) -> Recipe:
        """Everything that decides the bytes of renditions."""

    def render(self, original: Path, folder: Path) -> Rendering:
        """Queue an original; the child writes its renditions into `folder`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingMessage:
    """A message to publish."""

    data: bytes
    attributes: Mapping[str, str]
    ordering_key: str = ""


class Publisher(Protocol):
    """A topic's publisher; thread-safe."""

    def publish(
        self, topic: str, data: bytes, attributes: Mapping[str, str], ordering_key: str = ""
    ) -> str:
        """Publish and wait for the confirmation; return the message id.

        Raises:
            PublishFailed: the confirmation did not come in time; the message may be published.
        """


class BatchPublisher(Publisher, Protocol):
    """A publisher that also takes many messages at once; thread-safe."""

    def publish_all(self, topic: str, messages: Sequence[OutgoingMessage]) -> None:
        """Publish a batch, and wait until all of it is confirmed.

        Raises:
            PublishFailed: some messages are not confirmed; they may be published.
        """
