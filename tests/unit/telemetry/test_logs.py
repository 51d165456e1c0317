"""Logs: one JSON object a line that Cloud Logging understands, or lines for people."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from worker import __version__
from worker.console.progress import progress
from worker.telemetry.entry import LABELS, SAMPLED, SOURCE, SPAN, TRACE
from worker.telemetry.logs import catch_strays, configure_logs


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
    labels = entry.pop(LABELS)
    assert entry == {
        "severity": "INFO",
        "message": "handled",
        "photo_id": "ảnh\nđẹp",
        "seconds": {"total": 1.5},
        "path": "/x",
    }
    assert (labels["app"], labels["version"]) == ("photo-worker", __version__)
    assert labels["worker"].endswith(f":{os.getpid()}")


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
    assert "\x1b" not in text  # colours are for terminals


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
    assert entry[SOURCE]["function"] == "test_warnings_of_googles_clients_are_in_the_same_stream"
    assert entry[SOURCE]["file"].endswith("test_logs.py")
    assert "@type" not in entry  # only errors are reported


@pytest.mark.parametrize(("method", "named"), [("info", False), ("warning", True), ("error", True)])
def test_what_is_wrong_says_where(
    capsys: pytest.CaptureFixture[str], method: str, *, named: bool
) -> None:
    getattr(configure_logs("json", "info"), method)("x")
    (entry,) = lines(capsys)
    assert (SOURCE in entry) is named
    if named:
        assert entry[SOURCE]["file"].endswith("test_logs.py")
        assert int(entry[SOURCE]["line"]) > 0
        assert entry[SOURCE]["function"] == "test_what_is_wrong_says_where"
    assert not {"pathname", "lineno", "func_name", "_record"} & set(entry)


def test_an_unexpected_exception_has_error_reportings_form(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = configure_logs("json", "info")
    try:
        raise KeyError("lost")  # noqa: TRY301
    except KeyError as error:
        log.exception("handled")
        log.error("handled", exc_info=error)  # noqa: TRY400
    for entry in lines(capsys):
        assert entry["@type"].endswith("v1beta1.ReportedErrorEvent")
        assert entry["serviceContext"] == {"service": "photo-worker", "version": __version__}
        assert entry["stack_trace"].startswith("Traceback (most recent call last):")
        assert entry["stack_trace"].endswith("KeyError: 'lost'")
        assert entry["severity"] == "ERROR"


def test_an_expected_failure_is_none_to_report(capsys: pytest.CaptureFixture[str]) -> None:
    log = configure_logs("json", "info")
    log.error("brake on", detail="Traceback of nothing")
    log.warning("handled", error="StorageUnavailable")
    for entry in lines(capsys):
        assert not {"@type", "serviceContext", "stack_trace"} & set(entry)


CONTEXT = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1))


@pytest.mark.parametrize(("project", "named"), [("my-project", True), (None, False)])
def test_a_line_names_the_current_span_where_a_project_is_known(
    capsys: pytest.CaptureFixture[str], project: str | None, *, named: bool
) -> None:
    log = configure_logs("json", "info", project=project)
    log.info("outside")
    with use_span(NonRecordingSpan(CONTEXT)):
        log.info("inside")
    outside, inside = lines(capsys)
    assert not {TRACE, SPAN, SAMPLED} & set(outside)
    if named:
        assert inside[TRACE] == f"projects/my-project/traces/{0xABC:032x}"
        assert inside[SPAN] == f"{0xDEF:016x}"
        assert inside[SAMPLED] is True
    else:
        assert not {TRACE, SPAN, SAMPLED} & set(inside)


SIGNED = "https://storage.googleapis.com/b/o?X-Goog-Credential=me%40p&X-Goog-Signature=5ec2e7&a=1"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_secrets_are_in_no_line(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    log = configure_logs(log_format, "info")
    log.info(SIGNED, url=SIGNED, nested={"list": [SIGNED, Path(SIGNED)]}, odd=ValueError(SIGNED))
    try:
        raise ValueError(SIGNED)  # noqa: TRY301
    except ValueError:
        log.exception("handled", access_token="s3cr3t")  # noqa: S106
    logging.getLogger("google").warning("GET %s", SIGNED)
    text = capsys.readouterr().err
    assert text.count("a=1") >= 7
    for secret in ("5ec2e7", "me%40p"):
        assert secret not in text
    assert "s3cr3t" not in text or log_format == "console"


ODD = "\x1b[2J\x07\r\n{forged}\x7f\x85\x9b\u2028\u202e\ud800 ảnh"


def test_odd_texts_stay_on_their_json_line_and_come_back_whole(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = configure_logs("json", "info")
    log.warning(ODD, original=ODD, nested=[{"x": ODD}])
    captured = capsys.readouterr().err
    (line,) = captured.splitlines()  # which ends lines at more characters than any collector
    assert all(each.isprintable() for each in line)
    assert "ảnh" in line
    entry = json.loads(line)
    assert entry["message"] == entry["original"] == entry["nested"][0]["x"] == ODD


def test_odd_texts_neither_move_the_cursor_nor_forge_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = configure_logs("console", "info")
    log.info(ODD, original=ODD, nested=[ODD])
    try:
        raise ValueError(ODD)  # noqa: TRY301
    except ValueError:
        log.exception("handled")
    text = capsys.readouterr().err
    assert all(each.isprintable() for line in text.split("\n") for each in line)
    assert "ảnh" in text
    assert "Traceback" in text
    first = text.split("\n", 1)[0]
    assert first.count("forged") == 3


def test_a_broken_standard_error_is_no_trouble_of_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w", buffering=1, closefd=False) as gone:
        monkeypatch.setattr(sys, "stderr", gone)
        log = configure_logs("json", "info")
        log.info("x")
        # What is left in its buffer must not fail when it is closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), write)
    os.close(write)
    gone.close()
    log.info("x")  # a closed one too


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_reader_that_sleeps_is_told_what_it_missed(
    monkeypatch: pytest.MonkeyPatch, log_format: str
) -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        log = configure_logs(log_format, "info")
        for _ in range(100):
            log.info("x", pad="p" * 4000)
        os.read(read, 1 << 20)
        log.info("then")
    with os.fdopen(read) as rest:
        lost, then = rest.read().splitlines()[-2:]
    if log_format == "json":
        told = json.loads(lost)
        assert told["severity"] == "WARNING"
        lost, then = told["message"], json.loads(then)["message"]
    assert re.fullmatch(r"\d\d lines of the log are lost: standard error took none", lost)
    assert "then" in then


def test_lost_threads_and_warnings_are_in_the_same_stream(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    catch_strays(configure_logs("json", "info"))

    def fail() -> None:
        raise KeyError("lost")

    def leave() -> None:
        raise SystemExit

    class Doomed:
        def __del__(self) -> None:
            raise KeyError("unraisable")

    for target in (fail, leave):
        thread = threading.Thread(target=target, name="slot-7")
        thread.start()
        thread.join()
    warnings.showwarning("old", DeprecationWarning, "a.py", 3)
    Doomed()
    lost, warned, unraisable = lines(capsys)
    assert (lost["severity"], lost["thread"]) == ("ERROR", "slot-7")
    assert lost["stack_trace"].endswith("KeyError: 'lost'")
    assert (warned["severity"], warned["detail"]) == ("WARNING", "old")
    assert (warned["kind"], warned["where"]) == ("DeprecationWarning", "a.py:3")
    assert (unraisable["severity"], "Doomed.__del__" in unraisable["where"]) == ("ERROR", True)
    assert unraisable["stack_trace"].endswith("KeyError: 'unraisable'")
