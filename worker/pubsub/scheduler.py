"""The executor of the streaming pull, with a shutdown that ends in bounded time.

At a shutdown, Google's client either forgets running callbacks or waits for them without limit, and
keeps queued messages leased until the last one is done. Here queued and held messages are nacked at
once, running ones get the drain budget, and then the rest is nacked. The client's dispatcher still
sends all of that. See docs/decisions/0002.
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
        """Note that a delivery is being handled."""
        with self._lock:
            self._unsettled[id(delivery)] = delivery

    def end(self, delivery: Delivery) -> None:
        """Note that its handler is done."""
        with self._lock:
            self._unsettled.pop(id(delivery), None)

    def unsettled(self) -> list[Delivery]:
        """The deliveries that are being handled."""
        with self._lock:
            return list(self._unsettled.values())

    def nack_unsettled(self) -> None:
        """Nack what is still being handled; a later answer of its handler does not count."""
        for delivery in self.unsettled():
            if delivery.nack():
                self._log.warning("nacked at the end of the drain", message_id=delivery.message_id)

    def schedule(self, callback: Callable[..., None], *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Run the callback on its message; called by the client. While draining, nack it.

        The nack waits until the stream is closed. Sooner, the message would come straight back on
        it, again and again, until its delivery attempts are used up.
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
        """Nack at once what has not begun; what still arrives is nacked at the shutdown."""
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
        """Settle everything; called by the client once the stream is closed."""
        self.refuse_new()
        # Again: the client may have put messages on hold since the first look.
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
