"""This module formats the output of the `dead-letters` verbs, without control characters."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from worker.console.text import plain
from worker.operate.dead_letters.forecast import Forecast
from worker.photo.dead_letter import DeadLetter, Groups, LetterGroup, counted

WIDTH = 98
_DATA_SHOWN_BYTES = 300
_HELD = "letters that another run holds are back within a minute of its end, also if it is killed"
_OF_MANIFEST = ("state", "version", "committed_at", "renditions", "rejection")


def groups_text(groups: Groups, *, arrived: int, retention: timedelta | None) -> str:
    """Return the groups, largest first, and what to do next."""
    if not groups.total:
        return f"no dead letters{_arrived(arrived)}\n{_HELD}"
    largest = groups.largest_first()
    width = len(f"{largest[0].count:,}")
    oldest = min(group.oldest for group in largest if group.oldest)
    blocks = [counted(groups.total) + _arrived(arrived)]
    if retention:
        blocks[0] += (
            f"\nthe subscription keeps each for {_period(retention)}: the oldest until "
            f"{_moment(oldest + retention)}"
        )
    blocks += [_group_text(group, width) for group in largest]
    example = largest[0].examples[0]["message_id"]
    blocks.append(f"next: photo-worker dead-letters show {example}")
    return "\n\n".join(blocks)


def letter_text(
    letter: DeadLetter, facts: Mapping[str, object], *, others: int | None = None
) -> str:
    """Return one dead letter, its photo's facts, and the number of the photo's older letters."""
    shown: dict[str, object] = {
        "message": letter.message_id,
        "others": f"{counted(others + 1)} of this photo; this is the newest; the others: "
        "photo-worker dead-letters list --photo-id …"
        if others
        else None,
        "dead since": _moment(letter.published_at),
        "reason": letter.reason,
        "error": letter.message,
        "worker": letter.worker,
        "replayed before": letter.replays,
        "ordering key": letter.ordering_key or None,
        "event": letter.event or None,
        "data": None if letter.event else _data(letter.data),
        "attributes": dict(letter.attributes),
    }
    known = {name: value for name, value in shown.items() if value is not None} | dict(facts)
    if isinstance(manifest := known.get("manifest"), dict):
        known["manifest"] = {name: manifest[name] for name in _OF_MANIFEST}
    return "\n".join(_lines(known, ""))


def facts_of(forecast: Forecast) -> dict[str, object]:
    """Return the photo as it is now, and what a replay would do, ready for JSON."""
    original: dict[str, object] | None = None
    if forecast.original is not None:
        original = {
            "bucket": forecast.original.bucket,
            "object": forecast.original.name,
            "generation": str(forecast.original.generation),
            "bytes": forecast.original.size_bytes,
            "created": forecast.original.created.isoformat(),
            "picture": asdict(forecast.header) if forecast.header else None,
        }
    manifest = forecast.manifest
    return {
        "original": original,
        "manifest": json.loads(manifest.to_json()) if manifest else None,
        "forecast": {"replayed": forecast.replayed.value, "why": forecast.why},
    }


def _group_text(group: LetterGroup, width: int) -> str:
    indent = " " * (width + 2)
    said = textwrap.wrap(plain(group.error), WIDTH - len(indent))
    span = _moment(group.oldest)
    if group.newest and group.newest != group.oldest:
        span += f" to {_moment(group.newest)}"
    if group.replayed:
        span += f"; {group.replayed:,} of them replayed before"
    lines = [f"{group.count:>{width},}  {group.reason}  {group.type}  {group.worker}"]
    lines += [indent + line for line in [*said, span]]
    for number, each in enumerate(group.examples):
        example = f"{each['photo_id'] or '(no photo id)'}  message {each['message_id']}"
        lines.append(f"{indent}{'such as ' if not number else '        '}{plain(example)}")
        if not number and each["message"] != group.error:
            # The part that groups leave out, such as a bucket's name, may be the cause.
            whole = textwrap.wrap(plain(each["message"]), WIDTH - len(indent) - 8, max_lines=2)
            lines += [f"{indent}        {line}" for line in whole]
    return "\n".join([plain(lines[0]), *lines[1:]])


def _arrived(count: int) -> str:
    return f"; {count:,} more arrived while these were read" if count else ""


def _moment(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}" if moment else ""


def _period(period: timedelta) -> str:
    hours = round(period.total_seconds() / 3600)
    return f"{hours // 24} days" if hours % 24 == 0 else f"{hours} hours"


def _data(data: bytes) -> str:
    more = f" … ({len(data):,} bytes)" if len(data) > _DATA_SHOWN_BYTES else ""
    return data[:_DATA_SHOWN_BYTES].decode(errors="backslashreplace") + more


def _lines(shown: Mapping[str, object], indent: str) -> list[str]:
    lines = []
    for name, value in shown.items():
        label = f"{indent}{plain(name)}:"
        if isinstance(value, dict):
            lines += [label, *_lines(value, indent + "  ")]
        elif isinstance(value, list):
            lines.append(f"{label} {len(value)}")
        else:
            lines.append(f"{label} {'none' if value is None else plain(str(value))}")
    return lines
