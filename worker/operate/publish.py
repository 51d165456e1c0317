"""The `register` and `deregister` verbs: events published from the command line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from worker.console.text import to_json
from worker.errors import (
    ConfigurationError,
    InvalidEvent,
    PreconditionFailed,
    StorageUnavailable,
    UsageFault,
)
from worker.photo.endings import content_type, named_like_a_picture
from worker.photo.events import Deregister, Register, check_photo_id, explain
from worker.photo.ports import ObjectStore, OutgoingMessage, Publisher, StoredObject
from worker.system.walk import walk

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
class Source:
    """One original to register: a file to upload first, or an object (`gs://`) that lies there."""

    photo_id: str
    file: Path | None
    url: str | None


def now_version() -> int:
    """Microseconds since the epoch: the conventional version, on the scale of GCS generations."""
    return time.time_ns() // 1000


def _or_now(version: int | None) -> int:
    return now_version() if version is None else version


def find_sources(arguments: Iterable[str], photo_id: str | None = None) -> list[Source]:
    """What `SOURCE...` names: objects, files, and the pictures below folders.

    A file's photo id is its name, in a folder its path below that folder; the suffix stays, so
    that `a.jpg` and `a.png` do not overwrite each other.

    Raises:
        UsageFault: something is not there or has an impossible name, or two have one photo id.
    """
    sources = [source for argument in arguments for source in _expand(argument)]
    if photo_id is not None:
        if len(sources) != 1:
            raise UsageFault(f"--photo-id needs exactly one SOURCE, got {len(sources)}")
        sources = [Source(photo_id=photo_id, file=sources[0].file, url=sources[0].url)]
    seen: dict[str, Source] = {}
    for source in sources:
        try:
            check_photo_id(source.photo_id)
        except ValueError as error:
            where = source.file or source.url
            raise UsageFault(f"{str(where)!r} cannot be a photo: its id {error}") from error
        if source.photo_id in seen:
            one, two = (str(each.file or each.url) for each in (seen[source.photo_id], source))
            raise UsageFault(
                f"{one} and {two} would both be photo {source.photo_id!r}; register them apart"
            )
        seen[source.photo_id] = source
    return sources


def _expand(argument: str) -> Iterator[Source]:
    if argument.startswith("gs://"):
        name = argument.removeprefix("gs://").partition("/")[2]
        yield Source(photo_id=name, file=None, url=argument)
        return
    path = Path(argument)
    if not argument:
        raise UsageFault("a SOURCE is empty; name a file, a folder or gs://BUCKET/OBJECT")
    if path.is_file():
        yield Source(photo_id=path.name, file=path, url=None)
        return
    if not path.is_dir():
        raise UsageFault(f"{argument}: no such file or folder")
    found = [
        Source(photo_id=entry.name, file=Path(entry.path), url=None)
        for entry in walk(argument)
        if named_like_a_picture(entry.name) and Path(entry.path).is_file()
    ]
    if not found:
        raise UsageFault(f"{argument}: no pictures in this folder")
    yield from found


def upload(store: ObjectStore, bucket: str, name: str, file: Path) -> StoredObject:
    """Put a file's bytes in a bucket, in place of what lies there.

    Raises:
        StorageUnavailable: the bucket does not answer, or somebody else keeps writing that name.
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
    ) -> Iterator[Published]:
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

        def one(source: Source) -> Published:
            return self._register(source, bucket, labels, version)

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
    return to_json([asdict(each) for each in published])


def _checked(build: Callable[[], E]) -> E:
    try:
        return build()
    except ValidationError as error:
        raise InvalidEvent(explain(error)) from error
