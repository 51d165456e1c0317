"""What deploys the worker says what it is: settings, metrics, log lines, time-outs, alerts."""

from __future__ import annotations

import importlib
import json
import operator
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from worker.cli import main as cli
from worker.photo.manifest import Manifest, State
from worker.photo.outcome import Effect, outcome_event
from worker.settings.settings import Settings
from worker.settings.variables import variable
from worker.telemetry import metrics
from worker.telemetry.entry import CloudEntry, json_line
from worker.telemetry.metrics import NACKED

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
TERRAFORM = DEPLOY / "terraform"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
MADE_OF = [
    path
    for path in sorted(DEPLOY.rglob("*"))
    if path.is_file() and ".terraform" not in path.parts and not path.name.startswith("lint-")
]

WATCHED = [
    ROOT / "docs" / "operations.md",
    DEPLOY / "grafana" / "photo-worker.json",
]


def terraform(name: str) -> str:
    return (TERRAFORM / name).read_text()


def number(text: str, name: str) -> float:
    """A local's or a unit's value, as in `drain_seconds = 20`."""
    found = re.search(rf"\b{name}\s*=\s*([0-9.]+)", text)
    assert found, name
    return float(found[1])


def test_the_workflow_imports_what_there_is() -> None:
    imports = re.findall(r"from (worker[\w.]+) import (\w+)", WORKFLOW)
    assert imports
    for module, name in imports:
        assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("path", MADE_OF, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_setting_exists(path: Path) -> None:
    known = {variable(name) for name in Settings.model_fields}
    named = set(re.findall(r"\bWORKER_[A-Z_]+\b", path.read_text()))
    assert named <= known


def test_the_worker_takes_what_terraform_sets() -> None:
    environment = (
        terraform("workers.tf").split("environment = merge(", 1)[1].split("user_data", 1)[0]
    )
    given = dict.fromkeys(re.findall(r"^ +(WORKER_\w+|GOOGLE_\w+) +=", environment, re.MULTILINE))
    values = {
        "GOOGLE_CLOUD_PROJECT": "example",
        "WORKER_SUBSCRIPTION": "projects/example/subscriptions/photos",
        "WORKER_DEAD_LETTER_TOPIC": "projects/example/topics/photos-dead-letters",
        "WORKER_OUTCOME_TOPIC": "projects/example/topics/photos-outcomes",
        "WORKER_ORIGINALS_BUCKETS": "example-photos-originals,another",
        "WORKER_RENDITIONS_BUCKET": "example-photos-renditions",
        "WORKER_OUTPUT_PREFIX": "photos/",
        "WORKER_LOG_FORMAT": "json",
        "WORKER_HTTP_PORT": "8080",
        "WORKER_DRAIN_SECONDS": "20",
        "WORKER_PREEMPTION_NOTICE": "on",
    }
    # Those two differ between machines and Cloud Run, and are added there.
    assert {*given, "WORKER_DRAIN_SECONDS", "WORKER_PREEMPTION_NOTICE"} == set(values)
    Settings.load({**values, "WORKER_VCPUS": "4", "WORKER_MEMORY_BYTES": "8192MiB"})


def test_a_drain_fits_into_what_a_spot_machine_has_left() -> None:
    workers = terraform("workers.tf")
    drain = number(workers, "drain_seconds")
    docker = number(workers, "docker_stop_seconds")
    unit = number(workers, "unit_stop_seconds")
    assert drain == Settings.model_fields["drain_seconds"].default
    assert drain + 3 <= docker < unit < number(workers, "spot_notice_seconds") == 30
    table = (ROOT / "docs" / "deploy.md").read_text().split("## Machines that vanish", 1)[1]
    told = [int(cell) for cell in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)]
    assert told == [0, drain, docker, unit, 30]


def test_a_drain_fits_into_what_cloud_run_and_compose_grant() -> None:
    assert number(terraform("cloud-run.tf"), "cloud_run_drain_seconds") <= 10 - 3
    grace = re.search(r"stop_grace_period: (\d+)s", (DEPLOY / "compose.yaml").read_text())
    assert grace
    assert int(grace[1]) >= Settings.model_fields["drain_seconds"].default + 5


def test_the_unit_stops_as_planned() -> None:
    sample = runpy.run_path(str(ROOT / "scripts" / "cloud_init_sample.py"))
    workers = terraform("workers.tf")
    given = workers.split("templatefile(", 1)[1].split("environment =", 1)[0]
    assert set(sample["VALUES"]) == set(re.findall(r"^    (\w+) +=", given, re.MULTILINE))
    for name in ("docker_stop_seconds", "unit_stop_seconds"):
        assert float(sample["VALUES"][name]) == number(workers, name)
    unit = sample["rendered"]()
    # A worker that drained must not begin anew on a machine that is about to vanish.
    assert "Restart=on-failure\n" in unit
    # Stopped before what it needs: systemd stops in the reverse of this order.
    assert "After=network-online.target docker.service\n" in unit
    for shut in ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"):
        assert shut in unit
    assert "--init" not in unit


def names_of(text: str) -> set[str]:
    return set(re.findall(rf"\b{metrics.PREFIX}[a-z_]+", text))


@pytest.mark.parametrize("path", WATCHED, ids=lambda path: path.name)
def test_every_metric_named_exists(path: Path) -> None:
    known = {metric.full_name for metric in metrics.ALL}
    for metric in metrics.ALL:
        if metric.kind is metrics.MetricKind.HISTOGRAM:
            known |= {f"{metric.full_name}_{part}" for part in ("bucket", "sum", "count")}
    named = names_of(path.read_text())
    assert named
    assert named <= known


def test_grafana_asks_for_labels_that_there_are() -> None:
    board = json.loads((DEPLOY / "grafana" / "photo-worker.json").read_text())
    asked = 0
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            of_metrics = {
                label
                for metric in metrics.ALL
                if metric.full_name.removesuffix("_total") in expression
                for label in metric.labels
            }
            wanted = {
                label.strip()
                for group in re.findall(r"by \(([^)]+)\)", expression)
                for label in group.split(",")
            } | set(re.findall(r"[{,](\w+)[=!]", expression))
            assert wanted <= of_metrics | {"instance", "le"}, panel["title"]
            asked += 1
    assert asked > 20


def test_panels_of_grafana_lie_beside_each_other() -> None:
    board = json.loads((DEPLOY / "grafana" / "photo-worker.json").read_text())
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def slug(title: str) -> str:
    """A heading's anchor, as it is made of Markdown."""
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def test_every_alert_says_what_to_do() -> None:
    monitoring = terraform("monitoring.tf")
    titles = {"No progress", *re.findall(r'^ +title += "([^"]+)"', monitoring, re.MULTILINE)}
    assert '${var.name}: No progress"' in monitoring
    below = OPERATIONS.split("\n## Alerts: what each means, what to do\n", 1)[1].split("\n## ", 1)[
        0
    ]
    assert set(re.findall(r"^### (.+)$", below, re.MULTILINE)) == titles
    for title in titles:
        # As monitoring.tf makes it.
        assert title.replace("/", "").lower().replace(" ", "-") == slug(title)


def test_links_within_operations_lead_somewhere() -> None:
    anchors = {slug(title) for title in re.findall(r"^##+ (.+)$", OPERATIONS, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", OPERATIONS)) <= anchors


def log_counts() -> dict[str, tuple[str, str]]:
    """Each count's filter on an entry's fields, and its expression for an entry that is a text."""
    counts = terraform("monitoring.tf").split("log_counts = {", 1)[1].split("of_events", 1)[0]
    block = r'^    (\w+) = \{\n.*?parsed += (".*?")\n +text += (".*?")\n    \}'
    made = re.findall(block, counts, re.MULTILINE | re.DOTALL)
    return {name: (json.loads(parsed), json.loads(text)) for name, parsed, text in made}


COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    ":": lambda given, wanted: wanted in str(given),
    ">": lambda given, wanted: isinstance(given, int) and given > wanted,
}


def holds(parsed: str, entry: dict[str, Any]) -> bool:
    """Whether a filter of Cloud Logging is true of an entry: the little of its language used."""
    for term in parsed.split(" AND "):
        found = re.fullmatch(r"(NOT )?jsonPayload\.(\w+)([=:>])(.+)", term)
        assert found, term
        negated, name, comparison, value = found.groups()
        if COMPARISONS[comparison](entry.get(name), json.loads(value)) is bool(negated):
            return False
    return True


@pytest.mark.parametrize(
    ("event", "counted"),
    [
        ({"event": "running", "slots": 2}, set()),
        ({"event": "stopped", "in_time": True}, set()),
        *(({"event": "handled", "outcome": effect.value}, {"settled"}) for effect in Effect),
        ({"event": "handled", "outcome": NACKED, "detail": "429"}, {"nacked"}),
        ({"event": "brake on: 44 of 44 failed", "exit_in_seconds": 300.0}, {"brake_on"}),
        ({"event": "no such bucket", "exit_code": 5}, {"worker_failed"}),
        ({"event": "the worker failed in an unexpected way"}, {"worker_failed"}),
    ],
    ids=lambda value: None if isinstance(value, set) else str(value),
)
def test_log_lines_are_counted_as_fields_and_as_text(
    event: dict[str, Any], counted: set[str]
) -> None:
    line = json_line(None, "", CloudEntry({}, None)(None, "info", dict(event)))
    entry = json.loads(line)
    filters = log_counts()
    counted = counted | {str(event.get("outcome"))} & set(filters)
    as_text = {name for name, (_, text) in filters.items() if re.search(text, line)}
    as_fields = {
        name
        for name, (parsed, text) in filters.items()
        if holds(parsed, entry) or re.search(text, entry["message"])
    }
    assert (as_text, as_fields) == (counted, counted)


def test_wrong_settings_are_counted_although_no_log_line_tells_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["photo-worker", "run"])
    with pytest.raises(SystemExit):
        cli.main()
    told = capsys.readouterr().err.splitlines()
    failed = log_counts()["worker_failed"][1]
    assert [line for line in told if re.search(failed, line)] == told[:1]


def test_log_lines_that_are_counted_are_written() -> None:
    daemon = (ROOT / "worker" / "service" / "daemon.py").read_text()
    assert 'f"brake on: ' in daemon
    assert "exit_code=int(error.exit_code)" in daemon
    assert "the worker failed in an unexpected way" in daemon
    assert '"handled"' in (ROOT / "worker" / "handlers" / "dispatch.py").read_text()


def test_log_counts_that_are_shown_are_made() -> None:
    monitoring = terraform("monitoring.tf")
    made = set(log_counts())
    board = terraform("dashboard.json.tftpl")
    shown = set(re.findall(r"logging\.googleapis\.com/user/\$\{name\}/(\w+)", board))
    asked = set(re.findall(r"\$\{local\.of_log\}/(\w+)", monitoring))
    assert shown
    assert asked
    assert shown | asked <= made


def test_tombstones_expire_alike_everywhere() -> None:
    (rule,) = json.loads((DEPLOY / "bucket-lifecycle.json").read_text())["rule"]
    condition = rule["condition"]
    buckets = terraform("buckets.tf")
    assert number(buckets, "days_since_custom_time") == condition["daysSinceCustomTime"]
    assert f"matches_suffix         = {json.dumps(condition['matchesSuffix'])}" in buckets
    assert condition["matchesPrefix"] == [Settings.model_fields["output_prefix"].default]


def a_manifest(state: State) -> Manifest:
    return Manifest.model_validate(
        {
            "schema": "photo-manifest/1",
            "photo_id": "a",
            "state": state,
            "version": 1,
            "commit_id": "c",
            "committed_at": "2026-11-22T01:02:03.456789Z",
            "recipe": None,
            "original": None,
            "placeholder": None,
            "renditions": [],
            "rejection": None,
            "labels": {},
        }
    )


def test_an_outcome_fits_into_its_table() -> None:
    columns = {column["name"]: column for column in json.loads(terraform("outcomes.schema.json"))}
    event: dict[str, Any] = json.loads(
        outcome_event(a_manifest(State.DEREGISTERED), rejected=False)[0]
    )
    # No column, and dropped on the way.
    del event["manifest"]
    assert list(event) == list(columns)
    types = {"STRING": str, "INTEGER": int, "TIMESTAMP": str}
    for name, value in event.items():
        if value is None:
            assert columns[name]["mode"] == "NULLABLE"
        else:
            assert isinstance(value, types[columns[name]["type"]])


def test_variables_that_are_named_exist() -> None:
    known = set(re.findall(r'^variable "(\w+)"', terraform("variables.tf"), re.MULTILINE))
    used = {
        name
        for path in TERRAFORM.glob("*.tf")
        for name in re.findall(r"var\.(\w+)", path.read_text())
    }
    assert used == known
    guide = (ROOT / "docs" / "deploy.md").read_text()
    set_there = set(re.findall(r"`([a-z_]+) = ", guide + OPERATIONS))
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", guide))
    told = set_there | named - {"ignore_changes", "gce_sd_configs"}
    assert len(told) > 10
    assert told <= known


def test_the_workflow_runs_targets_that_there_are() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = set(re.findall(r"make ([a-z-]+)", WORKFLOW))
    assert {"lint", "lint-deploy", "test", "test-containers", "image"} == asked
    assert asked <= targets


def test_actions_are_pinned_by_commit() -> None:
    uses = re.findall(r"uses: (.+)", WORKFLOW)
    assert len(uses) > 5
    for action in uses:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
