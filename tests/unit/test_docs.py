"""The docs say what is true: settings, verbs, reasons and exit codes are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer import Typer
from typer.models import CommandInfo

from worker.cli.main import app
from worker.errors import ExitCode, Reason
from worker.operate.dead_letters.forecast import Replayed
from worker.photo.dead_letter import UNDELIVERABLE
from worker.photo.manifest import Manifest, State
from worker.settings.settings import Settings
from worker.settings.variables import variable

ROOT = Path(__file__).parents[2]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "deploy" / "README.md"]
CONTRACT = (ROOT / "docs" / "contract.md").read_text()


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next."""
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def first_column(text: str) -> list[str]:
    return re.findall(r"^\| `?([^|`]+?)`? \|", text, flags=re.MULTILINE)


def test_every_setting_is_documented_with_its_default() -> None:
    rows = dict(
        re.findall(
            r"^\| `([A-Z_]+)` \| `?([^|`]*?)`? \|",
            (ROOT / "docs" / "settings.md").read_text(),
            flags=re.MULTILINE,
        )
    )
    assert list(rows) == [variable(name) for name in Settings.model_fields]
    for name, field in Settings.model_fields.items():
        shown = rows[variable(name)].strip()
        if shown in ("", "auto"):
            assert field.default in (None, (), "auto"), name
        else:
            assert getattr(Settings.load({}, {name: shown}), name) == field.default, name


def test_every_room_is_on_the_map() -> None:
    table = (ROOT / "docs" / "architecture.md").read_text()
    rooms = {path.stem for path in (ROOT / "worker").glob("[a-z]*")}
    assert {room for room in rooms if f"\n| `{room}` | " not in table} == set()


def test_every_setting_named_anywhere_exists() -> None:
    known = {variable(name) for name in Settings.model_fields}
    for document in DOCS:
        named = set(re.findall(r"\bWORKER_[A-Z_]+\b", document.read_text()))
        assert named <= known, document


def test_the_settings_of_the_readme_are_all_that_the_verbs_need() -> None:
    block = section((ROOT / "README.md").read_text(), "Run it")
    environment = dict(re.findall(r"^    export ([A-Z_]+)=(\S+)$", block, flags=re.MULTILINE))
    verbs_of = "".join(path.read_text() for path in (ROOT / "worker" / "cli").glob("*.py"))
    tuples = re.findall(r"(?:need|_NEEDED_TO_RUN) ?= ?\((.*?)\)", verbs_of)
    needed = set(re.findall(r'"(\w+)"', "".join(tuples)))
    assert {"topic", "subscription", "dead_letter_subscription", "renditions_bucket"} <= needed
    Settings.load(environment, need=tuple(sorted(needed)))


def verbs(typer_app: Typer, before: str = "") -> dict[str, CommandInfo]:
    """Every command by its full name, those of sub-commands too."""
    found = {}
    for command in typer_app.registered_commands:
        assert command.callback is not None
        found[before + str(command.name or command.callback.__name__)] = command
    for group in typer_app.registered_groups:
        assert group.typer_instance is not None
        found |= verbs(group.typer_instance, f"{before}{group.name} ")
    return found


def test_every_verb_is_documented() -> None:
    documented = first_column(section(CONTRACT, "Verbs"))
    assert sorted(documented) == sorted(["verb", *verbs(app)])
    assert "dead-letters replay" in documented


def test_every_verb_has_an_example() -> None:
    for name, command in verbs(app).items():
        assert str(command.epilog).startswith(f"Example: photo-worker {name}"), name


def test_every_reason_has_its_remedy() -> None:
    runbook = (ROOT / "docs" / "operations.md").read_text()
    reasons = {reason.value for reason in Reason} | {UNDELIVERABLE}
    assert {reason for reason in reasons if f"`{reason}`" not in runbook} == set()
    assert {each.value for each in Replayed if f"`{each.value}`" not in runbook} == set()


def test_every_reason_and_state_is_documented() -> None:
    assert {reason.value for reason in Reason} <= set(first_column(section(CONTRACT, "Failures")))
    assert {state.value for state in State} <= set(first_column(section(CONTRACT, "Manifest")))


def test_every_exit_code_is_documented() -> None:
    documented = first_column(section(CONTRACT, "Exit codes"))
    assert documented == ["code", *(str(int(code)) for code in ExitCode), "128 + n"]


def test_every_manifest_field_is_in_the_documented_example() -> None:
    example = section(CONTRACT, "Manifest")
    for name, field in Manifest.model_fields.items():
        assert f'"{field.alias or name}":' in example


@pytest.mark.parametrize("document", DOCS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target
