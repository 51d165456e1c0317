"""Patience: retries and time-outs of requests to Cloud Storage, in one value."""

from __future__ import annotations

from dataclasses import dataclass

SLOWEST_UPLOAD_BYTES_PER_SECOND = 1 << 20
"""Eight megabits a second, the uplink of a home. A slower upload counts as stuck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a request may take.

    Attempts begin within `retry_seconds`, so a call takes at most `retry_seconds` plus the
    time-outs of one attempt. With the defaults, the sum is less than the default drain.
    """

    connect_seconds: float = 3.05
    """The time-out to connect. TCP retransmits for the first time after 3 s."""

    answer_seconds: float = 5.0
    """The time-out between two bytes of an answer."""

    retry_seconds: float = 10.0
    attempts: int = 6

    backoff_seconds: float = 0.2
    """The longest pause after the first fault. It doubles with each fault, up to 3 s."""

    download_seconds: float = 120.0
    """The limit for one whole original. A server that sends a byte now and then does not reach the
    time-out between two bytes."""

    read_seconds: float = 10.0
    """The limit for one whole manifest."""

    @classmethod
    def within(cls, drain_seconds: float) -> Patience:
        """Return time limits with retries that begin within half of this drain."""
        return cls(retry_seconds=min(cls().retry_seconds, drain_seconds / 2))

    @property
    def timeout(self) -> tuple[float, float]:
        """Seconds to connect and between two bytes, as `requests` takes them."""
        return self.connect_seconds, self.answer_seconds

    def upload_timeout(self, size_bytes: int) -> tuple[float, float]:
        """Return the time-outs of an upload: urllib3 sends the body within the time to connect."""
        sending = size_bytes / SLOWEST_UPLOAD_BYTES_PER_SECOND
        return self.connect_seconds + sending, self.answer_seconds
