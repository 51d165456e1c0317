"""The command line of `photo-worker dead-letters`."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from worker.cli.flags import (
    RECIPE,
    JsonFlag,
    RateFlag,
    VerbGroup,
    add_flags,
    age,
    check_finite,
    labels_of,
    with_settings,
)
from worker.photo.dead_letter import Filter
from worker.settings.settings import Settings

app = typer.Typer(
    help="Look at dead letters, understand them, send them back.",
    epilog="Example: photo-worker dead-letters list",
    cls=VerbGroup,
    no_args_is_help=True,
)

_READ = ("project", "dead_letter_subscription", "pubsub_emulator_host", "log_format", "log_level")
_PHOTO = ("originals_buckets", "renditions_bucket", "output_prefix", "storage_emulator_host")
_RENDER = (*RECIPE, "max_original_bytes", "max_original_pixels", "render_timeout_seconds")
_BY = "Which dead letters (all conditions must hold)"


def _meant(  # noqa: PLR0913
    *,
    ids: Annotated[
        list[str] | None,
        typer.Option("--id", metavar="ID", help="Its message id; repeatable.", rich_help_panel=_BY),
    ] = None,
    reason: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REASON",
            help="The worker's reason, or `undeliverable` where Pub/Sub gave up; repeatable.",
            rich_help_panel=_BY,
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--type", metavar="TYPE", help="The event's type; repeatable.", rich_help_panel=_BY
        ),
    ] = None,
    photo_id: Annotated[
        str | None,
        typer.Option(
            metavar="GLOB",
            help="Photo ids such as 'hanoi-2026/*'; `*` also crosses slashes.",
            rich_help_panel=_BY,
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A label of the event.", rich_help_panel=_BY),
    ] = None,
    message: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Part of the error message.", rich_help_panel=_BY),
    ] = None,
    older_than: Annotated[
        timedelta | None,
        typer.Option(
            metavar="AGE", parser=age, help="Dead for longer than this.", rich_help_panel=_BY
        ),
    ] = None,
    newer_than: Annotated[
        timedelta | None,
        typer.Option(
            metavar="AGE", parser=age, help="Dead for less than this.", rich_help_panel=_BY
        ),
    ] = None,
) -> Filter:
    return Filter(
        ids=frozenset(ids or ()),
        reasons=frozenset(reason or ()),
        types=frozenset(kind or ()),
        photo_id=photo_id,
        labels=labels_of(label or []),
        text=message,
        older_than=older_than,
        newer_than=newer_than,
    )


def _with_filter(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the flags that choose dead letters; they arrive as one `Filter`, `meant`."""
    chosen = inspect.signature(_meant, eval_str=True).parameters

    @functools.wraps(verb)
    def with_filter(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        verb(*args, meant=_meant(**{name: kwargs.pop(name) for name in chosen}), **kwargs)

    return add_flags(with_filter, verb, chosen.values(), instead_of="meant")


@app.command("list", epilog="Example: photo-worker dead-letters list --newer-than 1d")
@with_settings(*_READ)
@_with_filter
def list_letters(flags: dict[str, str], meant: Filter, *, as_json: JsonFlag = False) -> None:
    """Count dead letters by reason, type, worker and error; all of them stay where they are."""
    settings = Settings.load(os.environ, flags, need=("dead_letter_subscription",))
    from worker.operate.dead_letters.verbs import run_list

    raise typer.Exit(run_list(settings, meant, as_json=as_json))


@app.command(epilog="Example: photo-worker dead-letters show 1763769600000001")
@with_settings(*_READ, *_PHOTO, *_RENDER)
def show(
    flags: dict[str, str],
    *,
    wanted: Annotated[
        str, typer.Argument(metavar="ID", help="A dead letter's message id, or a photo id.")
    ],
    as_json: JsonFlag = False,
) -> None:
    """Show a dead letter, its original, its manifest, and what a replay would do."""
    settings = Settings.load(os.environ, flags, need=("dead_letter_subscription",))
    from worker.operate.dead_letters.verbs import run_show

    raise typer.Exit(run_show(settings, wanted, as_json=as_json))


@app.command(
    epilog="Example: photo-worker dead-letters replay --reason corrupt_original --canary 3"
)
@with_settings(*_READ, "topic", *_PHOTO)
@_with_filter
def replay(  # noqa: PLR0913
    flags: dict[str, str],
    meant: Filter,
    *,
    archive: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="An archive of `purge` instead."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Replay N letters at most.")
    ] = None,
    rate: RateFlag = None,
    canary: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Replay N letters first, and stop if they fail again (by their manifests).",
        ),
    ] = 0,
    canary_seconds: Annotated[
        float,
        typer.Option(min=1, metavar="SECONDS", help="How long to wait for their outcomes."),
    ] = 300,
    max_replays: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Leave letters that were replayed N times already."),
    ] = 3,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Send dead letters back to the topic: publish, confirm, and only then take them away."""
    check_finite(rate=rate, canary_seconds=canary_seconds)
    need = ["topic"]
    if archive is None:
        need.append("dead_letter_subscription")
    if canary:
        need += ["originals_buckets", "renditions_bucket"]
    settings = Settings.load(os.environ, flags, need=tuple(need))
    from worker.operate.dead_letters.verbs import ReplayOptions, run_replay

    options = ReplayOptions(
        archive=archive,
        limit=limit,
        rate=rate,
        canary=canary,
        canary_seconds=canary_seconds,
        max_replays=max_replays,
        dry_run=dry_run,
    )
    raise typer.Exit(run_replay(settings, meant, options, as_json=as_json))


@app.command(epilog="Example: photo-worker dead-letters purge --reason original_missing")
@with_settings(*_READ)
@_with_filter
def purge(
    flags: dict[str, str],
    meant: Filter,
    *,
    archive: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The file that keeps them; dead-letters-TIME.jsonl if unset."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Delete dead letters for good, after each was written to an archive."""
    settings = Settings.load(os.environ, flags, need=("dead_letter_subscription",))
    from worker.operate.dead_letters.verbs import run_purge

    raise typer.Exit(run_purge(settings, meant, archive, ask=not yes, as_json=as_json))
