"""Patience: retries and time-outs of requests to Cloud Storage, in one value."""

from __future__ import annotations

from dataclasses import dataclass

SLOWEST_UPLOAD_BYTES_PER_SECOND = 1 << 20
"""Eight megabit a second, a home's uplink. A slower upload counts as stuck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a request may take.

    Attempts begin within `retry_seconds`, so a call ends within that and one attempt's time-outs:
    with the defaults less than the default drain.
    """

    connect_seconds: float = 3.05
    """To connect. TCP retransmits for the first time after 3 s."""

    answer_seconds: float = 5.0
    """Between two bytes of an answer."""

    retry_seconds: float = 10.0
    attempts: int = 6

    backoff_seconds: float = 0.2
    """The longest pause after a first fault; it doubles with each, up to 3 s."""

    download_seconds: float = 120.0
    """One original in all. A server that trickles stays below the time-out between two bytes."""

    read_seconds: float = 10.0
    """One manifest in all."""

    @classmethod
    def within(cls, drain_seconds: float) -> Patience:
        """Retries that end within half of a drain of this length."""
        return cls(retry_seconds=min(cls().retry_seconds, drain_seconds / 2))

    @property
    def timeout(self) -> tuple[float, float]:
        """To connect and between two bytes, as `requests` takes it."""
        return self.connect_seconds, self.answer_seconds

    def upload_timeout(self, size_bytes: int) -> tuple[float, float]:
        """The same for an upload: urllib3 sends a whole body within the time to connect."""
        sending = size_bytes / SLOWEST_UPLOAD_BYTES_PER_SECOND
        return self.connect_seconds + sending, self.answer_seconds
