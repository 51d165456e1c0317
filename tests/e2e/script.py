"""A seeded script: which events are published about which photos and originals, in what order.

What must become of them is read off the events alone, by the rules of docs/contract.md.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.support.pictures import noisy_jpeg
from tests.support.promises import Claim

NESTED = (
    "a",
    "a/b",
    "a/b/c",
    "a/17-3fd0c1a2b4e5",
    "a/17-3fd0c1a2b4e5/320.webp",
    "a/manifest.json",
    "a-b",
    "Hà Nội/phố 🏮 100%",
)
"""Ids below each other; some look like another photo's folder, rendition or manifest."""

PLAIN_PHOTOS = 29
LATE = 0.5
"""How far events stray from the order of their versions, as a share of the whole run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One event to publish. `reason`: why it must fail, if it is ever looked at in earnest."""

    photo_id: str
    version: int
    kind: Literal["register", "deregister", "invalid"]
    original: str = ""
    pinned: bool = False
    foreign: bool = False
    reason: str | None = None
    body: bytes = b""
    after: str | None = None
    """Published only after this state of its original was uploaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One state of an original; `key` names it, `name` is the object's."""

    key: str
    name: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """What happens at one go: originals change, then events are published."""

    uploads: tuple[Upload, ...]
    events: tuple[Said, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Everything that will be said about the photos."""

    bursts: tuple[Burst, ...]
    _by_photo: dict[str, list[Said]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for event in self.events():
            if event.kind != "invalid":
                self._by_photo.setdefault(event.photo_id, []).append(event)

    def events(self) -> Iterator[Said]:
        return itertools.chain.from_iterable(burst.events for burst in self.bursts)

    @property
    def photo_ids(self) -> list[str]:
        return sorted(self._by_photo)

    def claims(self, photo_id: str) -> list[Claim]:
        return [
            Claim(
                version=event.version,
                removes=event.kind == "deregister",
                sound=event.kind == "register" and event.reason is None,
                failing=event.reason is not None,
            )
            for event in self._by_photo[photo_id]
        ]

    def is_overdue(self, event: Said) -> bool:
        """Whether a dead letter is the only legal end of this event.

        One that must fail may instead be superseded, if its photo has moved on before.
        """
        if event.kind == "invalid":
            return True
        if event.reason is None:
            return False
        others = self._by_photo[event.photo_id]
        return not any(
            other.version > event.version
            or (other.version == event.version and other.reason is None)
            for other in others
        )

    def assert_is_of_its_events(self, manifest: Mapping[str, Any]) -> None:
        """The manifest speaks of the original, or of the failure, of exactly its own version."""
        photo_id, version = manifest["photo_id"], manifest["version"]
        events = [e for e in self._by_photo[photo_id] if e.kind == "register"]
        if manifest["state"] == "ready":
            event = next(e for e in events if e.version == version and e.reason is None)
            states = [
                upload.data
                for burst in self.bursts
                for upload in burst.uploads
                if upload.name == event.original and event.after in (None, upload.key)
            ]
            stated = manifest["original"]
            assert stated["object"] == event.original, manifest
            assert stated["sha256"] in {hashlib.sha256(data).hexdigest() for data in states}
            assert manifest["labels"] == {"version": str(version)}, manifest
            assert manifest["renditions"], manifest
        else:
            assert manifest["renditions"] == [], manifest
        if rejection := manifest["rejection"]:
            event = next(e for e in events if e.version == rejection["version"])
            assert rejection["reason"] == event.reason, manifest


def write_script(seed: int, *, events: int, bursts: int) -> Script:
    """At least this many events over 40 photos; equal seeds write equal scripts."""
    rng = random.Random(seed)  # noqa: S311 (not for security; a failing run must fail again)
    pictures = _Pictures(rng)
    said = [*_odd_photos(pictures), *_invalid_events(rng)]
    plain = [*NESTED, *(f"album-{n % 5}/IMG_{n:04}" for n in range(PLAIN_PHOTOS - len(NESTED)))]
    share = -(-(events - len(said)) // len(plain))
    for photo_id in plain:
        said += _plain_photo(photo_id, share, rng, pictures)
    # Mostly in the order of their versions, so that there is work to the end, but not strictly.
    ranks: defaultdict[str, list[int]] = defaultdict(list)
    for event in said:
        ranks[event.photo_id].append(event.version)
    for versions in ranks.values():
        versions.sort()

    def moment(event: Said) -> float:
        versions = ranks[event.photo_id]
        due = versions.index(event.version) / len(versions)
        return due + rng.uniform(-LATE, LATE)

    said.sort(key=moment)
    return _cut(said, pictures.uploads, bursts)


class _Pictures:
    """Originals of three sizes, each with bytes of its own."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.uploads: list[Upload] = []
        # The large one renders for about a second, so that kills hit renders; the others are over
        # in a moment, so that kills hit everything else.
        self._sizes = [noisy_jpeg(*size) for size in ((240, 180), (640, 480), (1600, 1200))]

    def add(self, name: str, *, key: str = "", spoil: str | None = None) -> str:
        """Plan the upload of an original; its object's name. `spoil`: why it must be refused."""
        (jpeg,) = self._rng.choices(self._sizes, weights=(5, 4, 2))
        comment = f"{name} {key}".encode()
        # A comment right after the start of the image: another checksum, the same pixels.
        data = jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]
        if spoil == "corrupt_original":
            data = data[: len(data) // 2]
        elif spoil == "unsupported_format":
            data = b"no picture: " + comment
        self.uploads.append(Upload(key=key or name, name=name, data=data))
        return name


def _plain_photo(
    photo_id: str, count: int, rng: random.Random, pictures: _Pictures
) -> Iterator[Said]:
    """Registers of several versions, some of them repeated, and deregisters here and there."""
    versions = rng.sample(range(1, 40), max(2, count // 2))
    if photo_id == "a" and 17 not in versions:
        versions[0] = 17  # its own folder begins just like the id of the photo below it
    pinned = rng.random() < 0.3
    registers = [
        Said(
            photo_id=photo_id,
            version=version,
            kind="register",
            original=pictures.add(f"{photo_id}@{version}.jpg"),
            pinned=pinned,
        )
        for version in versions
    ]
    yield from registers
    for _ in range(count - len(registers)):
        if rng.random() < 0.6:
            yield rng.choice(registers)
        else:
            version = rng.choice([*versions, rng.randrange(1, 45)])
            yield Said(photo_id=photo_id, version=version, kind="deregister")


def _odd_photos(pictures: _Pictures) -> Iterator[Said]:
    """Photos with originals that fail or change; apart from the rest, so that ends stay sharp."""

    def good(photo_id: str, version: int) -> Said:
        name = pictures.add(f"{photo_id}@{version}.jpg")
        return Said(photo_id=photo_id, version=version, kind="register", original=name)

    def bad(photo_id: str, version: int, reason: str = "corrupt_original") -> Said:
        name = f"{photo_id}@{version}.jpg"
        if reason not in ("original_missing", "forbidden_source"):
            pictures.add(name, spoil=reason)
        return Said(
            photo_id=photo_id,
            version=version,
            kind="register",
            original=name,
            reason=reason,
            foreign=reason == "forbidden_source",
        )

    def gone(photo_id: str, version: int) -> Said:
        return Said(photo_id=photo_id, version=version, kind="deregister")

    yield from [bad("odd/broken", 2), *[bad("odd/broken", 3)] * 2]
    yield bad("odd/text", 5, "unsupported_format")
    yield bad("odd/missing", 1, "original_missing")
    yield bad("odd/foreign", 1, "forbidden_source")
    yield from [good("odd/worse", 1), good("odd/worse", 2), bad("odd/worse", 4)]
    yield from [good("odd/worst", 3), *[bad("odd/worst", 7, "unsupported_format")] * 2]
    yield from [bad("odd/mended", 1), good("odd/mended", 2)]
    yield from [good("odd/withdrawn", 1), gone("odd/withdrawn", 1), bad("odd/withdrawn", 2)]
    yield from [bad("odd/removed", 1), gone("odd/removed", 1)]
    for photo_id, pinned in (("odd/overwritten", False), ("odd/overwritten-pinned", True)):
        for version in (1, 2):
            key = f"{photo_id}#{version}"
            yield Said(
                photo_id=photo_id,
                version=version,
                kind="register",
                original=pictures.add(f"{photo_id}.jpg", key=key),
                pinned=pinned,
                # A generation that was overwritten is gone.
                reason="original_missing" if pinned and version == 1 else None,
                after=key,
            )


def _invalid_events(rng: random.Random) -> Iterator[Said]:
    for n, body in enumerate(
        (
            b"this is no JSON %d" % rng.randrange(1000),
            b'{"type": "photo.resize", "photo_id": "a", "version": 99}',
            b'{"type": "photo.deregister", "photo_id": "a//b", "version": 99}',
            b'{"type": "photo.deregister", "photo_id": "a", "version": 0}',
        )
    ):
        yield Said(
            photo_id=f"invalid-{n}",
            version=n + 1,
            kind="invalid",
            reason="invalid_event",
            body=body,
        )


def _cut(said: list[Said], uploads: list[Upload], bursts: int) -> Script:
    """Into bursts; each original is uploaded before the first event about it.

    An original that changes does so in the middle: its first state's event comes in the first
    burst, its second one's in a burst after that.
    """
    size = -(-len(said) // bursts)
    parts = [said[n : n + size] for n in range(0, len(said), size)]
    middle = len(parts) // 2
    for event in [each for each in said if each.after]:
        next(part for part in parts if event in part).remove(event)
        parts[0 if event.version == 1 else middle].append(event)
    changed = [upload for upload in uploads if upload.key.endswith("#2")]
    cut = [
        Burst(
            uploads=tuple(
                upload
                for upload in uploads
                if (n == 0 and upload not in changed) or (n == middle and upload in changed)
            ),
            events=tuple(part),
        )
        for n, part in enumerate(parts)
    ]
    return Script(bursts=tuple(cut))
