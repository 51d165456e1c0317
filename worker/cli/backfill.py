"""The command line of `photo-worker backfill`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from worker.cli.flags import (
    RECIPE,
    CheckpointFlag,
    JsonFlag,
    RateFlag,
    check_finite,
    with_settings,
)
from worker.errors import ConfigurationError, UsageFault
from worker.photo.globs import Globs, split_globs
from worker.settings.settings import Settings

_SETTINGS = (
    *("project", "topic", "originals_buckets", "renditions_bucket", "output_prefix"),
    *RECIPE,
    *("max_original_pixels", "render_timeout_seconds", "memory_bytes"),
    *("storage_emulator_host", "pubsub_emulator_host", "log_format", "log_level"),
)
_WHICH = "Which originals"
_ESTIMATE = "The estimate of --dry-run"


@with_settings(*_SETTINGS)
def backfill(  # noqa: PLR0913
    flags: dict[str, str],
    *,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="gs://BUCKET, gs://BUCKET/PREFIX, or a folder, whose pictures are uploaded first.",
        ),
    ],
    stale: Annotated[
        bool,
        typer.Option(
            "--stale", help="Only photos with an outdated manifest.", rich_help_panel=_WHICH
        ),
    ] = False,
    only_missing: Annotated[
        bool,
        typer.Option(
            "--only-missing", help="Only photos without a manifest.", rich_help_panel=_WHICH
        ),
    ] = False,
    rejected: Annotated[
        bool,
        typer.Option(
            "--rejected", help="Also photos that were refused before.", rich_help_panel=_WHICH
        ),
    ] = False,
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Names to take, such as '*.{jpg,heic}'; repeatable; in place of WORKER_INCLUDE.",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Names to leave, such as 'drafts/'; repeatable; in place of WORKER_EXCLUDE.",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Publish N events at most in this run.")
    ] = None,
    max_events: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Stop with exit code 7 before the run and its earlier parts publish more.",
        ),
    ] = 1_000_000,
    rate: RateFlag = None,
    checkpoint: CheckpointFlag = None,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Wait for all outcomes; 7 if a photo is rejected."),
    ] = False,
    wait_seconds: Annotated[
        float,
        typer.Option(
            min=1,
            metavar="SECONDS",
            help="With --wait: give up after so long without an outcome.",
        ),
    ] = 900,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only count and estimate."),
    ] = False,
    sample: Annotated[
        int,
        typer.Option(
            min=0,
            max=1000,
            metavar="N",
            help="Originals to decode for it; 0 skips the estimate.",
            rich_help_panel=_ESTIMATE,
        ),
    ] = 20,
    fleet_vcpus: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="vCPUs that would run.", rich_help_panel=_ESTIMATE),
    ] = 4,
    vcpu_price: Annotated[
        float,
        typer.Option(
            min=0, metavar="DOLLARS", help="Price of a vCPU for an hour.", rich_help_panel=_ESTIMATE
        ),
    ] = 0.0125,
    write_price: Annotated[
        float,
        typer.Option(
            min=0, metavar="DOLLARS", help="Price of 1,000 writes.", rich_help_panel=_ESTIMATE
        ),
    ] = 0.005,
    read_price: Annotated[
        float,
        typer.Option(
            min=0, metavar="DOLLARS", help="Price of 1,000 reads.", rich_help_panel=_ESTIMATE
        ),
    ] = 0.0004,
    as_json: JsonFlag = False,
) -> None:
    """Publish a register event for each original whose photo is missing or out of date."""
    if stale and only_missing:
        raise UsageFault("--stale and --only-missing exclude each other; take one of them")
    check_finite(
        rate=rate,
        wait_seconds=wait_seconds,
        vcpu_price=vcpu_price,
        write_price=write_price,
        read_price=read_price,
    )
    globs = {"include": include, "exclude": exclude}
    given = {name: _joined(name, each) for name, each in globs.items() if each is not None}
    need = ("renditions_bucket",) if dry_run else ("topic", "renditions_bucket")
    settings = Settings.load(os.environ, {**flags, **given}, need=need)
    others = {name: text for name, text in flags.items() if name not in RECIPE}
    usual = Settings.load(os.environ, {**others, **given}) if others != flags else None
    from worker.operate.backfill.comparison import wanted
    from worker.operate.backfill.estimate import Prices
    from worker.operate.backfill.publishing import BackfillOptions
    from worker.operate.backfill.run import BackfillRequest, run_backfill

    request = BackfillRequest(
        source=source,
        options=BackfillOptions(
            wanted=wanted(stale=stale, only_missing=only_missing, rejected=rejected),
            limit=limit,
            max_events=max_events,
            rate=rate,
            dry_run=dry_run,
        ),
        checkpoint=checkpoint,
        sample=sample,
        prices=Prices(
            vcpus=fleet_vcpus,
            vcpu_hour=vcpu_price,
            thousand_writes=write_price,
            thousand_reads=read_price,
        ),
        wait_seconds=wait_seconds if wait else None,
        usual=usual,
    )
    raise typer.Exit(run_backfill(settings, request, as_json=as_json))


def _joined(name: str, given: list[str]) -> str:
    """Return the comma list of a repeated flag.

    Each value is checked alone: `--include '{a' --include 'b}'` joined would be one valid glob.
    """
    for each in given:
        try:
            Globs(include=split_globs(each))
        except ValueError as error:
            raise ConfigurationError([f"--{name} {each!r}: {error}"]) from error
    return ",".join(given)
