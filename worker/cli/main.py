"""The command line: verbs, flags, exit codes. Verbs import what they need when they run."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from worker import __version__
from worker.cli.backfill import EPILOG, backfill
from worker.cli.bench import app as bench
from worker.cli.convert import convert
from worker.cli.dead_letters import app as dead_letters
from worker.cli.flags import Group, JsonFlag, labels_of, with_settings
from worker.cli.sweep import sweep, verify
from worker.errors import ConfigurationError, ExitCode, Fatal, Permanent, Transient
from worker.settings.settings import Settings

app = typer.Typer(
    name="photo-worker",
    help="Turn photographs into WebP ladders: a Pub/Sub consumer worker and its tools.",
    epilog="Example: photo-worker local ~/Pictures/wedding",
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

_RUN = tuple(Settings.model_fields)
_NEEDED_TO_RUN = ("subscription", "originals_buckets", "renditions_bucket")
_PUBLISH = (
    "project",
    "topic",
    "originals_buckets",
    "storage_emulator_host",
    "pubsub_emulator_host",
)


@app.command(epilog="Example: photo-worker run --subscription photos --http-port 0")
@with_settings(*_RUN)
def run(flags: dict[str, str]) -> None:
    """Consume events until drained (SIGTERM, Ctrl-C); a second signal exits at once."""
    settings = Settings.load(os.environ, flags, need=_NEEDED_TO_RUN)
    from worker.service.daemon import run_and_exit
    from worker.system.machine import read_machine
    from worker.telemetry.logs import configure_logs

    capacity = settings.capacity(read_machine())
    log = configure_logs(settings.log_format, settings.log_level, project=settings.project)
    run_and_exit(settings, capacity, log)


@app.command(epilog="Example: photo-worker plan --vcpus 4 --memory-bytes 8GiB --no-check")
@with_settings(*_RUN)
def plan(
    flags: dict[str, str],
    *,
    as_json: JsonFlag = False,
    check: Annotated[
        bool,
        typer.Option(help="Insist on what `run` needs, and look whether it exists."),
    ] = True,
) -> None:
    """Show what this machine would run, and check settings and resources."""
    settings = Settings.load(os.environ, flags, need=_NEEDED_TO_RUN if check else ())
    from worker.operate import plan as planning
    from worker.system.machine import read_machine

    machine = read_machine()
    planned = planning.plan(settings, machine, settings.capacity(machine))
    if check:
        _check(settings)
        planned["resources"] = "checked"
    if as_json:
        typer.echo(json.dumps(planned, indent=2))
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for label, value in planning.rows(planned):
        table.add_row(label, value)
    Console().print(table)


@app.command(epilog="Example: photo-worker register ./wedding --label album=wedding")
@with_settings(*_PUBLISH)
def register(
    flags: dict[str, str],
    *,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="gs://BUCKET/OBJECT, a file, or a folder; local files are uploaded first.",
        ),
    ],
    photo_id: Annotated[
        str | None, typer.Option(help="The photo id, for a single SOURCE.", show_default=False)
    ] = None,
    version: Annotated[
        int | None,
        typer.Option(
            min=1, help="The version; microseconds of now by default.", show_default=False
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A label for the manifest; repeatable."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Publish a register event for each original."""
    files = any(not each.startswith("gs://") for each in sources)
    need = ("topic", "originals_buckets") if files else ("topic",)
    settings = Settings.load(os.environ, flags, need=need)
    from worker.operate.sources import check_allowed, find_sources

    found = find_sources(sources, photo_id)
    for bucket in sorted({source.bucket for source in found if source.bucket}):
        check_allowed(bucket, settings.originals_buckets)
    uploads = next(iter(settings.originals_buckets), None)
    _publish(
        settings,
        lambda events: events.register(
            found, bucket=uploads, labels=labels_of(label or []), version=version
        ),
        as_json=as_json,
    )


@app.command(epilog="Example: photo-worker deregister hanoi-2026/IMG_0042.jpg")
@with_settings(*_PUBLISH)
def deregister(
    flags: dict[str, str],
    *,
    photo_ids: Annotated[list[str], typer.Argument(metavar="PHOTO_ID...")],
    version: Annotated[
        int | None,
        typer.Option(
            min=1, help="The version; microseconds of now by default.", show_default=False
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Publish a deregister event for each photo."""
    settings = Settings.load(os.environ, flags, need=("topic",))
    _publish(settings, lambda events: events.deregister(photo_ids, version), as_json=as_json)


@app.command(epilog="Example: photo-worker local ~/Pictures/wedding --exit-when-idle")
def local(
    photos: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PHOTOS...]", help="Files or folders; samples without any."),
    ] = None,
    *,
    broker: Annotated[
        str,
        typer.Option(
            help="auto, env, google, docker or embedded. auto takes the first that it finds of: "
            "PUBSUB_EMULATOR_HOST, Google's emulator, its container, the embedded broker."
        ),
    ] = "auto",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The gallery's port; 0: any.")] = 0,
    exit_when_idle: Annotated[
        bool, typer.Option("--exit-when-idle", help="End when every photo has its outcome.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run everything on this machine: broker, GCS server, worker, gallery page."""
    from worker.lab.local.session import LocalOptions, run_local

    options = LocalOptions(
        photos=tuple(photos or ()),
        broker=broker,
        port=port,
        exit_when_idle=exit_when_idle,
        as_json=as_json,
    )
    raise typer.Exit(int(run_local(options, os.environ)))


def _version(asked: bool) -> None:  # noqa: FBT001 (typer's callback protocol)
    if asked:
        typer.echo(f"photo-worker {__version__}")
        raise typer.Exit


app.add_typer(dead_letters, name="dead-letters")
app.add_typer(bench, name="bench")
app.command(epilog=EPILOG)(backfill)
app.command(epilog="Example: photo-worker sweep --dry-run --older-than 1d")(sweep)
app.command(epilog="Example: photo-worker verify --json")(verify)
app.command(epilog="Example: photo-worker convert ~/Pictures ~/web --sizes 640,1280,full")(convert)


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options before the verb."""


def main(verbs: typer.Typer = app, name: str = "photo-worker") -> None:
    """Run a verb of this command line; failures become one clear message and their exit code."""
    if sys.platform == "win32":
        _complain(["it runs on Linux and macOS; on Windows run it in WSL"])
        sys.exit(ExitCode.USAGE)
    # A script's background command starts with SIGINT turned off, and would not give back what it
    # holds.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        # `python -m worker` has the same name, so that completion is installed for the command.
        verbs(prog_name=name)
    except ConfigurationError as error:
        _complain(["the settings are wrong:", *(f"  - {line}" for line in error.problems)])
        sys.exit(error.exit_code)
    except Fatal as error:
        _complain([str(error)])
        sys.exit(error.exit_code)
    except Permanent as error:
        _complain([f"{error.reason}: {error}"])
        sys.exit(ExitCode.USAGE)
    except Transient as error:
        _complain([f"{type(error).__name__}: {error}"])
        sys.exit(ExitCode.UNEXPECTED)


def _complain(lines: list[str]) -> None:
    for line in lines:
        typer.echo(f"photo-worker: {line}" if not line.startswith(" ") else line, err=True)


def _check(settings: Settings) -> None:
    from worker.pubsub.clients import PubSubPublisher
    from worker.wiring import check_resources, open_store, open_subscriber

    store, subscriber = open_store(settings), open_subscriber(settings)
    publisher = PubSubPublisher(settings.pubsub_emulator_host)
    try:
        check_resources(settings, store, publisher, subscriber)
    finally:
        publisher.close()
        subscriber.close()
        store.close()


def _publish(settings: Settings, send: Callable[[Any], Any], *, as_json: bool) -> None:
    """Print what was published; what could not be read goes to standard error, and makes it 7."""
    from worker.console.text import plain
    from worker.operate.publish import EventPublisher, Unread, as_json_text
    from worker.pubsub.clients import PubSubPublisher
    from worker.telemetry.exporters import traced
    from worker.wiring import open_store

    sent, unread = [], 0
    with ExitStack() as stack:
        store, publisher = open_store(settings), PubSubPublisher(settings.pubsub_emulator_host)
        stack.callback(store.close)
        stack.callback(publisher.close)
        sender = traced(publisher, stack)
        try:
            for each in send(EventPublisher(store, sender, settings.topic or "")):
                if isinstance(each, Unread):
                    unread += 1
                    _complain([f"{plain(str(each.file))} {each.message}"])
                    continue
                sent.append(each)
                if not as_json:
                    typer.echo(
                        f"{each.photo_id}  version {each.version}  message {each.message_id}"
                    )
        finally:
            if as_json:
                typer.echo(as_json_text(sent))
    if unread:
        raise typer.Exit(int(ExitCode.SOME_FAILED))


if __name__ == "__main__":
    main()
