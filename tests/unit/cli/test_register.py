"""What `register` refuses before it opens a connection."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from worker.cli.main import app
from worker.errors import ConfigurationError, UsageFault
from worker.settings.settings import Settings
from worker.settings.variables import variable


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(variable(name), raising=False)


def refused(*arguments: str, **variables: str) -> BaseException:
    result = CliRunner().invoke(app, ["register", *arguments], env=variables)
    assert result.exception is not None
    return result.exception


def test_all_missing_settings_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    error = refused(str(tmp_path / "a.jpg"))
    assert isinstance(error, ConfigurationError)
    assert [problem.split(" ")[0] for problem in error.problems] == [
        "WORKER_TOPIC",
        "WORKER_ORIGINALS_BUCKETS",
    ]


def test_objects_need_no_bucket_to_be_uploaded_to() -> None:
    error = refused("gs://anywhere/a.jpg")
    assert isinstance(error, ConfigurationError)
    assert [problem.split(" ")[0] for problem in error.problems] == ["WORKER_TOPIC"]


def test_a_bucket_that_workers_would_refuse_is_refused_for_all() -> None:
    settings = {
        "WORKER_TOPIC": "projects/p/topics/t",
        "WORKER_ORIGINALS_BUCKETS": "mine,yours",
        # Whoever tried to publish would wait here.
        "PUBSUB_EMULATOR_HOST": "127.0.0.1:1",
        "STORAGE_EMULATOR_HOST": "http://127.0.0.1:1",
    }
    error = refused("gs://yours/a.jpg", "gs://other/b.jpg", **settings)
    assert isinstance(error, ConfigurationError)
    assert "'other' is not among them" in error.problems[0]
    assert isinstance(refused("gs://mine/2026/", **settings), UsageFault)
