"""What the verbs' command lines have in common: help, a flag for each setting, ages, labels."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from worker.render.capacity import MIB
from worker.settings.settings import Settings
from worker.settings.variables import variable

RECIPE = (
    *("ladder", "quality", "encoding", "effort", "full_effort", "target_bytes", "target_quality"),
    *("watermark", "watermark_opacity", "watermark_position", "watermark_scale", "background"),
)
"""The settings that decide the bytes."""

JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


class Group(TyperGroup):
    """Verbs whose help names a flag without its type: `--json` and not `--json <bool>`."""

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401 (typer's private classes)
        """Its own options."""
        return _untyped(super().get_params(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        """The verb of this name, if there is one."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _untyped(command.get_params(ctx))
        return command


def _untyped(options: Any) -> Any:  # noqa: ANN401
    for option in options:
        if getattr(option, "is_flag", False):
            option.metavar = ""
    return options


def _describe(name: str) -> str:
    field = Settings.model_fields[name]
    shown = f"{field.description} [dim]{variable(name)}[/dim]"
    if field.default in (None, ()):
        return shown
    default = f"{field.default // MIB} MiB" if name.endswith("_bytes") else str(field.default)
    default = default.replace(",", ", ")  # a long list needs where to break
    return rf"{shown} [dim]\[default: {default}][/dim]"


def with_settings(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb a flag for each setting named; they arrive as one mapping `flags`."""

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(verb)
        def with_flags(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401
            given = {name: kwargs.pop(name) for name in names}
            flags = {name: value for name, value in given.items() if value is not None}
            verb(*args, flags=flags, **kwargs)

        signature = inspect.signature(verb, eval_str=True)
        own = [each for each in signature.parameters.values() if each.name != "flags"]
        added = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[
                    str | None,
                    typer.Option(
                        f"--{name.replace('_', '-')}",
                        help=_describe(name),
                        metavar="VALUE",
                        show_default=False,
                        rich_help_panel="Settings (override the environment)",
                    ),
                ],
            )
            for name in names
        ]
        with_flags.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        with_flags.__annotations__ = {each.name: each.annotation for each in [*own, *added]}
        return with_flags

    return decorate


_AGE = re.compile(r"([0-9]+)([smhd]?)")
_UNITS = {"": "seconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def age(text: str) -> timedelta:
    """`90s`, `15m`, `1h` or `2d`; a plain number is seconds."""
    match = _AGE.fullmatch(text.strip().lower())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no age; say 90s, 15m, 1h or 2d")
    try:
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    except OverflowError as error:
        raise typer.BadParameter(f"{text!r} is older than anything") from error


def labels_of(pairs: list[str]) -> dict[str, str]:
    """Labels from `KEY=VALUE` texts."""
    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        raise typer.BadParameter(f"{wrong[0]!r} is not KEY=VALUE", param_hint="--label")
    return dict(pair.split("=", 1) for pair in pairs)
