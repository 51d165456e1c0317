"""The command line of `photo-worker bench`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.flags import JsonFlag, VerbGroup, with_settings
from worker.errors import ConfigurationError
from worker.settings.settings import Settings
from worker.settings.variables import variable

if TYPE_CHECKING:
    from worker.lab.bench.report import ReportOutput

app = typer.Typer(
    help="Measure this machine and this worker on it.",
    epilog="Example: photo-worker bench render ~/Pictures/wedding",
    cls=VerbGroup,
    no_args_is_help=True,
)

RECIPE = ("ladder", "quality", "encoding", "effort", "full_effort")

Photos = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PHOTOS...]", help="Files or folders; samples without any."),
]
Rounds = Annotated[
    int, typer.Option(min=1, metavar="N", help="Rounds in turns; figures are their medians.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Write report.json and charts (SVG) there as well.",
        show_default=False,
    ),
]


@app.command(epilog="Example: photo-worker bench render ~/Pictures/wedding --out report")
@with_settings(*RECIPE)
def render(
    flags: dict[str, str],
    *,
    photos: Photos = None,
    rounds: Rounds = 3,
    out: Out = None,
    as_json: JsonFlag = False,
) -> None:
    """What a render costs by stage and rung, and how much of it is not encoding."""
    settings = plain_settings(flags)
    output = open_output(as_json=as_json, folder=out)
    from worker.lab.bench.render import bench_render
    from worker.telemetry.logs import configure_logs

    log = configure_logs(settings.log_format, settings.log_level)
    raise typer.Exit(int(bench_render(settings, photos or (), rounds, output, log)))


@app.command(epilog="Example: photo-worker bench worker --vcpus 1,2 --latency-ms 0,50")
@with_settings(*RECIPE, "in_flight_per_vcpu", "memory_bytes")
def worker(  # noqa: PLR0913
    flags: dict[str, str],
    *,
    photos: Photos = None,
    rounds: Rounds = 3,
    vcpus: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="A worker for each number of render slots, in turns; the machine's if unset.",
            show_default=False,
        ),
    ] = None,
    latency_ms: Annotated[
        str,
        typer.Option(
            metavar="LIST", help="Milliseconds that every storage request takes longer, in turns."
        ),
    ] = "0",
    events: Annotated[
        int, typer.Option(min=1, metavar="N", help="Tiny events of each kind in a round.")
    ] = 40,
    broker: Annotated[
        str, typer.Option(help="auto, env, google, docker or embedded; see `local`.")
    ] = "auto",
    out: Out = None,
    as_json: JsonFlag = False,
) -> None:
    """Throughput, utilisation, and the cost of events of real workers on this machine."""
    settings = plain_settings(flags)
    output = open_output(as_json=as_json, folder=out)
    from worker.lab.bench.figures import counts
    from worker.lab.bench.worker import WorkerOptions, bench_worker
    from worker.system.machine import read_machine
    from worker.telemetry.logs import configure_logs

    options = WorkerOptions(
        photos=tuple(photos or ()),
        rounds=rounds,
        vcpus=counts(vcpus or str(read_machine().vcpus), "--vcpus", least=1),
        latencies_ms=counts(latency_ms, "--latency-ms", least=0),
        events=events,
        broker=broker,
        environment=os.environ,
        settings={variable(name): text for name, text in flags.items()},
    )
    log = configure_logs(settings.log_format, settings.log_level)
    raise typer.Exit(int(bench_worker(settings, options, output, log)))


def open_output(*, as_json: bool, folder: Path | None) -> ReportOutput:
    """Return the report's output; check the folder first, because measuring may take hours."""
    from worker.lab.bench.report import ReportOutput

    output = ReportOutput(as_json=as_json, folder=folder)
    output.make_folder()
    return output


def plain_settings(flags: dict[str, str]) -> Settings:
    """Return settings whose recipe is a plain ladder; `bench` measures only such recipes.

    Raises:
        ConfigurationError: the settings ask for more than a plain ladder, or are wrong.
    """
    settings = Settings.load(os.environ, flags)
    more = ("target_bytes", "target_quality", "watermark", "background")
    if given := [name for name in more if getattr(settings, name) is not None]:
        raise ConfigurationError(
            [f"{variable(name)}: `bench` measures plain ladders; unset it" for name in given]
        )
    return settings
