"""A message's attributes within Pub/Sub's limits: what does not fit is folded into one of them.

Pub/Sub takes 100 attributes, names of 256 bytes and values of 1,024. A message may arrive with 100
already, and a dead letter or a replay of it has a few more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

VALUE_BYTES = 1024
"""The longest value, in UTF-8."""

FOLDED = "folded_attributes"
"""Holds other attributes as a JSON object."""

_MOST = 96
"""A traced message gets up to four attributes more when it is published."""

_KEPT = frozenset(
    {
        "eventType",
        "bucketId",
        "objectId",
        "objectGeneration",
        "overwrittenByGeneration",
        "replay_of",
        "replay_count",
    }
)
"""What a notification is read from, and what tells a replay."""


def folded(own: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """Attributes that Pub/Sub takes: those added, and as many of its own as there is room for.

    The smallest of the others are folded into `FOLDED`; those that do not fit there are left out.
    """
    new = dict(added)
    kept = {name: value for name, value in unfolded(own).items() if name not in added}
    surplus = len(kept) + len(added) - _MOST
    if surplus <= 0:
        return kept | new
    inside: dict[str, str] = {}
    others = [name for name in kept if name not in _KEPT]
    # One more, because `FOLDED` takes a place itself.
    for name in sorted(others, key=lambda name: len(_json({name: kept[name]})))[: surplus + 1]:
        value = kept.pop(name)
        if len(_json(inside | {name: value})) <= VALUE_BYTES:
            inside[name] = value
    return kept | {FOLDED: _json(inside)} | new


def unfolded(attributes: Mapping[str, str]) -> dict[str, str]:
    """Attributes as they were before `folded`."""
    own = dict(attributes)
    try:
        inside = json.loads(own.get(FOLDED, "{}"))
    except (ValueError, RecursionError):
        return own
    if not isinstance(inside, dict) or not all(isinstance(each, str) for each in inside.values()):
        return own
    own.pop(FOLDED, None)
    return inside | own


def shortened(text: str, most_bytes: int) -> str:
    """The beginning of a text, in at most so many bytes of valid UTF-8."""
    return text.encode(errors="replace")[:most_bytes].decode(errors="ignore")


def _json(attributes: Mapping[str, str]) -> str:
    """ASCII, so that its characters are its bytes."""
    return json.dumps(attributes, separators=(",", ":"))
