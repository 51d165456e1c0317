"""The streaming pull: it hands each message to a thread of its own, and can pause and drain."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from google.api_core import exceptions as api
from google.cloud import pubsub_v1
from google.cloud.pubsub_v1.subscriber.message import Message

from worker.errors import Fatal, StreamLost, SubscriptionUnavailable
from worker.photo.delivery import Delivery
from worker.pubsub.scheduler import DrainingScheduler
from worker.telemetry.logs import Log

LEASE_SECONDS = 30
"""The length of one lease extension. After a crash, the next worker gets the message at the latest
when this time is over."""

EMULATOR_LEASE_SECONDS = 15
"""Google's emulator sends messages to dead streams. They return only when their lease ends, so the
lease is short. 10 s (the minimum) was too short: the client renews after up to 90 % of the lease,
sometimes too late."""

MAX_BYTES_IN_FLIGHT = 64 << 20
"""The limit keeps a flood of 10 MB messages out of memory; events have a few hundred bytes."""

_HALF_CLOSE_SECONDS = 0.5

_LOOK_SECONDS = 0.1

_CLOSE_SECONDS = 3.0
"""The time for the client to send its last acks and nacks after the drain."""


class Consumer:
    """One streaming pull at a time. `handle` runs in a thread of its own for each delivery.

    Only one thread may start, pause and drain; any thread may read `open` and `running`.

    Args:
        in_flight: messages handled at once.
        lease_seconds: the length of one lease extension.
        max_lease_seconds: how long the lease of a message is extended, counted from the moment
            when the client hands the message to the executor.
        drain_seconds: how long running work may go on when the stream ends.
        on_start: called before each stream opens.
        on_drain: called once when a stream ends for any reason, before the wait for running work.
    """

    def __init__(  # noqa: PLR0913 (a composition root names them all)
        self,
        client: pubsub_v1.SubscriberClient,
        subscription: str,
        *,
        in_flight: int,
        lease_seconds: int,
        max_lease_seconds: float,
        drain_seconds: float,
        handle: Callable[[Delivery], None],
        on_drain: Callable[[], None],
        log: Log,
        on_start: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._subscription = subscription
        self._in_flight = in_flight
        self._lease_seconds = lease_seconds
        self._max_lease_seconds = max_lease_seconds
        self._handle = handle
        self._log = log
        self._drain_seconds = drain_seconds
        self._on_start = on_start
        self._on_drain = on_drain
        self._scheduler = self._fresh_scheduler(in_flight)
        self._stream: Any = None
        self._paused = False

    def start(self, in_flight: int | None = None) -> None:
        """Open a stream, for `in_flight` messages or the usual number.

        The caller must pause the earlier stream first.
        """
        in_flight = in_flight or self._in_flight
        self._on_start()
        scheduler = self._fresh_scheduler(in_flight)
        stream = self._client.subscribe(
            self._subscription,
            # Each stream's callback keeps its own scheduler. A message may arrive before
            # `self._scheduler` is set, and old work from a paused stream must not be counted in the
            # next stream's scheduler.
            callback=partial(self._receive, scheduler),
            flow_control=pubsub_v1.types.FlowControl(
                max_messages=in_flight,
                max_bytes=MAX_BYTES_IN_FLIGHT,
                max_lease_duration=self._max_lease_seconds,
                min_duration_per_lease_extension=self._lease_seconds,
                max_duration_per_lease_extension=self._lease_seconds,
            ),
            scheduler=scheduler,
            # The scheduler waits instead, within its budget.
            await_callbacks_on_shutdown=False,
        )
        scheduler.nack_held = partial(_nack_held, stream)
        self._scheduler, self._stream, self._paused = scheduler, stream, False

    def pause(self) -> None:
        """Drain with the whole drain budget; `start` opens the next stream."""
        self.drain()
        self._stream, self._paused = None, True

    @property
    def running(self) -> int:
        """The number of deliveries being handled at this moment."""
        return len(self._scheduler.unsettled())

    @property
    def open(self) -> bool:
        """True while the stream is up (perhaps reconnecting) or paused; False once it has ended."""
        stream = self._stream
        return self._paused if stream is None else not stream.done()

    def raise_if_lost(self) -> None:
        """Raise if the stream has ended for good.

        Raises:
            SubscriptionUnavailable: the subscription is deleted or forbidden.
            StreamLost: the stream ended for another reason.
        """
        if self._stream is not None and self._stream.done():
            raise _why(self._stream.exception(timeout=0), self._subscription)

    def drain(self) -> bool:
        """Stop pulling and settle every held message; return True if all work finished in time.

        This takes the budget at most, and a few seconds more to send the last answers.
        """
        if self._stream is None:
            return True
        self._scheduler.refuse_new()
        self._half_close()
        self._stream.cancel()
        if self._closes():
            return self._scheduler.finished_in_time
        self._log.warning("the Pub/Sub client did not close in time")
        self._scheduler.nack_unsettled()
        return False

    def _closes(self) -> bool:
        """Wait until the client has closed; return False if this takes too long."""
        now = time.monotonic()
        give_up, idle_since = now + self._drain_seconds + _CLOSE_SECONDS, now
        while now < min(give_up, idle_since + _CLOSE_SECONDS):
            try:
                self._stream.result(timeout=_LOOK_SECONDS)
            except TimeoutError:
                now = time.monotonic()
                idle_since = now if self._scheduler.unsettled() else idle_since
            except Exception as error:  # noqa: BLE001 (the stream has ended, which is what counts)
                self._log.debug("the stream has ended", error=str(error))
                return True
            else:
                return True
        return False

    def _half_close(self) -> None:
        """End the stream from our side and let the server answer, before the client cuts it.

        Google's emulator keeps sending messages to a cut stream. A message that was just nacked can
        go there, and no worker gets it until its lease ends. The request queue is private to the
        client; if a release renames it, only the client's own cut happens.
        """
        rpc = getattr(_puller(self._stream), "_rpc", None)
        requests = getattr(rpc, "_request_queue", None)
        if rpc is None or requests is None:
            return
        ended = threading.Event()
        rpc.add_done_callback(lambda _: ended.set())
        requests.put(None)
        ended.wait(_HALF_CLOSE_SECONDS)

    def _fresh_scheduler(self, in_flight: int) -> DrainingScheduler:
        return DrainingScheduler(in_flight, self._drain_seconds, self._on_drain, self._log)

    def _receive(self, scheduler: DrainingScheduler, message: Message) -> None:
        """Call `handle` with one message. An exception that escaped would end the stream."""
        delivery = Delivery(
            message_id=message.message_id,
            data=message.data,
            attributes=dict(message.attributes),
            ordering_key=message.ordering_key or "",
            attempt=message.delivery_attempt,
            send_ack=message.ack,
            send_nack=message.nack,
        )
        scheduler.begin(delivery)
        try:
            self._handle(delivery)
        except BaseException as error:  # noqa: BLE001 (see above)
            delivery.nack()
            self._log.error("a handler let an exception escape", exc_info=error)
        finally:
            scheduler.end(delivery)


def _puller(stream: Any) -> Any:  # noqa: ANN401 (the client has no types)
    return getattr(stream, "_StreamingPullFuture__manager", None)


def _nack_held(stream: Any) -> None:  # noqa: ANN401
    """Nack the messages that the client holds back because of flow control.

    The list is private to the client; if a release renames it, the client itself nacks them after
    the running work.
    """
    held = getattr(_puller(stream), "_messages_on_hold", None)
    if held is None:
        return
    while (message := held.get()) is not None:
        message.nack()


def _why(error: BaseException | None, subscription: str) -> Fatal:
    if isinstance(error, api.NotFound):
        return SubscriptionUnavailable(
            f"subscription {subscription} does not exist (any more); create it or correct "
            "WORKER_SUBSCRIPTION"
        )
    if isinstance(error, api.PermissionDenied | api.Unauthenticated | api.Unauthorized):
        return SubscriptionUnavailable(
            f"subscription {subscription} is forbidden for this service account; grant it "
            f"roles/pubsub.subscriber ({error})"
        )
    return StreamLost(f"the streaming pull of {subscription} ended for good: {error}")
