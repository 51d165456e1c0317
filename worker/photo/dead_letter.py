"""Dead letters: their fields, filters, groups, and the attributes of a replay. Pure.

The worker dead-letters a message for a permanent failure, with a reason. Pub/Sub dead-letters a
message when its delivery attempts are used up by crashes, time-outs or transient failures.
"""

from __future__ import annotations

import base64
import fnmatch
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from worker.errors import InvalidArchive, Reason
from worker.photo.attributes import folded, unfolded
from worker.photo.events import NOTIFIED

UNDELIVERABLE = "undeliverable"
"""The reason if Pub/Sub dead-lettered the message; the worker's logs say why."""

REPLAY_OF = "replay_of"
REPLAY_COUNT = "replay_count"
REPLAY_TRACE = "replay_traceparent"
"""The trace of the dead letter. Its replay, perhaps weeks later, begins another trace."""

MESSAGE_ID = "dead_letter_message_id"

_BY_PUBSUB = "CloudPubSubDeadLetter"
_BY_WORKER = "dead_letter_"
_TRACE = ("googclient_traceparent", "traceparent")
_TRANSPORT = (_BY_PUBSUB, _BY_WORKER, "googclient_", "traceparent", "tracestate")
"""Prefixes of attributes about a message's transport; a replay leaves them out."""

EXAMPLES = 3
GROUPS = 1000
"""The most groups; error texts that all differ must not fill the memory."""

OTHERS = "(others)"

_TEXT_MAX = 800
"""How many characters of a field's value are read; a valid value is not longer."""

_COUNT_DIGITS = 9

_VARIABLE = re.compile(r"gs://\S+|'[^']*'|\"[^\"]*\"|\b[0-9a-f]{12,}\b|\d+")


@dataclass(frozen=True, kw_only=True)  # without slots, because `event` is cached
class DeadLetter:
    """One message of the dead-letter subscription.

    `published_at` is the time of the dead-lettering, by Pub/Sub's clock.
    """

    message_id: str
    published_at: datetime
    data: bytes
    attributes: Mapping[str, str]
    ordering_key: str = ""

    @property
    def reason(self) -> str:
        """The worker's reason, or `undeliverable`."""
        return self.attributes.get("dead_letter_reason", UNDELIVERABLE)

    @property
    def message(self) -> str:
        """The error in words."""
        if "dead_letter_message" in self.attributes:
            return self.attributes["dead_letter_message"]
        count = self.attributes.get(f"{_BY_PUBSUB}SourceDeliveryCount")
        source = self.attributes.get(f"{_BY_PUBSUB}SourceSubscription")
        if count is None and source is None:
            return "sent to the dead-letter topic by neither the worker nor a dead-letter policy"
        return f"Pub/Sub gave up after {count or 'all'} deliveries of subscription {source}"

    @property
    def worker(self) -> str:
        """The worker's name, version, host and process, or `Pub/Sub`."""
        return self.attributes.get("dead_letter_worker", "Pub/Sub")

    @property
    def version_of_worker(self) -> str:
        """The worker's name and version, without host and process."""
        return self.worker.partition(" ")[0] if self.worker != "Pub/Sub" else self.worker

    @property
    def event_message_id(self) -> str | None:
        """The id of the message that the worker gave up; its letters all have the same."""
        return self.attributes.get(MESSAGE_ID)

    @property
    def replays(self) -> int:
        """How many times this message has been replayed before."""
        count = self.attributes.get(REPLAY_COUNT, "0")
        return int(count[:_COUNT_DIGITS]) if count.isascii() and count.isdigit() else 0

    @cached_property
    def event(self) -> dict[str, Any]:
        """The event's readable fields; a notification is converted to an event's fields."""
        if "eventType" in self.attributes and "objectId" in self.attributes:
            return _of_notification(self.attributes)
        try:
            # NaN and Infinity become texts, because JSON that is made of the fields must not have
            # them.
            fields = json.loads(self.data, parse_constant=str)
        except (ValueError, RecursionError):
            return {}
        return fields if isinstance(fields, dict) else {}

    @property
    def type(self) -> str:
        """The event's type, or `?`."""
        return self._text("type", "?")

    @property
    def photo_id(self) -> str:
        """The photo's id, or an empty text."""
        return self._text("photo_id", "")

    def _text(self, name: str, absent: str) -> str:
        value = self.event.get(name, absent)
        return value[:_TEXT_MAX] if isinstance(value, str) else f"({type(value).__name__})"

    def as_dict(self) -> dict[str, object]:
        """Return all facts, ready for JSON, for `show --json` and for a line of an archive."""
        return {
            "message_id": self.message_id,
            "published_at": self.published_at.isoformat(),
            "reason": self.reason,
            "message": self.message,
            "worker": self.worker,
            "event": self.event,
            "attributes": dict(self.attributes),
            "ordering_key": self.ordering_key,
            "data_base64": base64.b64encode(self.data).decode(),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> DeadLetter:
        """Return the dead letter of a dict that `as_dict` has made.

        Raises:
            InvalidArchive: the fields are not those of a dead letter.
        """
        try:
            return cls(
                message_id=str(fields["message_id"]),
                published_at=_aware(datetime.fromisoformat(fields["published_at"])),
                data=base64.b64decode(fields["data_base64"], validate=True),
                attributes={str(key): str(value) for key, value in fields["attributes"].items()},
                ordering_key=str(fields["ordering_key"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidArchive(f"no dead letter: {error!r}") from error


def replay_attributes(letter: DeadLetter) -> dict[str, str]:
    """The attributes of its replay: its own without the transport's, and where it comes from."""
    attributes = unfolded(letter.attributes)
    own = {name: value for name, value in attributes.items() if not name.startswith(_TRANSPORT)}
    added = {REPLAY_OF: letter.message_id, REPLAY_COUNT: str(letter.replays + 1)}
    if REPLAY_TRACE in own:
        added[REPLAY_TRACE] = own[REPLAY_TRACE]
    for name in _TRACE:
        if name in attributes:
            added[REPLAY_TRACE] = attributes[name]
    return folded(own, added)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A choice of dead letters; every given condition must hold."""

    ids: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    photo_id: str | None = None
    """A glob, in which `*` also matches slashes."""

    labels: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    """Part of the error message; case is ignored."""

    older_than: timedelta | None = None
    newer_than: timedelta | None = None

    def matches(self, letter: DeadLetter, now: datetime) -> bool:
        """Return True if a dead letter meets all conditions."""
        age = now - letter.published_at
        labels = letter.event.get("labels")
        own_labels = labels if isinstance(labels, dict) else {}
        return (
            (not self.ids or letter.message_id in self.ids)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.types or letter.type in self.types)
            and (self.photo_id is None or fnmatch.fnmatchcase(letter.photo_id, self.photo_id))
            and (self.text is None or self.text.casefold() in letter.message.casefold())
            and (self.older_than is None or age >= self.older_than)
            and (self.newer_than is None or age <= self.newer_than)
            and all(own_labels.get(key) == value for key, value in self.labels.items())
        )


_REASONS = frozenset({*Reason, UNDELIVERABLE})


@dataclass(slots=True, kw_only=True)
class LetterGroup:
    """Dead letters that look alike."""

    reason: str
    type: str
    worker: str
    error: str
    """The message without names and numbers."""

    count: int = 0
    replayed: int = 0
    """How many of them have been replayed before."""

    oldest: datetime | None = None
    newest: datetime | None = None
    examples: list[dict[str, str]] = field(default_factory=list)

    def add(self, letter: DeadLetter) -> None:
        """Count one more letter."""
        self.count += 1
        self.replayed += letter.replays > 0
        moment = letter.published_at
        self.oldest = min(self.oldest or moment, moment)
        self.newest = max(self.newest or moment, moment)
        if len(self.examples) < EXAMPLES:
            self.examples.append(
                {
                    "message_id": letter.message_id,
                    "photo_id": letter.photo_id,
                    "message": letter.message,
                }
            )

    def as_dict(self) -> dict[str, object]:
        """Return the group, ready for JSON."""
        oldest, newest = (each and each.isoformat() for each in (self.oldest, self.newest))
        return asdict(self) | {"oldest": oldest, "newest": newest}


class Firsts:
    """Tells the first letter of a message from others of the same, among the last `most` messages.

    A message has several letters if its ack was lost: it is dead-lettered again.
    """

    def __init__(self, most: int = 50_000) -> None:
        self._most = most
        self._known: dict[str, None] = {}

    def __call__(self, letter: DeadLetter) -> bool:
        """Whether no letter of its message came before."""
        message_id = letter.event_message_id
        if message_id is None:
            return True
        if message_id in self._known:
            return False
        self._known[message_id] = None
        if len(self._known) > self._most:
            del self._known[next(iter(self._known))]
        return True


class Groups:
    """Counts of dead letters by what they have in common; those of one message count once."""

    def __init__(self) -> None:
        self.total = 0
        self._is_first = Firsts()
        self._groups: dict[tuple[str, str, str, str], LetterGroup] = {}

    def add(self, letter: DeadLetter) -> None:
        """Count one more; beyond `GROUPS` different errors, those of one reason share a group."""
        if not self._is_first(letter):
            return
        self.total += 1
        key = (letter.reason, letter.type, letter.version_of_worker, pattern(letter.message))
        if key not in self._groups and len(self._groups) >= GROUPS:
            reason = letter.reason if letter.reason in _REASONS else OTHERS
            key = (reason, OTHERS, OTHERS, OTHERS)
        if key not in self._groups:
            reason, kind, worker, error = key
            self._groups[key] = LetterGroup(reason=reason, type=kind, worker=worker, error=error)
        self._groups[key].add(letter)

    def largest_first(self) -> list[LetterGroup]:
        """Return all groups, the largest first."""
        return sorted(self._groups.values(), key=lambda group: -group.count)


def pattern(message: str) -> str:
    """Return an error message without the parts that differ between photos."""
    return _VARIABLE.sub("…", message)


def counted(count: int) -> str:
    """Return a number of dead letters in words."""
    return f"{count:,} dead letter{'' if count == 1 else 's'}"


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment


def _of_notification(attributes: Mapping[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "type": NOTIFIED.get(attributes["eventType"], attributes["eventType"]),
        "photo_id": attributes["objectId"],
        "original": f"gs://{attributes.get('bucketId', '')}/{attributes['objectId']}",
    }
    generation = attributes.get("objectGeneration", "")
    if generation.isascii() and generation.isdigit():
        fields["version"] = int(generation)
    return fields
