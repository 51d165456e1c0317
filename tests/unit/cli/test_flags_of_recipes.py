"""What verbs make of settings that decide the bytes: all of them, or a refusal with its reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from worker.cli.flags import RECIPE
from worker.cli.main import app
from worker.errors import ConfigurationError, UsageFault
from worker.operate.plan import plan
from worker.photo.looks import Looks
from worker.photo.recipe import Recipe
from worker.settings.settings import Settings
from worker.system.machine import Machine

OWN = {"looks", "codec", "format"}
"""Parts of a recipe without a setting: the libraries decide, and the verb `convert`."""


def failure(*arguments: str) -> BaseException | None:
    return CliRunner().invoke(app, list(arguments)).exception


def test_the_flags_of_recipes_are_all_that_decides_the_bytes() -> None:
    parts = {*Recipe.__dataclass_fields__, *Looks.__dataclass_fields__} - OWN
    assert parts <= set(RECIPE)
    assert all(name in Settings.model_fields for name in RECIPE)


@pytest.mark.parametrize(
    "setting", [("--target-bytes", "100k"), ("--target-quality", "70")], ids=lambda pair: pair[0]
)
def test_png_meets_no_target(setting: tuple[str, str], tmp_path: Path) -> None:
    error = failure("convert", str(tmp_path), str(tmp_path / "out"), "--format", "PNG", *setting)
    assert isinstance(error, UsageFault)
    assert "drop --format png" in str(error)


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [
        ("--sizes", "huge", "photo-worker: --sizes huge: "),
        ("--format", "jpeg", "'jpeg' is not one of 'webp', 'png'"),
    ],
)
def test_sizes_and_formats_are_checked(tmp_path: Path, flag: str, value: str, says: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "worker", "convert", tmp_path, tmp_path / "out", flag, value],
        env=os.environ | {"COLUMNS": "200"},
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert says in ended.stderr


@pytest.mark.parametrize("verb", ["render", "worker"])
def test_bench_measures_plain_ladders_only(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_TARGET_QUALITY", "70")
    monkeypatch.setenv("WORKER_BACKGROUND", "#ffffff")
    error = failure("bench", verb)
    assert isinstance(error, ConfigurationError)
    assert [line.partition(":")[0] for line in error.problems] == [
        "WORKER_TARGET_QUALITY",
        "WORKER_BACKGROUND",
    ]


def test_a_plan_expects_fewer_photos_where_rungs_have_a_target_quality() -> None:
    machine = Machine(vcpus=2, memory_bytes=4 << 30)

    def expected(**environment: str) -> int:
        settings = Settings.load(environment)
        found = plan(settings, machine, settings.capacity(machine))["expected_photos_an_hour"]
        assert isinstance(found, int)
        return found

    assert 0 < 2 * expected(WORKER_TARGET_QUALITY="70") < expected()
    assert expected(WORKER_TARGET_BYTES="9k") == expected()
