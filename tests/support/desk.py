"""A dispatcher over the fakes, and deliveries whose answers go to one journal with the rest."""

from __future__ import annotations

import json
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.fakes import FakePublisher, MemoryStore, Message, recording_log
from tests.support.workers import DEAD_LETTER, OUTCOME, FakeWorker, dispatcher_of, make_worker
from worker.errors import Fatal
from worker.handlers.brake import Brake
from worker.photo.delivery import Delivery

__all__ = ["DEAD_LETTER", "OUTCOME", "Desk", "deregister_data", "register_data"]


class Desk:
    """One dispatcher. `journal` holds writes, publishes and answers in the order they happened."""

    def __init__(
        self,
        scratch: Path,
        *,
        outcome: bool = True,
        dead_letter: bool = True,
        brake: Brake | None = None,
    ) -> None:
        self.worker: FakeWorker = make_worker(scratch)
        self.store: MemoryStore = self.worker.store
        self.publisher = FakePublisher()
        self.publisher.after = self._published
        self.journal: list[str] = []
        self.pauses: list[float] = []
        self.during_pause: Callable[[], object] = lambda: None
        self.fatal_errors: queue.SimpleQueue[Fatal] = queue.SimpleQueue()
        self.log, self.entries = recording_log()
        self.dispatcher = dispatcher_of(
            self.worker,
            self.publisher,
            self.log,
            outcome=OUTCOME if outcome else None,
            dead_letter=DEAD_LETTER if dead_letter else None,
            fatal_errors=self.fatal_errors,
            wait_before_nack=self._pause,
            brake=brake or Brake.disengaged(),
        )

    def delivery(
        self,
        data: bytes | dict[str, Any],
        *,
        attempt: int | None = 1,
        attributes: dict[str, str] | None = None,
        ordering_key: str = "",
        message_id: str = "m-1",
    ) -> Delivery:
        return Delivery(
            message_id=message_id,
            data=data if isinstance(data, bytes) else json.dumps(data).encode(),
            attributes=attributes or {},
            ordering_key=ordering_key,
            attempt=attempt,
            send_ack=lambda: self.journal.append("ack"),
            send_nack=lambda: self.journal.append("nack"),
        )

    def handle(self, data: bytes | dict[str, Any], **transport: Any) -> str:
        """Dispatch a delivery: `ack` or `nack`, whichever was sent, and it alone."""
        before = len(self.journal)
        self.dispatcher(self.delivery(data, **transport))
        answers = [one for one in self.journal[before:] if one in ("ack", "nack")]
        assert len(answers) == 1, self.journal
        assert self.journal[-1] == answers[0], "the answer comes last"
        return answers[0]

    @property
    def last_entry(self) -> dict[str, object]:
        return self.entries[-1]

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.during_pause()

    def _published(self, message: Message) -> None:
        self.journal.append(f"published to {message.topic.rpartition('/')[2]}")


def register_data(version: int = 17, photo_id: str = "a") -> dict[str, Any]:
    return {
        "type": "photo.register",
        "photo_id": photo_id,
        "version": version,
        "original": f"gs://originals/{photo_id}.jpg",
    }


def deregister_data(version: int = 18, photo_id: str = "a") -> dict[str, Any]:
    return {"type": "photo.deregister", "photo_id": photo_id, "version": version}
