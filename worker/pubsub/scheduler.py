"""The executor of the streaming pull, with a shutdown that ends in bounded time.

At a shutdown, Google's client either forgets running callbacks or waits for them without limit, and
keeps queued messages leased until the last callback is done. This executor nacks queued and held
messages at once, gives running callbacks the drain budget, and then nacks the rest. The client's
dispatcher still sends all these nacks. See docs/decisions/0002.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from google.cloud.pubsub_v1.subscriber.message import Message
from google.cloud.pubsub_v1.subscriber.scheduler import ThreadScheduler

from worker.photo.delivery import Delivery
from worker.telemetry.logs import Log


class DrainingScheduler(ThreadScheduler):  # type: ignore[misc] # (the client has no types)
    """One thread for each message in flight; its shutdown is bounded. Thread-safe."""

    def __init__(
        self, threads: int, budget_seconds: float, on_drain: Callable[[], None], log: Log
    ) -> None:
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="delivery")
        super().__init__(executor=self._threads)
        self._log = log
        self._lock = threading.Lock()
        self._queued: dict[Future[None], Message] = {}
        self._late: list[Message] = []
        self._closed = False
        self._unsettled: dict[int, Delivery] = {}
        self._draining_since: float | None = None
        self._budget_seconds = budget_seconds
        self._on_drain = on_drain
        self.finished_in_time = True
        self.nack_held: Callable[[], None] = lambda: None

    def begin(self, delivery: Delivery) -> None:
        """Record that a delivery is being handled."""
        with self._lock:
            self._unsettled[id(delivery)] = delivery

    def end(self, delivery: Delivery) -> None:
        """Record that the delivery's handler is done."""
        with self._lock:
            self._unsettled.pop(id(delivery), None)

    def unsettled(self) -> list[Delivery]:
        """Return the deliveries that are being handled."""
        with self._lock:
            return list(self._unsettled.values())

    def nack_unsettled(self) -> None:
        """Nack deliveries that are still being handled; a handler's later answer is ignored."""
        for delivery in self.unsettled():
            if delivery.nack():
                self._log.warning("nacked at the end of the drain", message_id=delivery.message_id)

    def schedule(self, callback: Callable[..., None], *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Run the callback on its message, or nack the message during a drain; the client calls it.

        The nack waits until the stream is closed. If it were sent before, Pub/Sub would redeliver
        the message on the same stream until its delivery attempts are used up.
        """
        message: Message = args[0]
        with self._lock:
            if self._draining_since is None:
                future = self._threads.submit(callback, *args, **kwargs)
                self._queued[future] = message
                future.add_done_callback(self._forget)
                return
            if not self._closed:
                self._late.append(message)
                return
        message.nack()

    def _forget(self, future: Future[None]) -> None:
        self._queued.pop(future, None)

    def refuse_new(self) -> None:
        """Nack queued messages at once; messages that still arrive are nacked at the shutdown."""
        with self._lock:
            if self._draining_since is not None:
                return
            self._draining_since = time.monotonic()
            scheduled = dict(self._queued)
        queued = [message for future, message in scheduled.items() if future.cancel()]
        for message in queued:
            message.nack()
        self.nack_held()
        self._on_drain()
        self._log.info("stopped pulling", nacked_queued=len(queued))

    def shutdown(self, await_msg_callbacks: bool = False) -> list[Message]:  # noqa: ARG002, FBT001, FBT002
        """Settle every message; the client calls this once the stream is closed."""
        self.refuse_new()
        # Nack the held messages again: the client may have put more on hold since the first time.
        self.nack_held()
        with self._lock:
            self._closed = True
            late, self._late = self._late, []
        for message in late:
            message.nack()
        started = self._draining_since or time.monotonic()
        running = [future for future in dict(self._queued) if not future.cancelled()]
        left_seconds = max(0.0, self._budget_seconds - (time.monotonic() - started))
        unfinished = wait(running, timeout=left_seconds).not_done
        self.finished_in_time = not unfinished
        self.nack_unsettled()
        self._threads.shutdown(wait=False)
        self._log.info(
            "drained",
            finished=len(running) - len(unfinished),
            nacked_running=len(unfinished),
            seconds=round(time.monotonic() - started, 3),
        )
        return []
