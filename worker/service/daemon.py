"""`photo-worker run`: start, watch, drain, exit.

Order matters. Start: resources are looked at before a child is spawned, a child is ready before a
message is pulled. Meanwhile the stream is closed and opened as the brake says. Stop: no new
messages, waiting renders turned away, running work finished within the budget, then the children;
and `os._exit`, because an executor thread that is stuck in a request would hold `sys.exit` for as
long as it likes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from worker.errors import ExitCode, Fatal
from worker.handlers.brake import TRIAL_DELIVERIES, TRIAL_IN_FLIGHT, BrakeAction
from worker.render.capacity import Capacity
from worker.service.build import App, build, longest_handling_seconds
from worker.service.gauges import Gauges
from worker.service.health import HealthServer
from worker.service.liveness import Liveness, Phase
from worker.service.preemption import PreemptionWatch, open_watch
from worker.settings.settings import Settings
from worker.system.scratch import Scratch
from worker.telemetry.logs import Log, catch_strays
from worker.wiring import check_resources

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
        self._preempted = False
        self._app: App | None = None
        self._scratch: Scratch | None = None
        self._started = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def run(self) -> ExitCode:
        """Consume until drained; the exit code says why it ended."""
        code = ExitCode.OK
        liveness: Liveness | None = None
        health: HealthServer | None = None
        notice: PreemptionWatch | None = None
        try:
            with _signals_held():
                self._scratch = Scratch()
            self._app = build(self._settings, self._capacity, self._scratch, self._log)
            liveness = self._pulse(self._app)
            health = self._serve_health(self._app, liveness)
            notice = self._watch_for_preemption()
            self._start(self._app)
            liveness.enter(Phase.RUNNING)
            self._watch(self._app, liveness)
        except Fatal as error:
            self._log.error(str(error), exit_code=int(error.exit_code))
            code = error.exit_code
        finally:
            if liveness is not None:
                liveness.enter(Phase.DRAINING)
            if notice is not None:
                notice.stop()
            if self._app is not None:
                self._drain(self._app)
                self._app.tracing.close()
                self._app.pool.stop()
            self._clean_up()
            if health is not None:
                health.stop()
        return code

    def _pulse(self, app: App) -> Liveness:
        return Liveness(
            consumer=app.consumer,
            pool=app.pool,
            pubsub=app.pubsub,
            storage=app.storage,
            brake=app.brake,
            leases=app.leases,
            handling_seconds=longest_handling_seconds(self._settings),
            drain_seconds=self._settings.drain_seconds,
        )

    def _watch(self, app: App, liveness: Liveness) -> None:
        """Return once a signal asks for it.

        Raises:
            Fatal: the stream ended for good, a handler met something that only an operator can
                mend, the scratch folder is gone, or the brake was on for too long.
        """
        while not self._stop.wait(_LOOK_SECONDS):
            liveness.looked()
            app.consumer.raise_if_lost()
            app.pubsub.tell()
            app.storage.tell()
            app.scratch.check()
            with contextlib.suppress(queue.Empty):
                raise app.fatal_errors.get_nowait()
            self._obey_brake(app)

    def _obey_brake(self, app: App) -> None:
        """Close and open the stream as the brake says, and tell so.

        Raises:
            BrakeHeld: it was on for too long.
        """
        brake = app.brake
        match brake.next_action():
            case BrakeAction.STOP:
                why = brake.cause
                self._log.error(
                    f"brake on: {why}; nothing more is pulled or dead-lettered until a trial "
                    "succeeds; look at `photo-worker dead-letters list` and mend the cause",
                    **(dataclasses.asdict(why) if why else {}),
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
                if not self._stop.is_set():
                    # Opened only to be drained, a stream would take the drain's time once more.
                    app.consumer.start()
                self._log.info("brake off", seconds=round(brake.on_seconds, 1))

    def _serve_health(self, app: App, liveness: Liveness) -> HealthServer | None:
        port = self._settings.http_port
        if not port:
            return None
        try:
            app.counters.add(Gauges(liveness, self._capacity))
            health = HealthServer(port, liveness, app.counters, self._log)
        except OSError as error:
            # A second worker on one machine still works; its probes are what will be missed.
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
        app.pool.start()
        app.pubsub.start()
        app.storage.start()
        if self._stop.is_set():
            # What is pulled now would only lose a delivery attempt.
            self._log.info("preempted before anything was pulled")
            return
        # Before the first message can arrive: from here on a signal must drain, not just leave.
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
        # Its SIGTERM follows within moments, and is no second one: the drain goes on.
        self._preempted = self._signal is None
        self._stop.set()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._signal is not None:
            # The second signal: whoever sends it does not want to wait. Children end by
            # themselves, their lifeline breaks with this process.
            self._clean_up()
            os._exit(_SIGNAL_EXIT + number)
        self._signal = number
        self._stop.set()
        if not self._started:
            # Nothing is held yet, and the look at a silent service would take its time-outs.
            self._clean_up()
            os._exit(ExitCode.OK)

    def _clean_up(self) -> None:
        if self._scratch is not None:
            self._scratch.cleanup()


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Let a signal wait: one that comes between a folder and its name would leave the folder."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_and_exit(settings: Settings, capacity: Capacity, log: Log) -> None:
    """Run to the end and leave the process, whatever threads still hang."""
    catch_strays(log)
    try:
        code = Daemon(settings, capacity, log).run()
    except Exception:
        log.exception("the worker failed in an unexpected way")
        code = ExitCode.UNEXPECTED
    # Closed before the start, or its reader gone, it must not become the exit code. Standard error
    # keeps nothing back, and a flush would wait for a reader that sleeps.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stdout.flush()
    os._exit(int(code))
