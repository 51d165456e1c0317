"""Strangers: messages that are no events of ours, and what to say of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_TYPES = "photo.register or photo.deregister"
_LONGEST = 60


def what_it_is(data: bytes, attributes: Mapping[str, str]) -> str | None:
    """What was found in place of an event and what is expected; `None` if it has a type of ours."""
    if "ce-specversion" in attributes or "ce_specversion" in attributes:
        kind = attributes.get("ce-type") or attributes.get("ce_type")
        return _cloud_event(kind)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None  # the parser says where
    if not isinstance(found, dict):
        return f"a JSON {_name(found)}, where an object with a `type` is expected"
    return _envelope(found) or _wrong_type(found)


def _envelope(found: dict[str, Any]) -> str | None:
    if "specversion" in found:
        return _cloud_event(found.get("type"))
    inner = found.get("message")
    if isinstance(inner, dict) and ("data" in inner or "attributes" in inner):
        return (
            "the body of a push request (`message`, `subscription`), where the event itself is "
            "expected: publish what its base64 `data` holds, to the topic of a pull subscription"
        )
    if found.get("kind") == "storage#object":
        return (
            "the payload of a Cloud Storage notification without its attributes `eventType`, "
            "`bucketId` and `objectId`: whatever passes it on must keep them"
        )
    return None


def _wrong_type(found: dict[str, Any]) -> str | None:
    if "type" not in found:
        return f"type: is missing, must be {_TYPES}"
    kind = found["type"]
    if not isinstance(kind, str):
        return f"type: is a JSON {_name(kind)}, must be {_TYPES}"
    if kind not in _TYPES.split(" or "):
        return f"type: is {kind[:_LONGEST]!r}, must be {_TYPES}"
    return None


def _cloud_event(kind: object) -> str:
    named = f" of type {kind[:_LONGEST]!r}" if isinstance(kind, str) else ""
    return (
        f"a CloudEvent{named}, where an event with a `type` of {_TYPES} is expected: let the "
        "bucket notify the topic itself, or publish events of your own"
    )


def _name(value: object) -> str:
    names = {dict: "object", list: "list", str: "text", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")
