"""Letterbox: a subscription's messages held, and then acked or given back. Unary pull, no stream.

What is held is leased to this process, and its lease is extended for as long as it is held. Killed,
this process loses nothing: the leases run out, and whatever was not acked is there again.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from google.api_core import exceptions as api
from google.api_core.retry import Retry, if_exception_type
from google.auth.exceptions import GoogleAuthError
from google.cloud import pubsub_v1

from worker.errors import ConfigurationError, PubSubUnavailable, SubscriptionUnavailable
from worker.operate.dead_letters.ledger import CHUNK, Ledger
from worker.photo.dead_letter import REPLAY_OF, DeadLetter
from worker.telemetry.logs import Log

T = TypeVar("T")

LEASE_SECONDS = 60
"""How long a killed process keeps from others what it held."""

QUIET_SECONDS = 4.0
"""Nothing for so long: that was all. A pull may come back empty though there is more."""

_PAGE = 1000
"""Messages asked for in one pull, Pub/Sub's largest."""

_FIRST_PAGE = 100
_PAGE_BYTES = 16 << 20
"""Where messages are large, fewer are asked for. Until one has come, nobody knows."""

_SHORTEST_PULL_SECONDS = 1.0
_CALL_SECONDS = 20.0


class Letterbox:
    """One subscription, read by one thread; a context manager that gives back what is still held.

    Whatever was pulled is held until it is acked, or until the end.
    """

    def __init__(  # noqa: PLR0913
        self,
        client: pubsub_v1.SubscriberClient,
        subscription: str,
        log: Log,
        *,
        lease_seconds: int = LEASE_SECONDS,
        quiet_seconds: float = QUIET_SECONDS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Pull nothing yet."""
        self._client = client
        self._subscription = subscription
        self._log = log
        self._lease_seconds = lease_seconds
        self._quiet_seconds = quiet_seconds
        self._clock = clock
        self._monotonic = monotonic
        self._page_messages = _FIRST_PAGE
        self._repeated = 0
        self._closed = threading.Event()
        self._extender = threading.Thread(target=self._extend, name="leases", daemon=True)
        self.arrived = 0
        """Letters that came while this was read; they are held with the others, and not shown."""
        self.retention: timedelta | None = None
        """How long the subscription keeps a message, if it may be looked at."""

    def __enter__(self) -> Self:
        """Look at the subscription, and extend leases from now on.

        Raises:
            SubscriptionUnavailable: missing or forbidden.
            ConfigurationError: it has a dead-letter policy, so that looking would use letters up.
            PubSubUnavailable: nobody answers.
        """
        self._ledger = Ledger()
        try:
            self._look()
        except BaseException:
            self._ledger.close()
            raise
        self._extender.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give back what is held."""
        self._closed.set()
        self._extender.join()
        try:
            for ack_ids in self._ledger.held():
                self._set_deadline(ack_ids, 0)
        except (SubscriptionUnavailable, PubSubUnavailable) as fault:
            # Their leases run out by themselves.
            self._log.warning("could not give back what was held", error=str(fault))
        self._ledger.close()

    def pages(self) -> Iterator[list[DeadLetter]]:
        """What was there when this began, each letter once, page by page.

        It ends when nothing of that has come for a while. What arrives meanwhile is for the next
        run: one that also took its own failures could go on for ever.

        Raises:
            SubscriptionUnavailable: missing or forbidden.
            PubSubUnavailable: nobody answers.
        """
        began, quiet_since = self._clock(), self._monotonic()
        while (left := quiet_since + self._quiet_seconds - self._monotonic()) > 0:
            fresh = self._hold(self._pull(max(left, _SHORTEST_PULL_SECONDS)))
            came_back = self._ledger.taken([each.attributes.get(REPLAY_OF, "") for each in fresh])
            page = [
                each
                for each in fresh
                if each.published_at <= began and each.attributes.get(REPLAY_OF) not in came_back
            ]
            self.arrived += len(fresh) - len(page)
            if page:
                yield page
                quiet_since = self._monotonic()
        # A network that swallows everything is as quiet as an empty subscription.
        self._look()
        if self._repeated:
            # They may have stood in the way of others, which are there all the same.
            self._log.warning(
                "letters came again while they were held; another run may find more",
                letters=self._repeated,
            )

    def ack(self, letters: Iterable[DeadLetter]) -> None:
        """Take these off the subscription, for good; however many.

        Raises:
            SubscriptionUnavailable, PubSubUnavailable: some may still be there.
        """
        left = iter(letters)
        while some := [each.message_id for each in itertools.islice(left, CHUNK)]:
            self._acknowledge(some)
            self._ledger.take(some)

    def _pull(self, seconds: float) -> list[Any]:
        try:
            answer = self._call(
                lambda: self._client.pull(
                    subscription=self._subscription,
                    max_messages=self._page_messages,
                    timeout=seconds,
                    retry=_RETRY,
                )
            )
        except _NoAnswer:
            return []
        pulled = list(answer.received_messages)
        if size := sum(len(each.message.data) for each in pulled):
            self._page_messages = max(1, min(_PAGE, _PAGE_BYTES * len(pulled) // size))
        return pulled

    def _hold(self, pulled: Sequence[Any]) -> list[DeadLetter]:
        """Lease them for longer; those that this run has not had before."""
        if not pulled:
            return []
        entered = self._ledger.enter([(each.message.message_id, each.ack_id) for each in pulled])
        self._set_deadline([each.ack_id for each in pulled], self._lease_seconds)
        self._repeated += len(pulled) - len(entered.fresh) - len(entered.taken)
        if entered.taken:
            # Acked when its lease had run out already, so that the ack did not count.
            self._acknowledge(entered.taken)
        # By its id: within one page, too, a message may come twice.
        fresh = {
            each.message.message_id: each.message
            for each in pulled
            if each.message.message_id in entered.fresh
        }
        return [
            DeadLetter(
                message_id=message.message_id,
                published_at=message.publish_time,
                data=message.data,
                attributes=dict(message.attributes),
                ordering_key=message.ordering_key,
            )
            for message in fresh.values()
        ]

    def _extend(self) -> None:
        while not self._closed.wait(self._lease_seconds / 3):
            try:
                for ack_ids in self._ledger.held():
                    self._set_deadline(ack_ids, self._lease_seconds)
            except (SubscriptionUnavailable, PubSubUnavailable) as error:
                self._log.warning("leases were not extended", error=str(error))

    def _look(self) -> None:
        found = self._call(self._subscription_settings)
        if found is None:
            return
        self.retention = found.message_retention_duration
        if found.dead_letter_policy.dead_letter_topic:
            problem = (
                f"WORKER_DEAD_LETTER_SUBSCRIPTION={self._subscription!r}: has a dead-letter policy "
                "of its own, so that looking at its messages would move them on; remove it: "
                "gcloud pubsub subscriptions update NAME --clear-dead-letter-policy"
            )
            raise ConfigurationError([problem])

    def _subscription_settings(self) -> Any:  # noqa: ANN401 (the client has no types)
        try:
            return self._client.get_subscription(
                subscription=self._subscription, timeout=_CALL_SECONDS, retry=_RETRY
            )
        except api.PermissionDenied:
            return None  # Who may pull is not always allowed to look.

    def _acknowledge(self, message_ids: Iterable[str]) -> None:
        self._call(
            lambda: self._client.acknowledge(
                subscription=self._subscription,
                ack_ids=self._ledger.ack_ids(list(message_ids)),
                timeout=_CALL_SECONDS,
                retry=_RETRY,
            )
        )

    def _set_deadline(self, ack_ids: list[str], seconds: int) -> None:
        self._call(
            lambda: self._client.modify_ack_deadline(
                subscription=self._subscription,
                ack_ids=ack_ids,
                ack_deadline_seconds=seconds,
                timeout=_CALL_SECONDS,
                retry=_RETRY,
            )
        )

    def _call(self, request: Callable[[], T]) -> T:
        try:
            return request()
        except api.DeadlineExceeded as error:
            raise _NoAnswer(f"{self._subscription}: {error}") from error
        except (api.NotFound, api.PermissionDenied, api.Unauthenticated) as error:
            raise SubscriptionUnavailable(
                f"subscription {self._subscription} is missing or forbidden; create it, grant "
                f"roles/pubsub.subscriber, or correct WORKER_DEAD_LETTER_SUBSCRIPTION ({error})"
            ) from error
        except (api.GoogleAPICallError, api.RetryError, GoogleAuthError) as error:
            raise PubSubUnavailable(f"{self._subscription}: {error}") from error


class _NoAnswer(PubSubUnavailable):
    """None in time; to a pull, an empty subscription may not answer at all."""


_RETRY = Retry(
    predicate=if_exception_type(
        api.Aborted, api.InternalServerError, api.ServiceUnavailable, api.Unknown
    ),
    initial=0.2,
    maximum=2.0,
    timeout=_CALL_SECONDS,
)
