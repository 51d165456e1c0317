"""Code that the verbs' command lines share: help, a flag for each setting, ages, labels."""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from worker.errors import UsageFault
from worker.render.capacity import MIB
from worker.settings.settings import Settings
from worker.settings.variables import variable

RECIPE = (
    *("ladder", "quality", "encoding", "effort", "full_effort", "target_bytes", "target_quality"),
    *("watermark", "watermark_opacity", "watermark_position", "watermark_scale", "background"),
)
"""The settings that decide the bytes."""

JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
RateFlag = Annotated[
    float | None, typer.Option(min=0.1, metavar="N", help="Publish N events a second at most.")
]
CheckpointFlag = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Keep the position in this file; an interrupted run goes on from there.",
        show_default=False,
    ),
]


class VerbGroup(TyperGroup):
    """Verbs whose help names a flag without its type: `--json` and not `--json <bool>`."""

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401 (typer's private classes)
        """Return the group's own options."""
        return _untyped(super().get_params(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        """Return the verb of this name, if there is one."""
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
    default = default.replace(",", ", ")  # a long list needs places for line breaks
    return rf"{shown} [dim]\[default: {default}][/dim]"


def with_settings(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb a flag for each setting named; they arrive as one mapping `flags`."""

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(verb)
        def with_flags(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401
            given = {name: kwargs.pop(name) for name in names}
            flags = {name: value for name, value in given.items() if value is not None}
            verb(*args, flags=flags, **kwargs)

        return add_flags(with_flags, verb, map(_flag_of, names), instead_of="flags")

    return decorate


def add_flags(
    wrapper: Any,  # noqa: ANN401 (typer reads attributes that types do not know)
    verb: Callable[..., None],
    flags: Iterable[inspect.Parameter],
    *,
    instead_of: str,
) -> Callable[..., None]:
    """Make the wrapper of a verb show `flags` instead of the verb's parameter `instead_of`."""
    signature = inspect.signature(verb, eval_str=True)
    own = [each for each in signature.parameters.values() if each.name != instead_of]
    parameters = [*own, *flags]
    wrapper.__signature__ = signature.replace(parameters=parameters)
    wrapper.__annotations__ = {each.name: each.annotation for each in parameters}
    return wrapper  # type: ignore[no-any-return]


def _flag_of(setting: str) -> inspect.Parameter:
    option = typer.Option(
        f"--{setting.replace('_', '-')}",
        help=_describe(setting),
        metavar="VALUE",
        show_default=False,
        rich_help_panel="Settings (override the environment)",
    )
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(setting, kind, default=None, annotation=Annotated[str | None, option])


_AGE = re.compile(r"([0-9]+)([smhd]?)")
_UNITS = {"": "seconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def age(text: str) -> timedelta:
    """Parse `90s`, `15m`, `1h` or `2d`; a plain number is seconds."""
    match = _AGE.fullmatch(text.strip().lower())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no age; say 90s, 15m, 1h or 2d")
    try:
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    except OverflowError as error:
        raise typer.BadParameter(f"{text!r} is older than anything") from error


def labels_of(pairs: list[str]) -> dict[str, str]:
    """Return labels from `KEY=VALUE` texts."""
    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        raise typer.BadParameter(f"{wrong[0]!r} is not KEY=VALUE", param_hint="--label")
    return dict(pair.split("=", 1) for pair in pairs)


def check_finite(**numbers: float | None) -> None:
    """Refuse `inf` and `nan`, which typer takes for numbers.

    Raises:
        UsageFault: a number is not finite.
    """
    for name, number in numbers.items():
        if number is not None and not math.isfinite(number):
            raise UsageFault(f"--{name.replace('_', '-')} {number}: must be a finite number")
