"""Logs: one JSON object a line that Cloud Logging understands, or lines for people."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from worker.progress import progress
from worker.telemetry import configure_logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is global: put it back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    structlog.reset_defaults()
    root.handlers = handlers
    root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""  # standard output belongs to a verb's result
    return [json.loads(line) for line in captured.err.splitlines()]


def test_an_entry_is_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    log = configure_logs("json", "info")
    log.info("handled", photo_id="ảnh\nđẹp", seconds={"total": 1.5}, path=Path("/x"))
    (entry,) = lines(capsys)
    assert datetime.fromisoformat(entry.pop("time")).utcoffset() is not None
    assert entry == {
        "severity": "INFO",
        "message": "handled",
        "photo_id": "ảnh\nđẹp",
        "seconds": {"total": 1.5},
        "path": "/x",
    }


@pytest.mark.parametrize(
    ("method", "severity"),
    [("info", "INFO"), ("warning", "WARNING"), ("error", "ERROR"), ("exception", "ERROR")],
)
def test_severities_are_cloud_loggings(
    capsys: pytest.CaptureFixture[str], method: str, severity: str
) -> None:
    log = configure_logs("json", "info")
    getattr(log, method)("x")
    assert [entry["severity"] for entry in lines(capsys)] == [severity]


def test_an_exception_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    log = configure_logs("json", "info")
    try:
        raise KeyError("lost")  # noqa: TRY301
    except KeyError:
        log.exception("handled")
    (entry,) = lines(capsys)
    assert "Traceback" in entry["exception"]
    assert "KeyError: 'lost'" in entry["exception"]


def test_auto_is_json_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("auto", "info").info("x")
    assert lines(capsys)[0]["message"] == "x"


@pytest.mark.parametrize("log_format", ["auto", "console"])
def test_without_standard_error_nothing_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, log_format: str
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    log = configure_logs(log_format, "info")
    log.warning("x")
    logging.getLogger("google").warning("y")
    with progress("z", log) as show:
        show({"letters": 1})
    assert capsys.readouterr() == ("", "")


def test_the_console_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("console", "info").info("handled", photo_id="a")
    text = capsys.readouterr().err
    assert "handled" in text
    assert "photo_id=a" in text
    assert "{" not in text
    assert "\x1b" not in text  # no colours in a file


@pytest.mark.parametrize(
    ("level", "kept"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_levels(capsys: pytest.CaptureFixture[str], level: str, kept: list[str]) -> None:
    log = configure_logs("json", level)
    for method in ("debug", "info", "warning", "error"):
        getattr(log, method)(method)
    assert [entry["message"] for entry in lines(capsys)] == kept


def test_what_is_bound_is_on_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    log = configure_logs("json", "info").bind(message_id="m-1")
    log.info("one")
    log.info("two")
    assert [entry["message_id"] for entry in lines(capsys)] == ["m-1", "m-1"]


def test_warnings_of_googles_clients_are_in_the_same_stream(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs("json", "info")
    client = logging.getLogger("google.cloud.pubsub_v1")
    client.info("chatter")
    try:
        raise ValueError("odd")  # noqa: TRY301
    except ValueError:
        client.warning("retrying %s", "soon", exc_info=True)
    (entry,) = lines(capsys)
    assert (entry["severity"], entry["message"]) == ("WARNING", "retrying soon")
    assert entry["logger"] == "google.cloud.pubsub_v1"
    assert "ValueError: odd" in entry["exception"]
