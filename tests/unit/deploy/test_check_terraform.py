"""The checker of names in Terraform files finds what is wrong, and nothing else."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "check_terraform.py"

SCHEMA: dict[str, Any] = {
    "resource_names": ["google_pubsub_topic", "google_pubsub_subscription"],
    "data_names": [],
    "data": {},
    "resource": {
        "google_pubsub_topic": {
            "attributes": {
                "name": {"type": "string", "required": True},
                "self_link": {"type": "string", "computed": True},
            },
            "blocks": {
                "policy": {
                    "attributes": {"regions": {"type": "string", "required": True}},
                    "blocks": {},
                }
            },
        }
    },
}


@pytest.mark.parametrize(
    ("name", "body", "problems"),
    [
        ("google_pubsub_topic", {"name": ["a"], "__start_line__": 1, "count": [1]}, []),
        ("google_pubsub_topic", {"name": ["a"], "policy": [{"regions": ["b"]}]}, []),
        (
            "google_pubsub_topic",
            {"name": ["a"], "dynamic": [{"policy": {"content": [{"regions": ["b"]}]}}]},
            [],
        ),
        ("google_pubsub_topic", {}, ["'name' is required"]),
        (
            "google_pubsub_topic",
            {"nam": ["a"], "name": ["a"]},
            ["no argument or block 'nam'; did you mean 'name'?"],
        ),
        (
            "google_pubsub_topic",
            {"name": ["a"], "self_link": ["b"]},
            ["'self_link' is set by the provider alone"],
        ),
        (
            "google_pubsub_topic",
            {"name": ["a"], "policy": [{}]},
            ["/ policy: 'regions' is required"],
        ),
        (
            "google_pubsub_topic",
            {"name": ["a"], "dynamic": [{"polcy": {"content": [{}]}}]},
            ["no block 'polcy'; did you mean 'policy'?"],
        ),
        ("google_pubsub_topik", {}, ["no such resource; did you mean 'google_pubsub_topic'?"]),
        ("google_pubsub_subscription", {}, ["not in the distilled schema yet"]),
        ("random_id", {}, []),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value),
)
def test_the_checker_of_names(name: str, body: dict[str, Any], problems: list[str]) -> None:
    check = runpy.run_path(str(SCRIPT))["check"]
    found = list(check({"resource": [{name: {"x": body}}]}, SCHEMA))
    assert len(found) == len(problems)
    for said, wanted in zip(found, problems, strict=True):
        assert wanted in said
