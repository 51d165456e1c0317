"""`photo-worker run`: start, watch, drain, exit.

Order matters. Start: resources are looked at before a child is spawned, children are ready before
a message is pulled. Stop: no new messages, waiting renders turned away, running work finished
within the budget, then the children, then the clients; and `os._exit`, because an executor thread
that is stuck in a request would hold `sys.exit` for as long as it likes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType

from worker.app import App, build, check_resources
from worker.capacity import Capacity
from worker.config import Settings
from worker.errors import ExitCode, Fatal
from worker.health import HealthServer, Phase, Pulse
from worker.telemetry import Log

_LOOK_SECONDS = 0.5
_SIGNAL_EXIT = 128


class Daemon:
    """One run of the worker in this process."""

    def __init__(self, settings: Settings, capacity: Capacity, log: Log) -> None:
        """Catch SIGTERM and SIGINT from now on; start nothing yet."""
        self._settings = settings
        self._capacity = capacity
        self._log = log
        self._stop = threading.Event()
        self._signal: int | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def run(self) -> ExitCode:
        """Consume until drained; the exit code says why it ended."""
        app: App | None = None
        health: HealthServer | None = None
        try:
            app = build(self._settings, self._capacity, self._log)
            pulse = Pulse(app.consumer, app.pool)
            health = self._serve_health(pulse)
            self._start(app)
            pulse.phase = Phase.RUNNING
            while not self._stop.wait(_LOOK_SECONDS):
                app.consumer.raise_if_lost()
            pulse.phase = Phase.DRAINING
            self._drain(app)
        except Fatal as error:
            self._log.error(str(error), exit_code=int(error.exit_code))
            return error.exit_code
        finally:
            if app is not None:
                self._close(app)
            if health is not None:
                health.stop()
        return ExitCode.OK

    def _serve_health(self, pulse: Pulse) -> HealthServer | None:
        port = self._settings.http_port
        if not port:
            return None
        try:
            health = HealthServer(port, pulse)
        except OSError as error:
            # A second worker on one machine still works; its probes are what will be missed.
            self._log.warning("no health checks: WORKER_HTTP_PORT is taken", error=str(error))
            return None
        health.start()
        return health

    def _start(self, app: App) -> None:
        check_resources(self._settings, app.store, app.publisher, app.subscriber)
        if self._stop.is_set():
            return
        app.pool.start()
        app.consumer.start()
        if self._settings.dead_letter_topic is None:
            self._log.warning(
                "no WORKER_DEAD_LETTER_TOPIC: permanent failures are nacked until the "
                "subscription's own dead-letter policy takes them"
            )
        self._log.info(
            "running",
            subscription=self._settings.subscription,
            slots=self._capacity.slots,
            in_flight=self._capacity.in_flight,
            recipe=app.pool.recipe.fingerprint,
        )

    def _drain(self, app: App) -> None:
        name = signal.Signals(self._signal).name if self._signal else "request"
        self._log.info("draining", cause=name, running=app.consumer.running)
        started = time.monotonic()
        in_time = app.consumer.drain()
        self._log.info("stopped", in_time=in_time, seconds=round(time.monotonic() - started, 3))

    def _close(self, app: App) -> None:
        app.pool.stop()
        app.scratch.cleanup()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._stop.is_set():
            # The second signal: whoever sends it does not want to wait. Children end by
            # themselves, their lifeline breaks with this process.
            os._exit(_SIGNAL_EXIT + number)
        self._signal = number
        self._stop.set()


def run_and_exit(settings: Settings, capacity: Capacity, log: Log) -> None:
    """Run to the end and leave the process, whatever threads still hang."""
    try:
        code = Daemon(settings, capacity, log).run()
    except Exception:
        log.exception("the worker failed in an unexpected way")
        code = ExitCode.UNEXPECTED
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(code))
