"""Entries in Cloud Logging's JSON form: the fields of an entry, and one safe line made of them.

This module owns the field names that Cloud Logging, Error Reporting and Cloud Trace read. A safe
line has a limited length; secrets are replaced and odd characters escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from worker import __version__
from worker.telemetry.redaction import redact

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

LINE_BYTES: Final = 16_000
"""Docker's log driver cuts lines at 16 KiB, which breaks JSON. Cloud Logging takes 256 KiB."""

SOURCE: Final = "logging.googleapis.com/sourceLocation"
LABELS: Final = "logging.googleapis.com/labels"
TRACE: Final = "logging.googleapis.com/trace"
SPAN: Final = "logging.googleapis.com/spanId"
SAMPLED: Final = "logging.googleapis.com/trace_sampled"

_ERROR_EVENT: Final = (
    "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"
)

_SEVERITY: Final = {"exception": "ERROR", "warn": "WARNING"}
_UNEXPECTED: Final = {"ERROR", "CRITICAL"}

_ROOTS: Final = (f"{Path(__file__).parents[2]}/", "site-packages/")

_ODD: Final = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that JSON allows although they end lines, move cursors, change the direction of
writing, or are not valid UTF-8."""

_READ_CHARACTERS: Final = 320_000
"""The longest text that is read. An error may quote a message of 10 MB, and the whole worker stands
still while the text is searched and escaped. The rest is cut off before the search for secrets."""

_CUTS: Final = (4000, 1000, 200)


def source_location(path: str, line: int, function: str) -> dict[str, str]:
    """Return where an entry comes from; the file's path begins at its package's folder."""
    for root in _ROOTS:
        path = path.rpartition(root)[2]
    # Cloud Logging takes 64-bit numbers as texts.
    return {"file": path, "line": str(line), "function": function}


class CloudEntry:
    """A structlog processor that turns fields into an entry.

    Every entry gets `labels`. With a `project`, an entry names its trace.
    """

    def __init__(self, labels: Mapping[str, str], project: str | None) -> None:
        self._labels = dict(labels)
        self._trace = _current_trace(project) if project else None

    def __call__(self, _: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """Return the entry, with the most important fields first."""
        severity = _SEVERITY.get(method, method.upper())
        entry = {
            "severity": severity,
            "message": event.pop("event", ""),
            "time": event.pop("time", None),
            **event,
            LABELS: self._labels,
        }
        path, line, function = (entry.pop(key, None) for key in ("pathname", "lineno", "func_name"))
        if path is not None:
            entry[SOURCE] = source_location(path, line, function)
        if self._trace is not None:
            entry.update(self._trace())
        if "exception" in entry and severity in _UNEXPECTED:
            entry["@type"] = _ERROR_EVENT
            entry["serviceContext"] = {"service": "photo-worker", "version": __version__}
            entry["stack_trace"] = entry["exception"]
        return entry


def _current_trace(project: str) -> Callable[[], dict[str, Any]]:
    # The import is here, because most verbs do not trace.
    from opentelemetry.trace import get_current_span

    def name_it() -> dict[str, Any]:
        context = get_current_span().get_span_context()
        if not context.is_valid:
            return {}
        return {
            TRACE: f"projects/{project}/traces/{context.trace_id:032x}",
            SPAN: f"{context.span_id:016x}",
            SAMPLED: context.trace_flags.sampled,
        }

    return name_it


def json_line(_: WrappedLogger, __: str, entry: EventDict) -> str:
    """Return one line of JSON without secrets, of at most `LINE_BYTES`; a structlog processor."""
    entry = {name: _readable(value) for name, value in entry.items()}
    line = _line(entry)
    for longest in _CUTS:
        if _fits(line):
            return line
        line = _line({name[:longest]: _cut(value, longest) for name, value in entry.items()})
    if _fits(line):
        return line
    kept: dict[str, Any] = {
        name: entry[name] for name in ("severity", "message", "time") if name in entry
    }
    short = {name: _cut(value, _CUTS[-1]) for name, value in kept.items()}
    return _line({**short, "fields_cut": len(entry) - len(kept)})


def printable(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Escape odd characters, so an event cannot forge a line; a processor for terminals."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            lines = value.split("\n") if name in ("exception", "stack") else [value]
            event[name] = "\n".join(map(_visible, lines))
    return event


def redacted_line(_: WrappedLogger, __: str, line: Any) -> str:  # noqa: ANN401 (see structlog)
    """Replace the secrets in a rendered line; a structlog processor."""
    return redact(line)


def _line(entry: Mapping[str, Any]) -> str:
    line = redact(json.dumps(entry, ensure_ascii=False, default=str))
    return _ODD.sub(lambda odd: f"\\u{ord(odd[0]):04x}", line)


def _readable(value: Any) -> Any:  # noqa: ANN401 (whatever was logged)
    if not isinstance(value, str) or len(value) <= _READ_CHARACTERS:
        return value
    return f"{value[:_READ_CHARACTERS]} … {len(value) - _READ_CHARACTERS} characters cut"


def _fits(line: str) -> bool:
    # A character has four bytes at most, so most lines can be checked without encoding them.
    return 4 * len(line) <= LINE_BYTES or len(line.encode()) <= LINE_BYTES


def _cut(value: Any, longest: int) -> Any:  # noqa: ANN401 (whatever was logged)
    """Return the value with shorter texts and fewer items; a text keeps both ends."""
    if value is None or isinstance(value, bool | int | float):
        return value
    most = longest // 10
    if isinstance(value, Mapping):
        kept = list(value.items())[:most]
        short = {str(name)[:longest]: _cut(each, longest) for name, each in kept}
        return short if len(value) <= most else {**short, "items_cut": len(value) - most}
    if isinstance(value, list | tuple | set | frozenset):
        items = [_cut(each, longest) for each in list(value)[:most]]
        return items if len(value) <= most else [*items, f"{len(value) - most} items cut"]
    return _cut_text(str(value), longest)


def _cut_text(text: str, longest: int) -> str:
    if len(text) > longest:
        # Redact before the cut, because half a secret would not be recognised.
        text = redact(text)
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]} … {len(text) - 2 * half} characters cut … {text[-half:]}"


def _visible(text: str) -> str:
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
