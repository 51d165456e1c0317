"""The fakes, with each request made when and as the test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from tests.fuzz.attempts import Attempt, Fate, running
from tests.support.fakes import FakePublisher, FakeRenderer, FakeRendering, MemoryStore, Request
from worker.errors import (
    CorruptOriginal,
    PreconditionFailed,
    PublishFailed,
    RenderCrashed,
    StorageUnavailable,
)
from worker.photo.ports import StoredObject

SOUND = (b"sound one", b"sound two")
CORRUPT = b"corrupt"
CRASHING = b"crashing"


@dataclass(frozen=True, slots=True, eq=False)
class Late:
    """A request that was given up by its attempt and is still under way."""

    attempt: Attempt
    effect: Callable[[], object]


class SharedStore(MemoryStore):
    """The bucket of all attempts. `late` are requests under way, `changes` counts effects.

    `deletes` is what attempts have asked to delete since it was last emptied.
    """

    def __init__(self) -> None:
        """Empty; short pages, so that a listing is several requests."""
        super().__init__(page_size=4)
        self.before = self._arrive
        self.after = self._answer
        self.late: list[Late] = []
        self.changes = 0
        self.deletes: list[tuple[Attempt, str, str]] = []
        self._effect: Callable[[], object] = lambda: None

    def fetch(
        self,
        bucket: str,
        name: str,
        generation: str | None,
        into: Path,
        check_bytes: Callable[[int], None],
    ) -> StoredObject | None:
        found = super().fetch(bucket, name, generation, into, check_bytes)
        attempt = running()
        if attempt and attempt.message:
            if found is not None and into.read_bytes() in SOUND:
                attempt.message.sound = True
            else:
                attempt.message.failing = True
        return found

    def write(
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
        write = partial(
            super().write,
            bucket,
            name,
            # Now: what is written late is what was sent, not what lies in the folder by then.
            data.read_bytes() if isinstance(data, Path) else data,
            content_type=content_type,
            cache_control=cache_control,
            if_generation=if_generation,
            crc32c=crc32c,
            custom_time=custom_time,
        )
        self._effect = write
        return write()

    def delete(self, bucket: str, name: str) -> bool:
        delete = partial(super().delete, bucket, name)
        self._effect = delete
        return delete()

    def _arrive(self, request: Request) -> None:
        attempt = running()
        if attempt is None:
            return
        effect = self._effect
        fate = attempt.wait(request.verb, request.name)
        changing = request.verb in ("write", "delete")
        if request.verb == "delete" and fate is not Fate.FAIL:
            self.deletes.append((attempt, request.bucket, request.name))
        if fate in (Fate.LATE, Fate.TWICE) and changing:
            self.late.append(Late(attempt, effect))
        if fate in (Fate.FAIL, Fate.LATE):
            raise StorageUnavailable(f"{request.verb} {request.name}")

    def _answer(self, request: Request) -> None:
        self.changes += request.verb in ("write", "delete")
        attempt = running()
        if attempt is None:
            return
        if attempt.fate is Fate.REPEATED and request.verb == "write":
            raise PreconditionFailed(request.name)
        if attempt.fate is Fate.LOST:
            raise StorageUnavailable(f"no answer to {request.verb} {request.name}")


class SharedPublisher(FakePublisher):
    """The topics of all attempts."""

    def publish(
        self, topic: str, data: bytes, attributes: Mapping[str, str], ordering_key: str = ""
    ) -> str:
        attempt = running()
        assert attempt is not None
        fate = attempt.wait("publish", topic)
        if fate is Fate.FAIL:
            raise PublishFailed(topic)
        number = super().publish(topic, data, attributes, ordering_key)
        if fate is not Fate.GO:
            raise PublishFailed(f"{topic}: published, but not confirmed")
        attempt.told.append((topic, data))
        return number


class ContentRenderer(FakeRenderer):
    """Renders, refuses or dies as the original's bytes say."""

    def render(self, original: Path, folder: Path) -> FakeRendering:
        content = original.read_bytes()
        if content == CORRUPT:
            self.errors.append(CorruptOriginal("cut off"))
        elif content == CRASHING:
            self.errors.append(RenderCrashed("signal 11"))
        return super().render(original, folder)
