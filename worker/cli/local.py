"""The command line of `photo-worker local`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from worker.cli.flags import JsonFlag


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
    raise typer.Exit(run_local(options, os.environ))
