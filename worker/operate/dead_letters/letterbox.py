"""The letterbox holds a subscription's messages, and then acks or nacks them.

It pulls with unary calls. This process extends the leases of all messages that it holds. If the
process is killed, the leases end, and Pub/Sub delivers the unacked messages again.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from google.api_core import exceptions as api
from google.api_core.retry import Retry, if_exception_type
from google.auth.exceptions import GoogleAuthError
from google.cloud import pubsub_v1

from worker.errors import ConfigurationError, PubSubUnavailable, SubscriptionUnavailable
from worker.operate.dead_letters.ledger import CHUNK, Ledger
from worker.photo.dead_letter import REPLAY_OF, DeadLetter
from worker.telemetry.logs import Log

LEASE_SECONDS = 60
"""After this time, other processes get the messages of a killed process."""

QUIET_SECONDS = 4.0
"""After this time without a message, all have come. One empty pull is no proof."""

_PAGE = 1000
"""The number of messages in one pull, which is Pub/Sub's maximum."""

_FIRST_PAGE = 100
_PAGE_BYTES = 16 << 20
"""A pull asks for fewer messages if they are large; the first page shows their size."""

_SHORTEST_PULL_SECONDS = 1.0
_CALL_SECONDS = 20.0


class Letterbox:
    """One subscription, read by one thread; a context manager.

    It holds each message until the message is acked. At the end it nacks the remaining messages.
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
        """The letters that came after `pages` began; they are held too, but not yielded."""
        self.retention: timedelta | None = None
        """The subscription's retention; `None` without the permission to read it."""

    def __enter__(self) -> Self:
        """Check the subscription, and extend leases from now on.

        Raises:
            SubscriptionUnavailable: the subscription is missing or forbidden.
            ConfigurationError: the subscription has a dead-letter policy, so reading would use up
                the letters' delivery attempts.
            PubSubUnavailable: Pub/Sub does not answer.
        """
        self._ledger = Ledger()
        try:
            self._look()
        except BaseException:
            self._ledger.close()
            raise
        self._extender.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Nack the held messages."""
        self._closed.set()
        self._extender.join()
        try:
            for ack_ids in self._ledger.held():
                self._set_deadline(ack_ids, 0)
        except (SubscriptionUnavailable, PubSubUnavailable) as fault:
            # The leases of the messages end without a nack, too.
            self._log.warning("could not give back what was held", error=str(fault))
        self._ledger.close()

    def pages(self) -> Iterator[list[DeadLetter]]:
        """Yield the letters that were there at the start, each once, page by page.

        It ends when no such letter has come for a while. Later letters are for the next run: they
        may be failures of this replay, which would otherwise go on for ever.

        Raises:
            SubscriptionUnavailable: the subscription is missing or forbidden.
            PubSubUnavailable: Pub/Sub does not answer.
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
        # A broken network looks like an empty subscription, so check the subscription again.
        self._look()
        if self._repeated:
            # Repeated letters may have taken the place of other letters in the pages.
            self._log.warning(
                "letters came again while they were held; another run may find more",
                letters=self._repeated,
            )

    def ack(self, letters: Iterable[DeadLetter]) -> None:
        """Delete these letters, of any number, from the subscription.

        Raises:
            SubscriptionUnavailable, PubSubUnavailable: some letters may still be there.
        """
        left = iter(letters)
        while some := [each.message_id for each in itertools.islice(left, CHUNK)]:
            self._acknowledge(some)
            self._ledger.take(some)

    def _pull(self, seconds: float) -> list[Any]:
        try:
            answer = self._call(
                self._client.pull, max_messages=self._page_messages, timeout=seconds
            )
        except _NoAnswer:
            return []
        pulled = list(answer.received_messages)
        if size := sum(len(each.message.data) for each in pulled):
            self._page_messages = max(1, min(_PAGE, _PAGE_BYTES * len(pulled) // size))
        return pulled

    def _hold(self, pulled: Sequence[Any]) -> list[DeadLetter]:
        """Extend the leases of pulled messages; return the letters that come for the first time."""
        if not pulled:
            return []
        entered = self._ledger.enter([(each.message.message_id, each.ack_id) for each in pulled])
        self._set_deadline([each.ack_id for each in pulled], self._lease_seconds)
        self._repeated += len(pulled) - len(entered.fresh) - len(entered.taken)
        if entered.taken:
            # The lease had ended before the ack, so the ack did not count.
            self._acknowledge(entered.taken)
        # The keys are ids, because a message may come twice within a page.
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
        try:
            found = self._call(self._client.get_subscription)
        except SubscriptionUnavailable as error:
            if isinstance(error.__cause__, api.PermissionDenied):
                return  # the permission to pull does not include the permission to read it
            raise
        self.retention = found.message_retention_duration
        if found.dead_letter_policy.dead_letter_topic:
            problem = (
                f"WORKER_DEAD_LETTER_SUBSCRIPTION={self._subscription!r}: has a dead-letter policy "
                "of its own, so that looking at its messages would move them on; remove it: "
                "gcloud pubsub subscriptions update NAME --clear-dead-letter-policy"
            )
            raise ConfigurationError([problem])

    def _acknowledge(self, message_ids: Iterable[str]) -> None:
        self._call(self._client.acknowledge, ack_ids=self._ledger.ack_ids(list(message_ids)))

    def _set_deadline(self, ack_ids: list[str], seconds: int) -> None:
        self._call(self._client.modify_ack_deadline, ack_ids=ack_ids, ack_deadline_seconds=seconds)

    def _call(
        self,
        method: Callable[..., Any],
        *,
        timeout: float = _CALL_SECONDS,
        **arguments: object,
    ) -> Any:  # noqa: ANN401 (the client has no types)
        try:
            return method(
                subscription=self._subscription, timeout=timeout, retry=_RETRY, **arguments
            )
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
    """A call ran into its deadline; a pull from an empty subscription may do so."""


_RETRY = Retry(
    predicate=if_exception_type(
        api.Aborted, api.InternalServerError, api.ServiceUnavailable, api.Unknown
    ),
    initial=0.2,
    maximum=2.0,
    timeout=_CALL_SECONDS,
)
