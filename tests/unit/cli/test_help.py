"""What `--help` and completion give, of every verb and group."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from worker.cli.main import app
from worker.settings.settings import Settings


def pages(typer_app: Typer, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every verb and group; the program itself has none."""
    yield before
    for command in typer_app.registered_commands:
        assert command.callback is not None
        yield (*before, str(command.name or command.callback.__name__))
    for group in typer_app.registered_groups:
        assert group.typer_instance is not None
        yield from pages(group.typer_instance, (*before, str(group.name)))


PAGES = list(pages(app))


def help_of(*words: str) -> str:
    """The page, without the colours that it has where CI forces them."""
    result = CliRunner().invoke(app, [*words, "--help"], prog_name="photo-worker")
    assert result.exit_code == 0, result.output
    return re.sub(r"\x1b\[[0-9;]*m", "", result.output)


@pytest.mark.parametrize("words", PAGES, ids=" ".join)
def test_each_page_has_an_example_and_flags_without_a_type(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = help_of(*words)
    assert " ".join(("Example: photo-worker", *words)) in shown
    assert "--help" in shown
    assert "<bool>" not in shown


def test_settings_show_their_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    lines = {
        line.split()[1]: line for line in help_of("run").splitlines() if len(line.split()) > 1
    }  # by flag
    for name, field in Settings.model_fields.items():
        line = lines[f"--{name.replace('_', '-')}"]
        assert ("[default: " in line) == (field.default not in (None, ())), name
    assert "WORKER_QUALITY [default: 80]" in lines["--quality"]
    assert "[default: 64 MiB]" in lines["--max-original-bytes"]
    assert "[default: photos/]" in lines["--output-prefix"]


def test_there_are_groups_and_verbs_of_groups_among_the_pages() -> None:
    assert {(), ("run",), ("bench",), ("dead-letters", "list")} <= set(PAGES)


def run(home: Path, *arguments: str, **variables: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "worker", *arguments],
        env=os.environ | {"HOME": str(home)} | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return ended.stdout


def test_a_shell_completes_verbs_and_flags(tmp_path: Path) -> None:
    def completed(line: str) -> list[str]:
        words = line.split(" ")
        return run(
            tmp_path,
            _PHOTO_WORKER_COMPLETE="complete_bash",
            COMP_WORDS=line,
            COMP_CWORD=str(len(words) - 1),
        ).split()

    assert completed("photo-worker dead") == ["dead-letters"]
    assert completed("photo-worker dead-letters re") == ["replay"]
    assert completed("photo-worker convert --keep") == ["--keep-smaller"]
    assert list(tmp_path.iterdir()) == [], "completion is installed only when it is asked for"


def test_completion_is_installed_for_the_command(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        *("--install-completion", "bash"),
        _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1",
    )
    script = tmp_path / ".bash_completions" / "photo-worker.sh"
    assert str(script) in said
    assert script.read_text().rstrip().endswith("_photo_worker_completion photo-worker")
    assert str(script) in (tmp_path / ".bashrc").read_text()
