"""The `register` and `deregister` verbs: events published from the command line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from worker.errors import (
    ConfigurationError,
    InvalidEvent,
    PreconditionFailed,
    StorageUnavailable,
)
from worker.operate.sources import CONTENT_TYPES, Source
from worker.photo.events import Deregister, Register, explain
from worker.photo.ports import ObjectStore, OutgoingMessage, Publisher, StoredObject

_UPLOADS = 4
_UPLOAD_ROUNDS = 5

E = TypeVar("E", Register, Deregister)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One event that Pub/Sub has confirmed."""

    message_id: str
    photo_id: str
    version: int
    original: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A source that could not be read, or can be no photo, and was left out; `message` says why."""

    photo_id: str
    file: Path
    message: str


def now_version() -> int:
    """Microseconds since the epoch: the conventional version, on the scale of GCS generations."""
    return time.time_ns() // 1000


def _or_now(version: int | None) -> int:
    return now_version() if version is None else version


def upload(store: ObjectStore, bucket: str, name: str, file: Path) -> StoredObject:
    """Put a file's bytes in a bucket, in place of what lies there.

    Raises:
        StorageUnavailable: the bucket does not answer, or somebody else keeps writing that name.
        OSError: the file cannot be read.
    """
    kind = CONTENT_TYPES.get(file.suffix.lower(), "application/octet-stream")
    for _ in range(_UPLOAD_ROUNDS):
        there = store.stat(bucket, name)
        try:
            return store.write(
                bucket,
                name,
                file,
                content_type=kind,
                cache_control="private",
                if_generation=there.generation if there else 0,
            )
        except PreconditionFailed:
            continue
    raise StorageUnavailable(f"gs://{bucket}/{name}: somebody else keeps writing it")


def message_of(event: Register | Deregister) -> OutgoingMessage:
    """The message that says it."""
    data = event.model_dump_json(exclude_none=True).encode()
    return OutgoingMessage(data=data, attributes={"type": event.type})


class EventPublisher:
    """Publishes events, uploading local originals first; thread-safe."""

    def __init__(self, store: ObjectStore, publisher: Publisher, topic: str) -> None:
        """Touch nothing yet."""
        self._store = store
        self._publisher = publisher
        self._topic = topic

    def register(
        self,
        sources: Iterable[Source],
        *,
        bucket: str | None,
        labels: dict[str, str],
        version: int | None = None,
    ) -> Iterator[Published | Unread]:
        """Register each source, several at a time; yields in the order given.

        Args:
            sources: see `find_sources`.
            bucket: where local files are uploaded to, under `{photo_id}`.
            labels: copied to each manifest.
            version: for all of them; microseconds of now by default.

        Raises:
            InvalidEvent: a photo id or label that no worker would accept; nothing is sent for it.
            StorageUnavailable, PublishFailed: what was yielded before is published, and up to
                three more may be.
        """

        def one(source: Source) -> Published | Unread:
            if source.fault and source.file:
                return Unread(photo_id=source.photo_id, file=source.file, message=source.fault)
            try:
                return self._register(source, bucket, labels, version)
            except OSError as error:
                if source.file is None:
                    raise
                message = f"cannot be read: {error.strerror or error}"
                return Unread(photo_id=source.photo_id, file=source.file, message=message)

        with ThreadPoolExecutor(_UPLOADS, thread_name_prefix="upload") as threads:
            yield from threads.map(one, sources)

    def deregister(self, photo_ids: Iterable[str], version: int | None) -> Iterator[Published]:
        """Deregister each photo.

        Raises:
            InvalidEvent, PublishFailed: see `register`.
        """
        for photo_id in photo_ids:
            event = _checked(
                lambda photo_id=photo_id: Deregister(  # type: ignore[misc]
                    photo_id=photo_id, version=_or_now(version)
                )
            )
            yield self.publish(event)

    def _register(
        self, source: Source, bucket: str | None, labels: dict[str, str], version: int | None
    ) -> Published:
        def event(url: str, generation: str | None) -> Register:
            return Register(
                photo_id=source.photo_id,
                version=_or_now(version),
                original=url,
                generation=generation,
                labels=labels,
            )

        if source.file is None:
            url = source.url or ""
            return self.publish(_checked(lambda: event(url, None)))
        if bucket is None:
            raise ConfigurationError(
                ["WORKER_ORIGINALS_BUCKETS is not set: local files are uploaded to its first"]
            )
        url = f"gs://{bucket}/{source.photo_id}"
        # Before the upload: an event that no worker would accept must not leave an object behind.
        _checked(lambda: event(url, None))
        stored = upload(self._store, bucket, source.photo_id, source.file)
        return self.publish(_checked(lambda: event(url, str(stored.generation))))

    def publish(self, event: Register | Deregister) -> Published:
        """Publish one event.

        Raises:
            PublishFailed: no confirmation in time; it may have been published.
        """
        message = message_of(event)
        message_id = self._publisher.publish(self._topic, message.data, message.attributes)
        return Published(
            message_id=message_id,
            photo_id=event.photo_id,
            version=event.version,
            original=event.original if isinstance(event, Register) else None,
        )


def as_json_text(published: Iterable[Published]) -> str:
    """One JSON array for `--json`."""
    return json.dumps([asdict(each) for each in published], ensure_ascii=False, indent=2)


def _checked(build: Callable[[], E]) -> E:
    try:
        return build()
    except ValidationError as error:
        raise InvalidEvent(explain(error)) from error
