"""The command lines of `photo-worker sweep` and `photo-worker verify`."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Annotated

import typer

from worker.cli.flags import CheckpointFlag, JsonFlag, age, with_settings
from worker.settings.settings import Settings

_SWEEP = ("project", "renditions_bucket", "output_prefix", "storage_emulator_host")
_REPAIR = ("topic", "pubsub_emulator_host")


@with_settings(*_SWEEP, *_REPAIR)
def sweep(
    flags: dict[str, str],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be removed.")
    ] = False,
    older_than: Annotated[
        timedelta,
        typer.Option(
            metavar="AGE",
            parser=age,
            help="Spare younger renditions, which might still be committed: 90s, 15m, 1h, 2d. "
            "Safe at any value; a render that a sweep overtakes begins again.",
        ),
    ] = "1h",  # type: ignore[assignment]
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Strike lost renditions out of their manifests, and register those photos again "
            "(needs the topic).",
        ),
    ] = False,
    checkpoint: CheckpointFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Remove renditions that manifests cannot name any more; report untrue manifests."""
    need = ("renditions_bucket", "topic") if repair else ("renditions_bucket",)
    settings = Settings.load(os.environ, flags, need=need)
    from worker.operate.sweep.run import SweepOptions, run_sweep

    options = SweepOptions(
        older_than=older_than, dry_run=dry_run, repair=repair, checkpoint=checkpoint
    )
    raise typer.Exit(run_sweep(settings, options, as_json=as_json))


@with_settings(*_SWEEP)
def verify(
    flags: dict[str, str],
    *,
    checkpoint: CheckpointFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Check that the renditions of each ready manifest exist with its sizes and checksums."""
    settings = Settings.load(os.environ, flags, need=("renditions_bucket",))
    from worker.operate.sweep.run import run_verify

    raise typer.Exit(run_verify(settings, checkpoint=checkpoint, as_json=as_json))
