"""This module watches each photo of a local session, by its outcome or its dead letter."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from google.api_core import exceptions as api
from google.pubsub_v1 import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import PubsubMessage

from worker.lab.local.resources import Names
from worker.pubsub.channels import emulator_channel

_PULL_SECONDS = 1.0
"""The duration of one long poll; the end of a session may wait as long for it."""

Status = Literal["waiting", "ready", "rejected", "deregistered"]
_STATUS: dict[str, Status] = {
    "photo.ready": "ready",
    "photo.rejected": "rejected",
    "photo.deregistered": "deregistered",
}


@dataclass(slots=True)
class WatchedPhoto:
    """One photo; `seconds` run from its registration to its outcome."""

    photo_id: str
    bytes_in: int
    registered_at: float
    status: Status = "waiting"
    version: int = 0
    seconds: float | None = None
    reason: str | None = None
    message: str | None = None
    manifest: dict[str, Any] | None = None

    @property
    def bytes_out(self) -> int | None:
        """Return the bytes of all renditions; `None` before they exist."""
        if self.manifest is None:
            return None
        return sum(int(rendition["bytes"]) for rendition in self.manifest["renditions"])

    def as_json(self) -> dict[str, Any]:
        """Return the photo as the gallery page and `--json` show it."""
        original = (self.manifest or {}).get("original") or {}
        return {
            "photo_id": self.photo_id,
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "width": original.get("width"),
            "height": original.get("height"),
            "rungs": [each["rung"] for each in (self.manifest or {}).get("renditions", ())],
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "seconds": round(self.seconds, 3) if self.seconds is not None else None,
            "manifest": self.manifest,
        }


class PhotoCounts(NamedTuple):
    """Photos: all, those with an outcome, and the rejected among them."""

    all: int
    ended: int
    rejected: int


class Watch:
    """The session's photos; thread-safe."""

    def __init__(self, broker_address: str, names: Names) -> None:
        self._address = broker_address
        self._subscriptions = {
            names.subscription("photos-outcomes-watch"): self._on_outcome,
            names.subscription("photos-dead-letters-watch"): self._on_dead_letter,
        }
        self._photos: dict[str, WatchedPhoto] = {}
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Follow outcomes and dead letters from now on."""
        for subscription in self._subscriptions:
            thread = threading.Thread(target=self._follow, args=(subscription,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Stop following; the photos stay readable."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=_PULL_SECONDS + 1)

    def expect(self, photo_id: str, bytes_in: int) -> None:
        """Add a photo; call it before the publish, so that the photo is known at its outcome."""
        with self._changed:
            self._photos[photo_id] = WatchedPhoto(photo_id, bytes_in, time.monotonic())
            self._changed.notify_all()

    def reject(self, photo_id: str, reason: str, message: str) -> None:
        """End a photo whose event was not published."""
        with self._changed:
            photo = self._photo(photo_id)
            photo.status, photo.reason, photo.message = "rejected", reason, message
            self._end(photo)

    def photos(self) -> list[dict[str, Any]]:
        """Return every photo in the order of registration, as JSON objects."""
        with self._changed:
            return [photo.as_json() for photo in self._photos.values()]

    def counts(self) -> PhotoCounts:
        """Count the photos that have ended so far."""
        with self._changed:
            states = [photo.status for photo in self._photos.values()]
        return PhotoCounts(
            len(states), len(states) - states.count("waiting"), states.count("rejected")
        )

    def wait_for_change(self, timeout_seconds: float) -> None:
        """Return when something may have changed, or after the timeout."""
        with self._changed:
            self._changed.wait(timeout_seconds)

    def _follow(self, subscription: str) -> None:
        with emulator_channel(self._address) as channel:
            client = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
            while not self._stopped.is_set():
                try:
                    pulled = client.pull(
                        subscription=subscription,
                        max_messages=100,
                        timeout=_PULL_SECONDS,
                        retry=None,
                    )
                except api.DeadlineExceeded:
                    continue
                except (api.GoogleAPICallError, api.RetryError):
                    self._stopped.wait(0.2)
                    continue
                for received in pulled.received_messages:
                    self._subscriptions[subscription](received.message)
                if ack_ids := [received.ack_id for received in pulled.received_messages]:
                    with contextlib.suppress(api.GoogleAPICallError):
                        client.acknowledge(subscription=subscription, ack_ids=ack_ids)

    def _on_outcome(self, message: PubsubMessage) -> None:
        outcome = _json(message.data)
        kind = _STATUS.get(outcome.get("type", ""))
        if kind is None:
            return
        with self._changed:
            photo = self._photo(str(outcome["photo_id"]))
            if outcome["version"] < photo.version:
                return
            photo.version = outcome["version"]
            photo.manifest = outcome["manifest"]
            # A ready photo stays ready when a newer version of it was refused.
            photo.status = _STATUS.get(f"photo.{outcome['state']}", kind)
            photo.reason, photo.message = outcome["reason"], outcome["message"]
            photo.bytes_in = ((photo.manifest or {}).get("original") or {}).get(
                "bytes", photo.bytes_in
            )
            self._end(photo)

    def _on_dead_letter(self, message: PubsubMessage) -> None:
        event = _json(message.data)
        with self._changed:
            photo = self._photos.get(str(event.get("photo_id")))
            if photo is None or photo.status != "waiting":
                return
            attributes: Mapping[str, str] = message.attributes
            photo.status = "rejected"
            photo.reason = attributes.get("dead_letter_reason", "delivery_attempts_exhausted")
            photo.message = attributes.get("dead_letter_message", "see the worker's log")
            self._end(photo)

    def _photo(self, photo_id: str) -> WatchedPhoto:
        return self._photos.setdefault(photo_id, WatchedPhoto(photo_id, 0, time.monotonic()))

    def _end(self, photo: WatchedPhoto) -> None:
        photo.seconds = time.monotonic() - photo.registered_at
        self._changed.notify_all()


def _json(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
