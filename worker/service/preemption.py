"""Preemption: the metadata server's notice that this machine is about to be taken away.

A spot VM has 30 seconds from the notice to the power cut. SIGTERM comes later, through ACPI,
systemd and the container's runtime; `instance/preempted` turns TRUE at once. A hanging GET waits
for that change in a thread of its own, which costs one request a minute. If the request fails, only
the early notice is lost.

The worker does not watch `instance/maintenance-event`. Google sets this value for VMs that migrate,
whose work goes on after a pause of seconds, and for VMs with a GPU. A spot VM is preempted instead.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlencode

from worker.telemetry.logs import Log

ADDRESS: Final = "169.254.169.254"
"""The address at which every VM finds its metadata server, even without a resolver."""

HANG_SECONDS: Final = 60
"""The server waits this long for a change before it answers anyway."""

LEEWAY_SECONDS: Final = 15.0
"""The answer may come this much later than `HANG_SECONDS`."""

ANSWER_SECONDS: Final = 3.0
"""The time-out for a connection, and for an immediate answer."""

WARN_AFTER: Final = 3
"""Failures in a row before a warning; the server itself answers 503 now and then."""

WARN_AGAIN_SECONDS: Final = 3600.0

_PATH: Final = "/computeMetadata/v1/instance/preempted"
_FLAVOR: Final = ("Metadata-Flavor", "Google")
_BODY_BYTES: Final = 64
_KNOWN_PAUSE_SECONDS: Final = 30.0
_UNKNOWN_PAUSE_SECONDS: Final = 300.0

Mode = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Notice:
    preempted: bool
    etag: str


def open_watch(
    mode: Mode,
    environment: Mapping[str, str],
    *,
    emulated: bool,
    on_notice: Callable[[], object],
    log: Log,
) -> PreemptionWatch | None:
    """Return a watch that has not started, or `None` if the settings turn it off.

    The address is `GCE_METADATA_HOST` (`host[:port]`), as Google's libraries read it, or the usual
    address. `auto` skips the usual address if everything is `emulated`, or if `NO_GCE_CHECK` says
    that this machine is outside of Google Cloud.
    """
    given = environment.get("GCE_METADATA_HOST") or environment.get("GCE_METADATA_ROOT")
    elsewhere = emulated or environment.get("NO_GCE_CHECK") == "true"
    if mode == "off" or (mode == "auto" and elsewhere and not given):
        return None
    address = given or environment.get("GCE_METADATA_IP") or ADDRESS
    return PreemptionWatch(address, on_notice, log, insist=mode == "on")


class PreemptionWatch:
    """A watch that calls `on_notice` once, in its own thread, after a preemption notice.

    `insist` means that the server must exist, so its silence is a warning. Otherwise the watch asks
    less and less often. `clock` gives monotonic seconds; `unit_seconds` is the first pause after a
    failure, and the shortest time between two answers without news.
    """

    def __init__(
        self,
        address: str,
        on_notice: Callable[[], object],
        log: Log,
        *,
        insist: bool,
        unit_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address
        self._on_notice = on_notice
        self._log = log
        self._known = insist
        self._unit_seconds = unit_seconds
        self._clock = clock
        self._failures = 0
        self._warned_at: float | None = None
        self._answered = False
        self._stopped = threading.Event()
        self._connection: http.client.HTTPConnection | None = None
        self._thread = threading.Thread(target=self._watch, name="preemption", daemon=True)

    def start(self) -> None:
        """Watch from now on, until the notice, `stop` or the process's end."""
        self._thread.start()

    def stop(self) -> None:
        """End the watch without waiting for its thread; thread-safe."""
        self._stopped.set()
        sock = getattr(self._connection, "sock", None)
        if sock is not None:
            # A shutdown wakes the thread that waits on this socket. A close alone would not.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def join(self, seconds: float) -> bool:
        """Wait for the thread, at most this long; return True if it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _watch(self) -> None:
        etag: str | None = None
        while not self._stopped.is_set():
            asked_at = self._clock()
            try:
                answer = self._ask(etag)
            except Exception as error:  # noqa: BLE001 (a dead watch would go unnoticed)
                # The next request must ask for the value, not for its next change.
                etag = None
                pause_seconds = self._failed(error)
            else:
                if answer.preempted:
                    self._on_notice()
                    return
                self._succeeded()
                early = etag is not None and self._clock() - asked_at < self._unit_seconds
                etag, pause_seconds = answer.etag, self._unit_seconds if early else 0.0
            self._stopped.wait(pause_seconds)

    def _ask(self, etag: str | None) -> _Notice:
        """Return the value now or, with the last answer's etag, once the value has changed.

        Raises:
            OSError, HTTPException: there is no answer, or it does not come from a metadata server.
        """
        # `http.client` ignores redirects and proxies, which lead to other machines.
        connection = http.client.HTTPConnection(self._address, timeout=ANSWER_SECONDS)
        self._connection = connection
        with contextlib.closing(connection):
            connection.connect()
            if self._stopped.is_set():
                # `stop` was called before this connection existed.
                raise ConnectionAbortedError
            path = _PATH
            if etag is not None:
                connection.sock.settimeout(HANG_SECONDS + LEEWAY_SECONDS)
                query = {
                    "wait_for_change": "true",
                    "last_etag": etag,
                    "timeout_sec": str(HANG_SECONDS),
                }
                path += "?" + urlencode(query)
            connection.request("GET", path, headers=dict([_FLAVOR]))
            return _answer(connection.getresponse())

    def _succeeded(self) -> None:
        if not self._answered:
            self._log.info("watching for a preemption notice", metadata_server=self._address)
        elif self._warned_at is not None:
            self._log.info("preemption notices are watched for again")
        self._answered = self._known = True
        self._failures, self._warned_at = 0, None

    def _failed(self, error: Exception) -> float:
        """Log a failure if it is news; return the seconds until the next try."""
        self._failures += 1
        now = self._clock()
        if self._stopped.is_set() or not self._known:
            self._log.debug("no metadata server", detail=repr(error))
        elif self._failures >= WARN_AFTER and (
            self._warned_at is None or now - self._warned_at >= WARN_AGAIN_SECONDS
        ):
            self._warned_at = now
            self._log.warning(
                "no preemption notice can come: the metadata server does not answer; a preemption "
                "is then noticed by SIGTERM only. Set WORKER_PREEMPTION_NOTICE=off where there is "
                "none",
                metadata_server=self._address,
                detail=repr(error),
            )
        longest = _KNOWN_PAUSE_SECONDS if self._known else _UNKNOWN_PAUSE_SECONDS
        return float(min(self._unit_seconds * 2 ** min(self._failures - 1, 16), longest))


def _answer(response: http.client.HTTPResponse) -> _Notice:
    if response.status != http.client.OK:
        raise ConnectionError(f"it answers {response.status} {response.reason}")
    if response.getheader(_FLAVOR[0]) != _FLAVOR[1]:
        raise ConnectionError(f"who answers is no metadata server: no {_FLAVOR[0]} header")
    value = response.read(_BODY_BYTES).strip().upper()
    if value not in {b"TRUE", b"FALSE"}:
        raise ConnectionError(f"instance/preempted is {value!r}")
    # The server gives an etag with every answer. `0` makes the next request return at once.
    return _Notice(preempted=value == b"TRUE", etag=response.getheader("ETag") or "0")
