"""The command line of `photo-worker convert`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.flags import RECIPE, JsonFlag, with_settings
from worker.console.printer import Printer
from worker.errors import UsageFault
from worker.photo.globs import Globs, split_globs
from worker.photo.ladder import Ladder
from worker.photo.looks import OutputFormat
from worker.settings.settings import Settings

_SETTINGS = (
    *RECIPE,
    *("vcpus", "memory_bytes", "max_original_bytes", "max_original_pixels"),
    *("render_timeout_seconds", "log_format", "log_level"),
)


def _named(text: str) -> Path:
    """Return a path; refuse an empty one, which would be the current folder (an empty variable)."""
    if not text:
        raise UsageFault("a name is empty: write . for the current folder")
    return Path(text)


def _sizes(text: str) -> Ladder:
    """Return a ladder of exactly the named sizes."""
    try:
        return Ladder.exactly(text)
    except ValueError as error:
        raise UsageFault(f"--sizes {text}: {error}") from error


_GLOB = "repeatable, or a comma list; `*.jpg` is about any folder, `/2026/**` about one."


@with_settings(*_SETTINGS)
def convert(  # noqa: PLR0913 (one flag each)
    flags: dict[str, str],
    *,
    source: Annotated[
        Path, typer.Argument(parser=_named, metavar="IN", help="A folder, or one file.")
    ],
    output: Annotated[
        Path,
        typer.Argument(parser=_named, metavar="OUT", help="The folder that renditions go to."),
    ],
    sizes: Annotated[
        Ladder | None,
        typer.Option(
            parser=_sizes,
            metavar="LIST",
            help="Just these sizes, in place of the ladder: `full`, `1280` or `320,1280,full`. "
            "One size alone is called IN's name with `.webp` behind it, without a folder.",
            show_default=False,
        ),
    ] = None,
    output_format: Annotated[
        OutputFormat,
        typer.Option("--format", case_sensitive=False, metavar="webp|png", help="What is written."),
    ] = "webp",
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help=f"Only these names; {_GLOB}", show_default=False),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help=f"None of these names; {_GLOB}", show_default=False),
    ] = None,
    keep_smaller: Annotated[
        bool,
        typer.Option(
            "--keep-smaller",
            help="Where the largest rendition would have more bytes than the original and no "
            "fewer pixels, copy the original instead, with all its metadata.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Convert N at most.", show_default=False),
    ] = None,
    summary: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="In place of OUT/summary.json.", show_default=False),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a page with charts too.", show_default=False),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Convert a folder of pictures to a folder of WebP, without any cloud; resumable."""
    settings = Settings.load(os.environ, flags)
    from worker.convert.options import ConvertOptions
    from worker.convert.run import run_convert

    if output_format == "png" and (settings.target_bytes or settings.target_quality):
        raise UsageFault(
            "PNG is without loss and meets no target: drop --format png, or --target-*"
        )
    options = ConvertOptions(
        source=source,
        output=output,
        sizes=sizes,
        output_format=output_format,
        globs=_globs(include, exclude),
        keep_smaller=keep_smaller,
        dry_run=dry_run,
        limit=limit,
        summary=summary,
        report=report,
        as_json=as_json,
    )
    raise typer.Exit(run_convert(settings, options, Printer()))


def _globs(include: list[str] | None, exclude: list[str] | None) -> Globs:
    try:
        chosen, left_out = (
            tuple(glob for text in texts or () for glob in split_globs(text))
            for texts in (include, exclude)
        )
        return Globs(include=chosen, exclude=left_out)
    except ValueError as error:
        raise UsageFault(str(error)) from error
