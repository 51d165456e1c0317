"""Hand-written stand-ins for the edges: a bucket, a topic, a renderer, a clock.

`MemoryStore` keeps exactly what GCS promises. Faults are injected by hooks, so that a test
says where a request dies: before it took effect, or after (a lost response), or what another worker
did in between.
"""

from __future__ import annotations

import base64
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import google_crc32c
import structlog

from worker.errors import (
    BucketUnavailable,
    PreconditionFailed,
    PublishFailed,
    WorkerError,
)
from worker.photo.header import PictureFacts
from worker.photo.ladder import Ladder, RungSize
from worker.photo.looks import Looks
from worker.photo.ports import OutgoingMessage, RenderCost, Rendered, StoredObject
from worker.photo.recipe import Recipe
from worker.telemetry.logs import Log

Verb = Literal["stat", "download", "read", "write", "delete", "list"]

FIRST_GENERATION = 1_000_001


def crc32c(data: bytes) -> str:
    """The checksum as GCS states it: base64 of four bytes, big-endian."""
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the bucket; `name` is the prefix of a listing."""

    verb: Verb
    bucket: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What lies in a bucket under one name."""

    data: bytes
    generation: int
    content_type: str
    cache_control: str
    custom_time: datetime | None
    created: datetime


class MemoryStore:
    """`ports.ObjectStore` in memory; thread-safe, every bucket exists but those in `missing`.

    `before` is called before a request takes effect: what it raises, the request raises, and
    nothing has changed. `after` is called once it took effect: what it raises is a lost response.
    Both run outside the lock and may use the store themselves.
    """

    def __init__(self, page_size: int = 1000, clock: Clock | None = None) -> None:
        self.clock = Clock() if clock is None else clock
        self.missing: set[str] = set()
        self.before: Callable[[Request], None] = _nothing
        self.after: Callable[[Request], None] = _nothing
        self.requests: list[Request] = []
        self._page_size = page_size
        self._lock = threading.Lock()
        self._generations = itertools.count(FIRST_GENERATION)
        self._entries: dict[tuple[str, str], Entry] = {}

    def seed(self, bucket: str, name: str, data: bytes) -> StoredObject:
        """Put an object there without a request, whatever lay there before."""
        with self._lock:
            return self._put(bucket, name, data, "application/octet-stream", "", None)

    def entry(self, bucket: str, name: str) -> Entry | None:
        """What lies there, without a request."""
        with self._lock:
            return self._entries.get((bucket, name))

    def names(self, bucket: str) -> list[str]:
        """Every name in a bucket in order, without a request."""
        with self._lock:
            return sorted(name for holder, name in self._entries if holder == bucket)

    def asked(self, verb: Verb) -> list[str]:
        """The names that requests of one kind were about, in order."""
        return [request.name for request in self.requests if request.verb == verb]

    def stat(self, bucket: str, name: str, generation: str | None = None) -> StoredObject | None:
        request = self._ask("stat", bucket, name)
        entry = self.entry(bucket, name)
        self.after(request)
        if entry is None or (generation is not None and int(generation) != entry.generation):
            return None
        return _stated(bucket, name, entry)

    def fetch(
        self,
        bucket: str,
        name: str,
        generation: str | None,
        into: Path,
        check_bytes: Callable[[int], None],
    ) -> StoredObject | None:
        request = self._ask("download", bucket, name)
        entry = self.entry(bucket, name)
        if entry is None or (generation is not None and int(generation) != entry.generation):
            self.after(request)
            return None
        check_bytes(len(entry.data))
        into.write_bytes(entry.data)
        self.after(request)
        return _stated(bucket, name, entry)

    def read(self, bucket: str, name: str) -> tuple[bytes, int] | None:
        request = self._ask("read", bucket, name)
        entry = self.entry(bucket, name)
        self.after(request)
        return (entry.data, entry.generation) if entry else None

    def write(
        self,
        bucket: str,
        name: str,
        data: bytes | Path,
        *,
        content_type: str,
        cache_control: str,
        if_generation: int,
        crc32c: str | None = None,  # noqa: ARG002 (as the real one, which would refuse)
        custom_time: datetime | None = None,
    ) -> StoredObject:
        data = data.read_bytes() if isinstance(data, Path) else data
        request = self._ask("write", bucket, name)
        with self._lock:
            there = self._entries.get((bucket, name))
            if (there.generation if there else 0) != if_generation:
                raise PreconditionFailed(name)
            stored = self._put(bucket, name, data, content_type, cache_control, custom_time)
        self.after(request)
        return stored

    def delete(self, bucket: str, name: str) -> bool:
        request = self._ask("delete", bucket, name)
        with self._lock:
            gone = self._entries.pop((bucket, name), None)
        self.after(request)
        return gone is not None

    def check_bucket(self, bucket: str) -> None:
        if bucket in self.missing:
            raise BucketUnavailable(f"bucket {bucket!r} does not exist")

    def objects(
        self, bucket: str, prefix: str, *, start: str | None = None, end: str | None = None
    ) -> Iterator[StoredObject]:
        last = ""
        while True:
            request = self._ask("list", bucket, prefix)
            page = [
                _stated(bucket, name, entry)
                for name in self.names(bucket)
                if name > last
                and name.startswith(prefix)
                and (start is None or name >= start)
                and (end is None or name < end)
                and (entry := self.entry(bucket, name)) is not None
            ][: self._page_size]
            self.after(request)
            yield from page
            if len(page) < self._page_size:
                return
            last = page[-1].name

    def _ask(self, verb: Verb, bucket: str, name: str) -> Request:
        request = Request(verb, bucket, name)
        self.requests.append(request)
        self.before(request)
        return request

    def _put(
        self,
        bucket: str,
        name: str,
        data: bytes,
        content_type: str,
        cache_control: str,
        custom_time: datetime | None,
    ) -> StoredObject:
        entry = Entry(
            data=data,
            generation=next(self._generations),
            content_type=content_type,
            cache_control=cache_control,
            custom_time=custom_time,
            created=self.clock(),
        )
        self._entries[bucket, name] = entry
        return _stated(bucket, name, entry)


class Once:
    """A hook that acts on the first request of one kind about a name with this ending.

    It is spent before it acts, so that what it does may use the store.
    """

    def __init__(self, verb: Verb, ending: str, action: Callable[[], object]) -> None:
        self.spent = False
        self._verb = verb
        self._ending = ending
        self._action = action

    def __call__(self, request: Request) -> None:
        if not self.spent and request.verb == self._verb and request.name.endswith(self._ending):
            self.spent = True
            self._action()


def raising(error: Exception) -> Callable[[], None]:
    """An action that fails."""

    def fail() -> None:
        raise error

    return fail


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One published message."""

    topic: str
    data: bytes
    attributes: dict[str, str]
    ordering_key: str


class FakePublisher:
    """`ports.Publisher` that remembers; publishing to a topic in `broken` fails."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.broken: set[str] = set()
        self.after: Callable[[Message], None] = _nothing
        self._lock = threading.Lock()

    def publish(
        self, topic: str, data: bytes, attributes: Mapping[str, str], ordering_key: str = ""
    ) -> str:
        if topic in self.broken:
            raise PublishFailed(f"{topic}: no confirmation")
        assert len(attributes) <= 100, "Pub/Sub refuses more attributes"
        assert all(
            0 < len(name.encode()) <= 256 and len(value.encode()) <= 1024
            for name, value in attributes.items()
        ), attributes
        message = Message(
            topic=topic, data=data, attributes=dict(attributes), ordering_key=ordering_key
        )
        with self._lock:
            self.messages.append(message)
            number = len(self.messages)
        self.after(message)
        return str(number)

    def to(self, topic: str) -> list[Message]:
        return [message for message in self.messages if message.topic == topic]


class BatchFakePublisher(FakePublisher):
    """`ports.BatchPublisher` over the same."""

    def publish_all(self, topic: str, messages: Sequence[OutgoingMessage]) -> None:
        for message in messages:
            self.publish(topic, message.data, message.attributes, message.ordering_key)


class FakeRendering:
    """`ports.Rendering`: tiny files instead of pictures."""

    def __init__(self, renderer: FakeRenderer, original: Path, folder: Path) -> None:
        self._renderer = renderer
        self._original = original
        self._folder = folder
        self._done = False

    def __iter__(self) -> Iterator[Rendered]:
        # A scripted error comes after the first rendition.
        renderer = self._renderer
        error = renderer.errors.pop(0) if renderer.errors else None
        content = self._original.read_bytes()
        for size in renderer.recipe.ladder.sizes(*renderer.size):
            yield self._write(size, renderer.salt + size.rung.encode() + b" of " + content)
            renderer.between()
            if error is not None:
                raise error
        self._done = True

    def _write(self, size: RungSize, data: bytes) -> Rendered:
        path = self._folder / f"{size.rung}.webp"
        path.write_bytes(data)
        return Rendered(size=size, path=path, size_bytes=len(data), crc32c=crc32c(data))

    @property
    def facts(self) -> PictureFacts:
        if not self._done:
            raise RuntimeError("take every rendition first")
        width, height = self._renderer.size
        return PictureFacts(
            format="jpeg",
            width=width,
            height=height,
            pages=1,
            taken_at="2026-05-01T12:00:00",
            camera="Pentax K-1",
            thumbhash="1QcSHQRnh493V4dIh4eXh1h4kJUI",
            color="#7a8b9c",
        )

    @property
    def cost(self) -> RenderCost:
        if not self._done:
            raise RuntimeError("take every rendition first")
        return RenderCost(seconds=1.5, cpu_seconds=1.25, peak_bytes=1 << 20)


class FakeRenderer:
    """`ports.Renderer`: renders every original as a picture of `size`.

    `errors` are raised by the next renders, one each; `None` lets one through. `salt` makes other
    bytes of the same work, as another machine's codec may. `between` runs after each rendition.
    """

    def __init__(self, size: tuple[int, int] = (800, 600), quality: int = 80) -> None:
        self.size = size
        self.salt = b""
        self.errors: list[WorkerError | None] = []
        self.between: Callable[[], object] = lambda: None
        self.rendered: list[bytes] = []
        self._recipe = Recipe(
            ladder=Ladder.parse("320,512,full"),
            looks=Looks(quality=quality, effort=4, full_effort=2),
            codec="fake-1.0",
        )

    @property
    def recipe(self) -> Recipe:
        return self._recipe

    def render(self, original: Path, folder: Path) -> FakeRendering:
        self.rendered.append(original.read_bytes())
        return FakeRendering(self, original, folder)


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Ids:
    """Fresh ids that a test can foretell: `commit-1`, `commit-2`, ..."""

    def __init__(self, stem: str = "commit") -> None:
        self._stem = stem
        self._numbers = itertools.count(1)

    def __call__(self) -> str:
        return f"{self._stem}-{next(self._numbers)}"


def recording_log() -> tuple[Log, list[dict[str, object]]]:
    """A logger, and the list that its entries end up in (`level`, `event` and the fields)."""
    entries: list[dict[str, object]] = []

    def keep(_: object, method: str, event: structlog.typing.EventDict) -> str:
        entries.append({"level": method, **event})
        raise structlog.DropEvent

    log: Log = structlog.wrap_logger(
        structlog.testing.CapturingLogger(),
        processors=[keep],
        wrapper_class=structlog.make_filtering_bound_logger(0),
    )
    return log, entries


def _stated(bucket: str, name: str, entry: Entry) -> StoredObject:
    return StoredObject(
        bucket=bucket,
        name=name,
        generation=entry.generation,
        size_bytes=len(entry.data),
        crc32c=crc32c(entry.data),
        created=entry.created,
    )


def _nothing(_: object) -> None:
    return
