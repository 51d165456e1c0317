"""The compose file for one machine is valid, and leaves a drain the time that it takes."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.containers.engine import ROOT
from worker.settings.settings import Settings

FILE = ROOT / "deploy" / "compose.yaml"


def test_compose_accepts_it_with_either_profile() -> None:
    compose = next(filter(_answers, (["docker", "compose"], ["docker-compose"])), None)
    if compose is None:
        if os.environ.get("CONTAINER_TESTS") == "insist":
            pytest.fail("neither `docker compose` nor `docker-compose` is installed")
        pytest.skip("neither `docker compose` nor `docker-compose` is installed")
    for profile in ("local", "cloud"):
        command = [*compose, "--file", str(FILE), "--profile", profile, "config", "--quiet"]
        checked = subprocess.run(command, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr


def _answers(compose: list[str]) -> bool:
    try:
        asked = subprocess.run([*compose, "version"], capture_output=True, check=False, timeout=30)
    except OSError:
        return False
    return asked.returncode == 0


def test_docker_waits_longer_than_a_drain_may_take() -> None:
    (seconds,) = re.findall(r"stop_grace_period: (\d+)s", FILE.read_text())
    assert int(seconds) >= Settings.model_fields["drain_seconds"].default + 5
