"""The command lines of `photo-worker register` and `photo-worker deregister`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from worker.cli.flags import JsonFlag, labels_of, with_settings
from worker.settings.settings import Settings

_SETTINGS = (
    *("project", "topic", "originals_buckets"),
    *("storage_emulator_host", "pubsub_emulator_host"),
)

VersionFlag = Annotated[
    int | None,
    typer.Option(min=1, help="The version; microseconds of now by default.", show_default=False),
]


@with_settings(*_SETTINGS)
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
    version: VersionFlag = None,
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
    from worker.operate.register import run_register

    code = run_register(
        settings,
        sources,
        photo_id=photo_id,
        labels=labels_of(label or []),
        version=version,
        as_json=as_json,
    )
    raise typer.Exit(code)


@with_settings(*_SETTINGS)
def deregister(
    flags: dict[str, str],
    *,
    photo_ids: Annotated[list[str], typer.Argument(metavar="PHOTO_ID...")],
    version: VersionFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Publish a deregister event for each photo."""
    settings = Settings.load(os.environ, flags, need=("topic",))
    from worker.operate.register import run_deregister

    raise typer.Exit(run_deregister(settings, photo_ids, version=version, as_json=as_json))
