"""Names in Terraform files against the provider's schema, where there is no terraform.

`terraform validate` says more (types, references, functions) and is run where it is installed. This
finds what is most often wrong, with nothing but an HCL parser: resources that do not exist,
arguments and blocks that do not, and required ones that are missing.

    python scripts/check_terraform.py deploy/provider-schema.json FOLDER
    python scripts/check_terraform.py deploy/provider-schema.json --broken   # are mistakes found?
"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_META = {
    "resource": {"count", "for_each", "depends_on", "provider", "lifecycle", "provisioner"},
    "data": {"count", "for_each", "depends_on", "provider", "lifecycle"},
}

BROKEN = """
resource "google_pubsub_topik" "a" {
  name = "a"
}

resource "google_pubsub_subscription" "a" {
  name                 = "a"
  ack_deadline_second  = 10
  retry_policy {
    minimum_backof = "1s"
  }
  dynamic "dead_leter_policy" {
    for_each = [1]
    content {}
  }
}

resource "google_compute_region_autoscaler" "a" {
  name      = "a"
  target    = "b"
  self_link = "c"
}
"""
PLANTED = (
    "no such resource; did you mean 'google_pubsub_topic'?",
    "no argument or block 'ack_deadline_second'; did you mean 'ack_deadline_seconds'?",
    "no argument or block 'minimum_backof'; did you mean 'minimum_backoff'?",
    "no block 'dead_leter_policy'; did you mean 'dead_letter_policy'?",
    "'topic' is required",
    "'autoscaling_policy' is required",
    "'self_link' is set by the provider alone",
)


def main() -> int:
    """Print each problem with its place; 1 if there is one."""
    import hcl2

    schema = json.loads(Path(sys.argv[1]).read_text())
    if sys.argv[2] == "--broken":
        return _find_what_was_planted(list(check(hcl2.loads(BROKEN), schema)))
    files = sorted(Path(sys.argv[2]).rglob("*.tf"))
    problems = []
    for file in files:
        with file.open() as text:
            parsed = hcl2.load(text)
        problems += [f"{file}: {problem}" for problem in check(parsed, schema)]
    print("\n".join(problems) or f"{len(files)} files: every name is the provider's")
    return 1 if problems or not files else 0


def _find_what_was_planted(problems: list[str]) -> int:
    missed = [wanted for wanted in PLANTED if not any(wanted in problem for problem in problems)]
    print("\n".join(f"not found: {wanted}" for wanted in missed) or f"{len(PLANTED)} found")
    return 1 if missed or len(problems) != len(PLANTED) else 0


def check(parsed: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Each problem of one parsed file, in words.

    Args:
        parsed: as python-hcl2 has it: `resource` and `data` are lists of type to name to body.
        schema: as `provider_schema.py` writes it.
    """
    for kind in ("resource", "data"):
        for entry in parsed.get(kind, []):
            for type_name, bodies in entry.items():
                for name, body in bodies.items():
                    yield from _check_one(kind, type_name, name, body, schema)


def _check_one(
    kind: str, type_name: str, name: str, body: Mapping[str, Any], schema: Mapping[str, Any]
) -> Iterator[str]:
    place = f"{kind} {type_name}.{name}"
    shape = schema[kind].get(type_name)
    if shape is not None:
        bare = {key: value for key, value in body.items() if key not in _META[kind]}
        yield from _check_block(place, bare, shape)
    elif type_name in schema[f"{kind}_names"]:
        yield f"{place}: not in the distilled schema yet; run scripts/provider_schema.py again"
    elif type_name.startswith("google_"):
        yield f"{place}: no such {kind}{_near(type_name, schema[f'{kind}_names'])}"


def _check_block(place: str, body: Mapping[str, Any], shape: Mapping[str, Any]) -> Iterator[str]:
    attributes, blocks = shape["attributes"], shape["blocks"]
    inner = list(_blocks_of(body, blocks))
    given = {key for key in body if not key.startswith("__") and key != "dynamic"}
    for key in sorted(given - {*blocks}):
        if key not in attributes:
            yield f"{place}: no argument or block {key!r}{_near(key, [*attributes, *blocks])}"
        elif attributes[key].get("computed"):
            yield f"{place}: {key!r} is set by the provider alone"
    for key, content in inner:
        if key in blocks:
            yield from _check_block(f"{place} / {key}", content, blocks[key])
        else:
            yield f"{place}: no block {key!r}{_near(key, list(blocks))}"
    there = given | {key for key, _ in inner}
    for key, about in {**attributes, **blocks}.items():
        if about.get("required") and key not in there:
            yield f"{place}: {key!r} is required"


def _blocks_of(
    body: Mapping[str, Any], blocks: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each block with its name; a dynamic one counts as there, however many it turns out to be."""
    for key in blocks:
        value = body.get(key, [])
        for content in value if isinstance(value, list) else [value]:
            if isinstance(content, Mapping):
                yield key, content
    for entry in body.get("dynamic", []):
        for key, value in entry.items():
            for content in value.get("content", [{}]):
                yield key, content


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f"; did you mean {near[0]!r}?" if near else ""


if __name__ == "__main__":
    sys.exit(main())
