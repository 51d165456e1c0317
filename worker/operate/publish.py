"""This module publishes events to the topic, for the command line and for other verbs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from worker.errors import ConfigurationError, InvalidEvent, PreconditionFailed, StorageUnavailable
from worker.operate.sources import Source
from worker.photo.endings import content_type, why_refused
from worker.photo.events import Deregister, Register, explain
from worker.photo.ports import (
    BatchPublisher,
    ObjectStore,
    OutgoingMessage,
    Publisher,
    StoredObject,
)
from worker.pubsub.clients import PubSubPublisher
from worker.settings.settings import Settings
from worker.telemetry.exporters import traced

BATCH: Final = 500
"""The messages of one batch, which are published and confirmed together."""

_UPLOADS: Final = 4
_UPLOAD_ROUNDS: Final = 5

E = TypeVar("E", Register, Deregister)


def open_publisher(
    settings: Settings, stack: ExitStack, *, check_topic: bool = True
) -> BatchPublisher:
    """Open the publisher of a verb, with traces if the environment asks for them.

    `stack` closes it.

    Raises:
        SubscriptionUnavailable, StreamLost: with `check_topic`, the topic does not exist or
            Pub/Sub does not answer.
        Fatal: there are no credentials.
    """
    publisher = PubSubPublisher(settings.pubsub_emulator_host)
    stack.callback(publisher.close)
    if check_topic:
        publisher.check_topic(settings.topic or "")
    return traced(publisher, stack)


class PacedPublisher:
    """Publishes batches, `rate` messages a second at most; for one thread.

    Args:
        publish: returns once all messages of a batch are confirmed.
        rate: messages a second; `None` for as many as Pub/Sub takes.
        wait: sleeps for so many seconds.
        monotonic: seconds of a clock.
    """

    def __init__(
        self,
        publish: Callable[[Sequence[OutgoingMessage]], object],
        rate: float | None,
        *,
        wait: Callable[[float], object] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publish, self._rate, self._wait, self._monotonic = publish, rate, wait, monotonic
        self._due = -math.inf
        self.batch_size = BATCH if rate is None else max(1, min(BATCH, int(rate)))
        """The messages that one call should publish: at most the messages of one second."""

    def __call__(self, messages: Sequence[OutgoingMessage]) -> None:
        """Wait until the rate allows this batch, and publish it; raises what `publish` raises."""
        # Wait before the batch and not after it, so that the run ends right after the last batch.
        if (seconds := self._due - self._monotonic()) > 0:
            self._wait(seconds)
        if self._rate is not None:
            self._due = self._monotonic() + len(messages) / self._rate
        self._publish(messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One event that Pub/Sub has confirmed."""

    message_id: str
    photo_id: str
    version: int
    original: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A source that is unreadable or cannot be a photo, and was left out; `message` says why."""

    photo_id: str
    file: Path
    message: str


def now_version() -> int:
    """Return a version for now: microseconds since the epoch, the scale of GCS generations."""
    return time.time_ns() // 1000


def upload(store: ObjectStore, bucket: str, name: str, file: Path) -> StoredObject:
    """Upload a file to a bucket; an object of that name is replaced.

    Raises:
        StorageUnavailable: the bucket does not answer, or another writer keeps replacing the
            object.
        OSError: the file cannot be read.
    """
    for _ in range(_UPLOAD_ROUNDS):
        there = store.stat(bucket, name)
        try:
            return store.write(
                bucket,
                name,
                file,
                content_type=content_type(file.name),
                cache_control="private",
                if_generation=there.generation if there else 0,
            )
        except PreconditionFailed:
            continue
    raise StorageUnavailable(f"gs://{bucket}/{name}: somebody else keeps writing it")


def message_of(event: Register | Deregister) -> OutgoingMessage:
    """Return the Pub/Sub message of an event."""
    data = event.model_dump_json(exclude_none=True).encode()
    return OutgoingMessage(data=data, attributes={"type": event.type})


class EventPublisher:
    """Publishes events one by one, uploading local originals first; thread-safe."""

    def __init__(self, store: ObjectStore, publisher: Publisher, topic: str) -> None:
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
        """Register each source, several at a time; yield the results in the order given.

        Args:
            sources: see `find_sources`.
            bucket: where local files are uploaded to, under `{photo_id}`.
            labels: copied to each manifest.
            version: the version of all events; `now_version` by default.

        Raises:
            InvalidEvent: workers would refuse a photo id or label; its event is not published.
            StorageUnavailable, PublishFailed: what was yielded before is published, and up to
                three more may be.
        """

        def one(source: Source) -> Published | Unread:
            if source.fault and source.file:
                return Unread(photo_id=source.photo_id, file=source.file, message=source.fault)
            if source.file and (message := why_refused(source.file.name)):
                return Unread(photo_id=source.photo_id, file=source.file, message=message)
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
            yield self.publish(_checked(Deregister, photo_id=photo_id, version=version))

    def publish(self, event: Register | Deregister) -> Published:
        """Publish one event.

        Raises:
            PublishFailed: no confirmation came in time; the event may have been published.
        """
        message = message_of(event)
        message_id = self._publisher.publish(self._topic, message.data, message.attributes)
        return Published(
            message_id=message_id,
            photo_id=event.photo_id,
            version=event.version,
            original=event.original if isinstance(event, Register) else None,
        )

    def _register(
        self, source: Source, bucket: str | None, labels: dict[str, str], version: int | None
    ) -> Published:
        def event(url: str, generation: str | None = None) -> Register:
            return _checked(
                Register,
                photo_id=source.photo_id,
                version=version,
                original=url,
                generation=generation,
                labels=labels,
            )

        if source.file is None:
            return self.publish(event(source.url or ""))
        if bucket is None:
            raise ConfigurationError(
                ["WORKER_ORIGINALS_BUCKETS is not set: local files are uploaded to its first"]
            )
        url = f"gs://{bucket}/{source.photo_id}"
        # Check the event before the upload: an event that workers would refuse must not leave an
        # object.
        event(url)
        stored = upload(self._store, bucket, source.photo_id, source.file)
        return self.publish(event(url, str(stored.generation)))


def _checked(kind: type[E], *, version: int | None, **fields: Any) -> E:  # noqa: ANN401
    """Return a valid event of this version, or of `now_version` without one."""
    try:
        return kind(version=now_version() if version is None else version, **fields)
    except ValidationError as error:
        raise InvalidEvent(explain(error)) from error
