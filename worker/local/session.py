"""The `local` verb: broker, GCS server, worker, photos, table and gallery, on one machine.

servers → resources → worker → register → outcomes → table → (Ctrl-C) drain → stop
"""

from __future__ import annotations

import json
import secrets
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from worker.config import Settings
from worker.errors import ExitCode, Fatal, UsageFault
from worker.local import report
from worker.local.child import WorkerChild
from worker.local.gallery import Gallery
from worker.local.resources import ORIGINALS_BUCKET, RENDITIONS_BUCKET, Names, Resources
from worker.local.servers import Server, open_broker, open_storage
from worker.local.watch import Watch
from worker.publish import EventPublisher, Source, find_sources
from worker.pubsub import PubSubPublisher
from worker.storage import GcsStore

_PROJECT = "photo-worker-local"
_TICK_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """What the command line asks for."""

    photos: tuple[str, ...]
    broker: str
    port: int
    exit_when_idle: bool
    as_json: bool


def run_local(options: LocalOptions, environment: Mapping[str, str]) -> ExitCode:
    """Run one session to its end.

    Raises:
        Fatal: a server or the worker did not come up.
        UsageFault: PHOTOS names something that is not there.
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
            started = time.monotonic()
            session.register(photos)
            _follow(session, options, console, started)
        except KeyboardInterrupt:
            console.print("draining and stopping …")
        else:
            return _exit_code(session)
        return ExitCode.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """The parts of an open session."""

    folder: Path
    broker: Server
    watch: Watch
    worker: WorkerChild
    events: EventPublisher
    gallery: Gallery

    def make_samples(self) -> list[Source]:
        from worker.local.samples import write_samples

        folder = self.folder / "samples"
        folder.mkdir()
        write_samples(folder)
        return find_sources([str(folder)])

    def register(self, photos: list[Source]) -> None:
        for source in photos:
            size = source.file.stat().st_size if source.file else 0
            self.watch.expect(source.photo_id, size)
        for _ in self.events.register(photos, bucket=ORIGINALS_BUCKET, labels={}):
            self.check()

    def check(self) -> None:
        """See that the worker lives.

        Raises:
            Fatal: it ended; the message holds the end of its log.
        """
        code = self.worker.exit_code
        if code is not None:
            raise Fatal(f"the worker ended with exit code {code}:\n{self.worker.last_lines()}")


def _open(
    stack: ExitStack, options: LocalOptions, environment: Mapping[str, str], console: Console
) -> _Session:
    """Start every part; the stack stops them in the reverse order, the worker first."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="photo-worker-local-")))
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

    try:
        gallery = Gallery(snapshot=_snapshot(watch, broker), fetch=fetch, port=options.port)
    except OSError as error:
        raise UsageFault(
            f"--port {options.port}: cannot listen there ({error.strerror})"
        ) from error
    gallery.start()
    stack.callback(gallery.stop)

    servers = {"PUBSUB_EMULATOR_HOST": broker.address, "STORAGE_EMULATOR_HOST": storage.address}
    settings = servers | names.environment()
    log = folder / "worker.log"
    # Whoever tries a folder of odd files wants to know of each what is wrong with it.
    worker_environment = {
        "WORKER_HTTP_PORT": "0",
        "WORKER_BRAKE_SHARE": "0",
        **environment,
        **settings,
    }
    # So that its scratch folder goes with the session's, however it ends.
    worker_environment["TMPDIR"] = str(folder)
    worker = WorkerChild(
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
    """What a shell sources, so that `photo-worker` is found and uses the session's servers."""
    # `make run` installs into a folder of its own, which is on nobody's PATH.
    path = f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"\n'
    return path + "".join(f"export {name}={shlex.quote(settings[name])}\n" for name in settings)


def _follow(session: _Session, options: LocalOptions, console: Console, started: float) -> None:
    """Show progress until all photos have an outcome; then the table; then wait for Ctrl-C."""
    with report.progress(console) as show:
        while True:
            everything, ended, _ = session.watch.counts()
            show(ended, everything)
            if ended == everything:
                break
            session.check()
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
        print(json.dumps(shown, ensure_ascii=False, indent=2), flush=True)  # noqa: T201
    else:
        console.print(report.table(photos))
        console.print(report.summary(photos, seconds))
    if options.exit_when_idle:
        return
    console.print(f"the gallery stays at {session.gallery.url}; Ctrl-C drains and stops everything")
    while True:
        session.check()
        session.watch.wait_for_change(_TICK_SECONDS)


def _snapshot(watch: Watch, broker: Server) -> Callable[[], dict[str, Any]]:
    def snapshot() -> dict[str, Any]:
        everything, ended, _ = watch.counts()
        return {
            "title": "photo-worker local",
            "done": everything == ended,
            "broker": broker.name,
            "photos": watch.photos(),
        }

    return snapshot


def _exit_code(session: _Session) -> ExitCode:
    _, _, rejected = session.watch.counts()
    return ExitCode.SOME_FAILED if rejected else ExitCode.OK


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let SIGTERM stop everything as Ctrl-C does, and Ctrl-C too where a shell has turned it off.

    A script's background command starts with SIGINT ignored.
    """

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
