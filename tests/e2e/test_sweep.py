"""The sweep beside a running worker: what was lost is rendered again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.e2e.stage import Stage
from tests.support.pictures import noisy_jpeg
from tests.support.waiting import eventually


def verb(stage: Stage, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run a verb in the stage's environment: exit code and report."""
    with stage.start_verb(*arguments, "--json") as running:
        out, err = running.communicate(timeout=60)
    assert out, err
    return running.returncode, json.loads(out)


def rendered_again(stage: Stage, before: Mapping[str, Any]) -> dict[str, Any] | None:
    """The manifest, once it names as much as before."""
    manifest = stage.manifest("a")
    if manifest is None or len(manifest["renditions"]) < len(before["renditions"]):
        return None
    return manifest


def test_a_repair_brings_a_lost_rendition_back(stage: Stage) -> None:
    stage.worker().wait_until_running()
    stage.register("a", 17, noisy_jpeg(900, 600), labels={"album": "hanoi"})
    ready = stage.wait_for("a", "ready", 17)
    stage.store.delete(stage.renditions, ready["renditions"][0]["object"])
    assert verb(stage, "verify")[0] == 7
    code, report = verb(stage, "sweep", "--repair")
    assert (code, report["repaired_total"]) == (0, 1)
    assert report["faults"][0]["kind"] == "missing"
    again = eventually(lambda: rendered_again(stage, ready), "it is rendered again")
    assert again is not None
    assert [each["rung"] for each in again["renditions"]] == [
        each["rung"] for each in ready["renditions"]
    ]
    assert again["labels"] == {"album": "hanoi"}
    stage.assert_ready_is_true(again)
    assert verb(stage, "verify")[0] == 0
    assert verb(stage, "sweep", "--older-than", "0s")[0] == 0
    stage.assert_nothing_stray("a")
