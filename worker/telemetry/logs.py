"""Logs: one JSON object a line in production, readable lines on a terminal.

This module owns structlog's configuration, and brings other output (the standard library's logging,
errors of threads, warnings) into the same stream. `entry` makes a line, `pipe` writes it.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any, TextIO, cast

import structlog
from structlog.processors import CallsiteParameter, CallsiteParameterAdder

from worker import __version__
from worker.telemetry.entry import CloudEntry, json_line, printable, redacted_line
from worker.telemetry.pipe import PipeWriter

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

Log = structlog.typing.FilteringBoundLogger

_CALLER = CallsiteParameterAdder(
    [CallsiteParameter.PATHNAME, CallsiteParameter.LINENO, CallsiteParameter.FUNC_NAME],
    additional_ignores=[__name__],
)


def configure_logs(
    log_format: str, log_level: str, *, project: str | None = None
) -> FilteringBoundLogger:
    """Set structlog up for this process, on standard error, and return its logger.

    Args:
        log_format: `json`, `console`, or `auto`: console on a terminal, JSON elsewhere.
        log_level: a level's name, such as `info`.
        project: the Google Cloud project that stores the traces; without it, lines name no trace.
    """
    # If standard error was closed before the start, `sys.stderr` is `None`.
    terminal = bool(sys.stderr and sys.stderr.isatty())
    as_json = log_format == "json" or (log_format == "auto" and not terminal)
    level = logging.getLevelNamesMapping()[log_level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    if as_json:
        processors: list[Processor] = [
            *shared,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _name_caller,
            CloudEntry(_labels(), project),
            json_line,
        ]
    else:
        processors = [
            *shared,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            _without_record,
            printable,
            structlog.dev.ConsoleRenderer(
                colors=terminal, exception_formatter=structlog.dev.plain_traceback
            ),
            redacted_line,
        ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # Without a file, structlog would write to standard output, which is for a verb's result.
        logger_factory=structlog.WriteLoggerFactory(
            cast("TextIO", PipeWriter(sys.stderr, _lost_in_json if as_json else _lost))
        )
        if sys.stderr
        else structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    # Google's clients log through the standard library. The import of a client cuts the logger
    # `google` off from the root, so this logger gets its own handler.
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[_Forward()], force=True)
    google = logging.getLogger("google")
    google.handlers, google.propagate = [_Forward()], False
    log: FilteringBoundLogger = structlog.get_logger()
    return log


def catch_strays(log: Log) -> None:
    """Log what Python would otherwise write to standard error as plain text.

    This covers threads that end by an exception, exceptions in finalizers, and warnings, in the
    whole process.
    """

    def lost(thread: threading.ExceptHookArgs) -> None:
        if thread.exc_type is not SystemExit:
            log.error(
                "a thread has ended by an exception",
                thread=thread.thread.name if thread.thread else None,
                exc_info=thread.exc_value,
            )

    def unraisable(lost: sys.UnraisableHookArgs) -> None:
        log.error(
            lost.err_msg or "an exception that nobody can catch",
            where=repr(lost.object),
            exc_info=lost.exc_value,
        )

    def warn(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        del file, line
        kind, where = category.__name__, f"{filename}:{lineno}"
        log.warning("a library warns", detail=str(message), kind=kind, where=where)

    threading.excepthook = lost
    sys.unraisablehook = unraisable
    warnings.showwarning = warn


def _name_caller(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    # Debug and info lines do not name the caller, because the search takes time.
    if method not in ("debug", "info"):
        event = _CALLER(logger, method, event)
    return _without_record(logger, method, event)


def _without_record(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.pop("_record", None)
    return event


def _lost(lines: int) -> str:
    return f"{lines} lines of the log are lost: standard error took none\n"


def _lost_in_json(lines: int) -> str:
    return json.dumps({"severity": "WARNING", "message": _lost(lines).rstrip()}) + "\n"


def _labels() -> dict[str, str]:
    return {
        "app": "photo-worker",
        "version": __version__,
        "worker": f"{socket.gethostname()}:{os.getpid()}",
    }


class _Forward(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # structlog finds the caller in `_record`.
        fields: dict[str, Any] = {"logger": record.name, "_record": record}
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        structlog.get_logger().log(record.levelno, record.getMessage(), **fields)
