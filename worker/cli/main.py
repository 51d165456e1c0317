"""The command line: verbs, flags, exit codes. Verbs import what they need when they run."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer

from worker import __version__
from worker.cli.backfill import backfill
from worker.cli.bench import app as bench
from worker.cli.convert import convert
from worker.cli.dead_letters import app as dead_letters
from worker.cli.flags import JsonFlag, VerbGroup, with_settings
from worker.cli.local import local
from worker.cli.register import deregister, register
from worker.cli.sweep import sweep, verify
from worker.console.printer import Printer, complain
from worker.errors import ConfigurationError, ExitCode, Fatal, Permanent, Transient
from worker.settings.settings import Settings

app = typer.Typer(
    name="photo-worker",
    help="Turn photographs into WebP ladders: a Pub/Sub consumer worker and its tools.",
    epilog="Example: photo-worker local ~/Pictures/wedding",
    cls=VerbGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

_RUN = tuple(Settings.model_fields)
_NEEDED_TO_RUN = ("subscription", "originals_buckets", "renditions_bucket")


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
    from worker.operate.plan import run_plan

    run_plan(settings, check=check, as_json=as_json)


def _version(asked: bool) -> None:  # noqa: FBT001 (typer's callback protocol)
    if asked:
        Printer()(f"photo-worker {__version__}")
        raise typer.Exit


app.command(epilog="Example: photo-worker register ./wedding --label album=wedding")(register)
app.command(epilog="Example: photo-worker deregister hanoi-2026/IMG_0042.jpg")(deregister)
app.command(epilog="Example: photo-worker local ~/Pictures/wedding --exit-when-idle")(local)
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(bench, name="bench")
app.command(epilog="Example: photo-worker backfill gs://originals/2026/ --dry-run")(backfill)
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
        complain("it runs on Linux and macOS; on Windows run it in WSL")
        sys.exit(ExitCode.USAGE)
    # A script's background command starts with SIGINT ignored. Without this handler, SIGINT would
    # not end the verb, which would keep its leases.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        # `python -m worker` has the same name, so that completion is installed for the command.
        verbs(prog_name=name)
    except ConfigurationError as error:
        complain("the settings are wrong:", *(f"  - {line}" for line in error.problems))
        sys.exit(error.exit_code)
    except Fatal as error:
        complain(str(error))
        sys.exit(error.exit_code)
    except Permanent as error:
        complain(f"{error.reason}: {error}")
        sys.exit(ExitCode.USAGE)
    except Transient as error:
        complain(f"{type(error).__name__}: {error}")
        sys.exit(ExitCode.UNEXPECTED)


if __name__ == "__main__":
    main()
