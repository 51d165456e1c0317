"""Outcome: the value that handlers return when an event ends, and the outcome event."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

from worker.photo.manifest import Manifest, NoOp, State


class Effect(StrEnum):
    """How an event ended; a metric label."""

    REGISTERED = "registered"
    DEREGISTERED = "deregistered"
    REJECTED = "rejected"
    ALREADY_CURRENT = "already_current"
    SUPERSEDED = "superseded"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One event's end. `manifest` goes into the outcome event; without it none is published."""

    effect: Effect
    manifest: Manifest | None = None


def unchanged(no_op: NoOp, current: Manifest | None) -> Outcome:
    """Return the outcome of an event that changed nothing.

    A current manifest is published again, because its first outcome event may be lost.
    """
    again = current if no_op is NoOp.ALREADY_CURRENT else None
    return Outcome(effect=Effect(no_op.value), manifest=again)


_TYPE = {
    State.READY: "photo.ready",
    State.DEREGISTERED: "photo.deregistered",
    State.REJECTED: "photo.rejected",
}


def outcome_event(manifest: Manifest, *, rejected: bool) -> tuple[bytes, dict[str, str]]:
    """Return the data and attributes of an outcome event.

    The data has flat fields for a table's columns, and the whole manifest. `rejected` is true if
    this event was rejected, even if the photo stays ready.
    """
    rejected = rejected or manifest.state is State.REJECTED
    kind = "photo.rejected" if rejected else _TYPE[manifest.state]
    rejection = manifest.rejection
    whole = json.loads(manifest.to_json())
    fields = {
        "type": kind,
        "photo_id": manifest.photo_id,
        "version": rejection.version if rejected and rejection else manifest.version,
        "state": manifest.state.value,
        "commit_id": manifest.commit_id,
        "committed_at": whole["committed_at"],
        "reason": rejection.reason if rejected and rejection else None,
        "message": rejection.message if rejected and rejection else None,
        "renditions": len(manifest.renditions),
        "bytes": sum(rendition.bytes for rendition in manifest.renditions),
        "manifest": whole,
    }
    attributes = {"type": kind, "schema": manifest.schema_}
    return json.dumps(fields, ensure_ascii=False).encode(), attributes
