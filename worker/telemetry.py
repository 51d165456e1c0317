"""Logs: one JSON object a line in production, readable lines on a terminal.

Owns structlog's configuration and the field names that Cloud Logging understands (`severity`,
`message`, `time`). Knows nothing of what is logged.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

Log = structlog.typing.FilteringBoundLogger

_SEVERITY = {"exception": "ERROR", "warn": "WARNING"}


def _cloud_logging(_: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event["severity"] = _SEVERITY.get(method, method.upper())
    event["message"] = event.pop("event", "")
    return event


def configure_logs(log_format: str, log_level: str) -> FilteringBoundLogger:
    """Set structlog up for this process (standard error) and give its logger.

    Args:
        log_format: `json`, `console`, or `auto`: console on a terminal, JSON elsewhere.
        log_level: a level's name, such as `info`.
    """
    # Python has no standard error where it was closed before the start.
    terminal = bool(sys.stderr and sys.stderr.isatty())
    as_json = log_format == "json" or (log_format == "auto" and not terminal)
    level = logging.getLevelNamesMapping()[log_level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.StackInfoRenderer(),
    ]
    if as_json:
        processors: list[Processor] = [
            *shared,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            _cloud_logging,
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ]
    else:
        processors = [
            *shared,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(colors=terminal),
        ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # Without a file the one that prints takes standard output, where a verb's result goes.
        logger_factory=structlog.PrintLoggerFactory(sys.stderr)
        if sys.stderr
        else structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    # Google's clients log through the standard library; their warnings belong in the same stream.
    # Importing one of them cuts the logger `google` off from the root, so it gets its own handler.
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[_Forward()], force=True)
    google = logging.getLogger("google")
    google.handlers, google.propagate = [_Forward()], False
    log: FilteringBoundLogger = structlog.get_logger()
    return log


class _Forward(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        structlog.get_logger().log(record.levelno, record.getMessage(), **fields)
