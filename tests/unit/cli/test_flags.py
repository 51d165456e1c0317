"""Flags that verbs share: a flag for each setting, ages, labels."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from worker.cli.flags import age, check_finite, labels_of, with_settings
from worker.errors import UsageFault


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", timedelta(seconds=90)),
        ("90s", timedelta(seconds=90)),
        (" 15M ", timedelta(minutes=15)),
        ("1h", timedelta(hours=1)),
        ("2d", timedelta(days=2)),
        ("0", timedelta()),
    ],
)
def test_ages(text: str, expected: timedelta) -> None:
    assert age(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "-1", "1.5h", "1h30m", "1w", "²d", "9" * 30 + "d"])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        age(text)


def test_labels() -> None:
    assert labels_of([]) == {}
    assert labels_of(["a=b", "c=", "d=e=f"]) == {"a": "b", "c": "", "d": "e=f"}
    with pytest.raises(typer.BadParameter, match="'album' is not KEY=VALUE"):
        labels_of(["a=b", "album"])


@pytest.mark.parametrize("number", [math.inf, math.nan])
def test_a_number_that_is_not_finite_is_refused(number: float) -> None:
    check_finite(rate=None, seconds=1.0)
    with pytest.raises(UsageFault, match=r"--canary-seconds (inf|nan): must be a finite number"):
        check_finite(canary_seconds=number)


def test_a_verb_gets_the_settings_that_were_given_and_keeps_its_own_flags() -> None:
    app = typer.Typer()
    got: list[Any] = []

    @app.command()
    @with_settings("quality", "output_prefix")
    def verb(flags: dict[str, str], name: str, *, dry_run: bool = False) -> None:
        got.append((flags, name, dry_run))

    run = CliRunner().invoke
    assert run(app, ["--quality", "7", "x", "--dry-run"]).exit_code == 0
    assert run(app, ["y", "--output-prefix", ""]).exit_code == 0
    assert got == [({"quality": "7"}, "x", True), ({"output_prefix": ""}, "y", False)]
    shown = run(app, ["--help"]).output
    assert "WORKER_QUALITY" in shown
    assert "--subscription" not in shown
