"""`photo-worker run`: start, watch, drain, exit.

Start: check the resources, then spawn the children, then pull messages. While the worker runs, the
daemon closes and opens the stream as the brake says. Stop: close the stream, refuse waiting
renders, give running work its budget, then end the children. The process ends by `os._exit`,
because `sys.exit` would wait for an executor thread that is stuck in a request.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType

from worker.console.stop import Stop
from worker.errors import ExitCode, Fatal
from worker.handlers.brake import TRIAL_DELIVERIES, TRIAL_IN_FLIGHT, BrakeAction
from worker.render.capacity import Capacity
from worker.service.build import App, build
from worker.service.gauges import Gauges
from worker.service.health import HealthServer
from worker.service.liveness import Phase
from worker.service.preemption import PreemptionWatch, open_watch
from worker.settings.settings import Settings
from worker.system.scratch import Scratch
from worker.telemetry.logs import Log, catch_strays
from worker.wiring import check_resources, told_of_nesting

_LOOK_SECONDS = 0.5
_SIGNAL_EXIT = 128


class Daemon:
    """One run of the worker in this process; the constructor installs the signal handlers."""

    def __init__(self, settings: Settings, capacity: Capacity, log: Log) -> None:
        self._settings = settings
        self._capacity = capacity
        self._log = log
        self._stop = Stop()
        self._signal: int | None = None
        self._preempted = False
        self._scratch: Scratch | None = None
        self._started = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def run(self) -> ExitCode:
        """Consume until drained; return the exit code, which says why the run ended."""
        code = ExitCode.OK
        app: App | None = None
        health: HealthServer | None = None
        notice: PreemptionWatch | None = None
        try:
            with _signals_held():
                self._scratch = Scratch()
            app = build(self._settings, self._capacity, self._scratch, self._log)
            health = self._serve_health(app)
            notice = self._watch_for_preemption()
            self._start(app)
            app.liveness.enter(Phase.RUNNING)
            self._watch(app)
        except Fatal as error:
            self._log.error(str(error), exit_code=int(error.exit_code))
            code = error.exit_code
        finally:
            if notice is not None:
                notice.stop()
            if app is not None:
                app.liveness.enter(Phase.DRAINING)
                self._drain(app)
                app.tracing.close()
                app.pool.stop()
            self._clean_up()
            if health is not None:
                health.stop()
        return code

    def _serve_health(self, app: App) -> HealthServer | None:
        port = self._settings.http_port
        if not port:
            return None
        try:
            app.counters.add(Gauges(app.liveness, self._capacity))
            health = HealthServer(port, app.liveness, app.counters, self._log)
        except OSError as error:
            # A second worker on one machine can still work; only its probes fail.
            self._log.warning("no health checks: WORKER_HTTP_PORT is taken", error=str(error))
            return None
        health.start()
        return health

    def _watch_for_preemption(self) -> PreemptionWatch | None:
        settings = self._settings
        watch = open_watch(
            settings.preemption_notice,
            os.environ,
            emulated=bool(settings.pubsub_emulator_host and settings.storage_emulator_host),
            on_notice=self._on_preemption,
            log=self._log,
        )
        if watch is not None:
            watch.start()
        return watch

    def _start(self, app: App) -> None:
        check_resources(self._settings, app.store, app.publisher, app.subscriber)
        if warning := told_of_nesting(self._settings, app.store):
            self._log.warning(warning)
        app.pool.start()
        app.pubsub.start()
        app.storage.start()
        if self._stop.asked:
            # A message pulled now would only lose a delivery attempt.
            self._log.info("preempted before anything was pulled")
            return
        # Set this before the first message can arrive, because from now on a signal must drain.
        self._started = True
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

    def _watch(self, app: App) -> None:
        """Watch the parts until the worker is asked to stop.

        Raises:
            Fatal: the stream ended for good, a handler raised an error that only an operator can
                mend, the scratch folder is gone, or the brake was on for too long.
        """
        while not self._stop.wait(_LOOK_SECONDS):
            app.liveness.looked()
            app.consumer.raise_if_lost()
            app.pubsub.log_changes()
            app.storage.log_changes()
            app.scratch.check()
            with contextlib.suppress(queue.Empty):
                raise app.fatal_errors.get_nowait()
            self._obey_brake(app)

    def _obey_brake(self, app: App) -> None:
        """Close or open the stream as the brake says, and log the action.

        Raises:
            BrakeHeld: the brake was on for too long.
        """
        brake = app.brake
        match brake.next_action():
            case BrakeAction.STOP:
                cause = brake.cause
                self._log.error(
                    f"brake on: {cause}; nothing more is pulled or dead-lettered until a trial "
                    "succeeds; look at `photo-worker dead-letters list` and mend the cause",
                    **(dataclasses.asdict(cause) if cause else {}),
                    exit_in_seconds=self._settings.brake_seconds,
                )
                app.consumer.pause()
            case BrakeAction.TRY:
                self._log.info("brake trial", deliveries=TRIAL_DELIVERIES)
                app.consumer.start(TRIAL_IN_FLIGHT)
            case BrakeAction.REST:
                app.consumer.pause()
                self._log.warning(
                    "brake stays on", next_trial_seconds=round(brake.next_trial_seconds, 1)
                )
            case BrakeAction.GO:
                app.consumer.pause()
                if not self._stop.asked:
                    # If the worker is stopping, do not open a new stream. Draining it would take up
                    # to `drain_seconds` again.
                    app.consumer.start()
                self._log.info("brake off", seconds=round(brake.on_seconds, 1))

    def _drain(self, app: App) -> None:
        if not self._started:
            return
        cause = signal.Signals(self._signal).name if self._signal else "failure"
        if self._preempted:
            cause = "preempted"
        self._log.info("draining", cause=cause, running=app.consumer.running)
        started = time.monotonic()
        in_time = app.consumer.drain()
        self._log.info("stopped", in_time=in_time, seconds=round(time.monotonic() - started, 3))

    def _on_preemption(self) -> None:
        # A preemption notice does not set `_signal`. So the SIGTERM that follows counts as the
        # first signal and does not stop the drain.
        self._preempted = self._signal is None
        self._stop.ask()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._signal is not None:
            # A second signal means that the worker must not wait. The children notice that this
            # process has ended.
            self._clean_up()
            os._exit(_SIGNAL_EXIT + number)
        self._signal = number
        self._stop.ask(number)
        if not self._started:
            # Exit at once, because nothing was pulled yet. Otherwise the exit could wait for the
            # time-out of a start-up check.
            self._clean_up()
            os._exit(ExitCode.OK)

    def _clean_up(self) -> None:
        if self._scratch is not None:
            self._scratch.cleanup()


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Delay signals while the scratch folder is made, because `_clean_up` needs its name."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_and_exit(settings: Settings, capacity: Capacity, log: Log) -> None:
    """Run to the end, then exit the process even if threads still hang."""
    catch_strays(log)
    try:
        code = Daemon(settings, capacity, log).run()
    except Exception:
        log.exception("the worker failed in an unexpected way")
        code = ExitCode.UNEXPECTED
    # Ignore errors when stdout is flushed, so the exit code stays the same. stderr is not flushed:
    # it has no buffer, and a flush could block.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stdout.flush()
    os._exit(int(code))
