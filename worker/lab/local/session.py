"""The `local` verb: broker, GCS server, worker, photos, table and gallery, on one machine.

servers → resources → worker → register → outcomes → table → (Ctrl-C) drain → stop
"""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from worker.console.printer import Printer
from worker.console.text import to_json
from worker.errors import ExitCode, UsageFault
from worker.gcs.store import GcsStore
from worker.lab.local import report
from worker.lab.local.gallery import Gallery
from worker.lab.local.resources import ORIGINALS_BUCKET, RENDITIONS_BUCKET, Names, Resources
from worker.lab.local.servers import Server, open_broker, open_storage
from worker.lab.local.watch import Watch
from worker.lab.worker_process import WorkerLog, WorkerProcess
from worker.operate.publish import EventPublisher, Unread
from worker.operate.sources import Source, find_sources
from worker.pubsub.clients import PubSubPublisher
from worker.settings.settings import Settings
from worker.system.scratch import Scratch

_PROJECT = "photo-worker-local"
_FOLDER = "photo-worker-local-"
_TICK_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """The options of the command line."""

    photos: tuple[str, ...]
    broker: str
    port: int
    exit_when_idle: bool
    as_json: bool


def run_local(options: LocalOptions, environment: Mapping[str, str]) -> ExitCode:
    """Run one session to its end.

    Raises:
        Fatal: a server or the worker did not come up.
        UsageFault: PHOTOS names something that does not exist.
    """
    console = Console(stderr=options.as_json, soft_wrap=True)
    photos = find_sources(options.photos) if options.photos else []
    with ExitStack() as stack:
        stack.enter_context(_signals_interrupt())
        try:
            session = _open(stack, options, environment, console)
            if not photos:
                with console.status("making sample photos"):
                    photos = session.make_samples()
            _follow(session, photos, options, console)
        except KeyboardInterrupt:
            console.print("draining and stopping …")
            return ExitCode.OK
        return ExitCode.SOME_FAILED if session.watch.counts().rejected else ExitCode.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """The parts of an open session."""

    folder: Path
    broker: Server
    watch: Watch
    worker: WorkerProcess
    events: EventPublisher
    gallery: Gallery

    def make_samples(self) -> list[Source]:
        from worker.lab.local.samples import write_samples

        folder = self.folder / "samples"
        folder.mkdir()
        write_samples(folder)
        return find_sources([str(folder)])

    def register(self, photos: list[Source], show: Callable[[int, int], None]) -> None:
        for source in photos:
            self.watch.expect(source.photo_id, _size_bytes(source))
        for each in self.events.register(photos, bucket=ORIGINALS_BUCKET, labels={}):
            if isinstance(each, Unread):
                self.watch.reject(each.photo_id, "unreadable", each.message)
            self.show(show)

    def show(self, show: Callable[[int, int], None]) -> bool:
        """Show how many photos have ended, while the worker runs; return True if all have."""
        self.worker.check()
        counts = self.watch.counts()
        show(counts.ended, counts.all)
        return counts.ended == counts.all


def _open(
    stack: ExitStack, options: LocalOptions, environment: Mapping[str, str], console: Console
) -> _Session:
    """Start every part; the stack stops them in the reverse order, the worker first."""
    folder = stack.enter_context(Scratch(_FOLDER))
    with console.status("starting a broker and a GCS server"):
        storage = open_storage(environment)
        stack.callback(storage.stop)
        broker = open_broker(options.broker, environment)
        stack.callback(broker.stop)
    console.print(f"broker   {broker.name} at {broker.address}")
    console.print(f"storage  {storage.name} at {storage.address}")

    project = environment.get("GOOGLE_CLOUD_PROJECT") or _PROJECT
    names = Names(project, "" if broker.ours else f"-{secrets.token_hex(3)}")
    store = GcsStore(project=project, emulator_url=storage.address, connections=8)
    stack.callback(store.close)
    resources = Resources(broker.address, names)
    stack.callback(resources.close)
    resources.create(store)
    if not broker.ours:
        stack.callback(resources.delete)

    watch = Watch(broker.address, names)
    watch.start()
    stack.callback(watch.stop)
    publisher = PubSubPublisher(broker.address)
    stack.callback(publisher.close)

    def fetch(name: str) -> bytes | None:
        found = store.read(RENDITIONS_BUCKET, name)
        return found[0] if found else None

    log = folder / "worker.log"
    snapshot = _snapshot(watch, broker, WorkerLog(log))
    try:
        gallery = Gallery(snapshot=snapshot, fetch=fetch, port=options.port)
    except OSError as error:
        raise UsageFault(
            f"--port {options.port}: cannot listen there ({error.strerror})"
        ) from error
    gallery.start()
    stack.callback(gallery.stop)

    servers = {"PUBSUB_EMULATOR_HOST": broker.address, "STORAGE_EMULATOR_HOST": storage.address}
    settings = servers | names.environment()
    # The brake is off, so that a folder of broken files shows the error of each file.
    worker_environment = {
        "WORKER_HTTP_PORT": "0",
        "WORKER_BRAKE_SHARE": "0",
        **environment,
        **settings,
    }
    # The worker's scratch folder is removed with the session's, even if the worker is killed.
    worker_environment["TMPDIR"] = str(folder)
    worker = WorkerProcess(
        worker_environment,
        drain_seconds=Settings.load(worker_environment).drain_seconds,
        log=log,
    )
    stack.callback(worker.stop)
    console.print(f"worker   photo-worker run, logging to {log}")
    console.print(f"gallery  {gallery.url}", style="bold")
    exports = folder / "env"
    exports.write_text(exports_text(settings))
    quoted = shlex.quote(str(exports))
    console.print(f"other verbs in another terminal: source {quoted}", style="dim")
    return _Session(
        folder=folder,
        broker=broker,
        watch=watch,
        worker=worker,
        events=EventPublisher(store, publisher, names.topic("photos")),
        gallery=gallery,
    )


def exports_text(settings: Mapping[str, str]) -> str:
    """Return lines for a shell, which then finds `photo-worker` and uses the session's servers."""
    # `make run` installs into a folder of its own, which is not on PATH.
    path = f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"\n'
    return path + "".join(f"export {name}={shlex.quote(settings[name])}\n" for name in settings)


def _follow(
    session: _Session, sources: list[Source], options: LocalOptions, console: Console
) -> None:
    """Register, show progress until all photos have an outcome, then each; then wait for Ctrl-C."""
    started = time.monotonic()
    with report.progress(console) as show:
        session.register(sources, show)
        while not session.show(show):
            session.watch.wait_for_change(_TICK_SECONDS)
    seconds = time.monotonic() - started
    photos = session.watch.photos()
    if options.as_json:
        shown = {
            "broker": session.broker.name,
            "gallery": session.gallery.url,
            "seconds": round(seconds, 3),
            "photos": photos,
        }
        Printer()(to_json(shown))
    else:
        report.show(console, photos, seconds)
    if options.exit_when_idle:
        return
    console.print(f"the gallery stays open at {session.gallery.url}")
    console.print("Ctrl-C drains the worker and stops everything")
    while True:
        session.worker.check()
        session.watch.wait_for_change(_TICK_SECONDS)


def _size_bytes(source: Source) -> int:
    try:
        return source.file.stat().st_size if source.file else 0
    except OSError:
        return 0  # the upload reports the error


def render_seconds(log: WorkerLog) -> dict[str, float]:
    """Return the seconds of each photo's last render, by photo id."""
    return {
        entry["photo_id"]: entry["seconds"]["render"]
        for entry in log.entries("handled")
        if "render" in entry.get("seconds", {})
    }


def _snapshot(watch: Watch, broker: Server, log: WorkerLog) -> Callable[[], dict[str, Any]]:
    def snapshot() -> dict[str, Any]:
        counts, rendered = watch.counts(), render_seconds(log)
        return {
            "title": "photo-worker local",
            "done": counts.all == counts.ended,
            "broker": broker.name,
            "photos": [
                photo | {"render_seconds": rendered.get(photo["photo_id"])}
                for photo in watch.photos()
            ],
        }

    return snapshot


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let SIGTERM, SIGHUP and SIGINT stop everything as Ctrl-C does.

    SIGINT is included because a script's background command starts with SIGINT ignored. SIGHUP
    comes when the terminal is closed; if `nohup` ignores it, it stays ignored.
    """
    terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]

    def interrupt(number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            # The shell and the kernel each send a signal; the second would interrupt the end.
            signal.signal(number, signal.SIG_IGN)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for descriptor in terminals:
                os.dup2(nowhere, descriptor)
            os.close(nowhere)
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
