"""The command line: `python -m benchmarks.rivals [PHOTOS...]`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.rivals.measure import RivalsOptions, bench_rivals
from worker.cli.bench import RECIPE, Out, Photos, Rounds, open_output, plain_settings
from worker.cli.flags import JsonFlag, with_settings
from worker.cli.main import main
from worker.telemetry.logs import configure_logs

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog="Example: python -m benchmarks.rivals ~/Pictures/wedding --quality-score")
@with_settings(*RECIPE)
def rivals(  # noqa: PLR0913
    flags: dict[str, str],
    *,
    photos: Photos = None,
    rounds: Rounds = 3,
    sharp: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where npm's sharp lies; NODE_PATH or ./node_modules if unset.",
            show_default=False,
        ),
    ] = None,
    quality_score: Annotated[
        bool,
        typer.Option(
            "--quality-score",
            help="SSIMULACRA2 as well, and bytes at equal scores; slow, needs the package.",
        ),
    ] = False,
    score_up_to_px: Annotated[
        int, typer.Option(min=1, metavar="PX", help="The largest rung that is scored.")
    ] = 1280,
    out: Out = None,
    as_json: JsonFlag = False,
) -> None:
    """The same photos and rungs by sharp, Pillow and libvips' own command, in turns."""
    settings = plain_settings(flags)
    output = open_output(as_json=as_json, folder=out)
    options = RivalsOptions(
        photos=tuple(photos or ()),
        rounds=rounds,
        sharp=sharp,
        quality_score=quality_score,
        score_up_to_px=score_up_to_px,
        environment=os.environ,
    )
    log = configure_logs(settings.log_format, settings.log_level)
    raise typer.Exit(int(bench_rivals(settings, options, output, log)))


if __name__ == "__main__":
    main(app, "benchmarks.rivals")
