"""Distil a Terraform provider's resource shapes from its prebuilt bindings.

`terraform validate` needs the provider, and the provider needs a registry of its own. The bindings
of the Terraform CDK are in npm's registry and name every argument. This keeps, of the resources
that `deploy/` uses, the names, types and what is required, and of all others the type name:

    npm pack @cdktf/provider-google@16.12.1 && tar xzf cdktf-provider-google-*.tgz
    python scripts/provider_schema.py package deploy/provider-schema.json
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

_INTERFACE = re.compile(
    r"^export interface (\w+) (?:extends [\w.]+ )?\{\n(.*?)^\}", re.MULTILINE | re.DOTALL
)
_ARGUMENT = re.compile(
    r"#(\w+) \w+#\w+\}(?:(?!\*/).)*\*/\s*readonly (\w+)(\??): ([^;]+);", re.DOTALL
)
_COMPUTED = re.compile(r"^    // (\w+) - computed: true, optional: false", re.MULTILINE)
_SCALARS = {"string": "string", "number": "number", "boolean | cdktf.IResolvable": "bool"}
_USED = re.compile(r'^(resource|data) "(google_\w+)"', re.MULTILINE)


def main() -> None:
    """Write the shapes of what the Terraform files beside the second argument use."""
    bindings, target = Path(sys.argv[1]), Path(sys.argv[2])
    package = json.loads((bindings / "package.json").read_text())
    files = sorted(target.parent.rglob("*.tf"))
    used = sorted({pair for file in files for pair in _USED.findall(file.read_text())})
    declarations = (bindings / "lib/pubsub-topic/index.d.ts").read_text()
    version = re.search(r"hashicorp/google/([\d.]+)/", declarations)
    names = sorted(set(_type_names(bindings)))
    schema = {
        "source": f"{package['name']} {package['version']} ({package['license']}), npm",
        "provider": f"hashicorp/google {version[1] if version else '?'}",
        "resource_names": [name for kind, name in names if kind == "resource"],
        "data_names": [name for kind, name in names if kind == "data"],
        "google": _shape(bindings / "lib/provider"),
        "resource": {n: _shape(_folder(bindings, k, n)) for k, n in used if k == "resource"},
        "data": {n: _shape(_folder(bindings, k, n)) for k, n in used if k == "data"},
    }
    target.write_text(_compact(schema))


def _compact(schema: dict[str, Any]) -> str:
    """One line for each resource, so that a diff says which one changed."""
    lines = []
    for key, value in schema.items():
        if key in ("resource", "data"):
            inner = ",\n".join(f"  {json.dumps(n)}: {json.dumps(s)}" for n, s in value.items())
            lines.append(f" {json.dumps(key)}: {{\n{inner}\n }}")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _type_names(bindings: Path) -> list[tuple[str, str]]:
    return [
        ("data" if file.parent.name.startswith("data-") else "resource", name[1])
        for file in bindings.glob("lib/*/index.js")
        if file.parent.name != "provider"
        if (name := re.search(r'\.tfResourceType = "(\w+)"', file.read_text()))
    ]


def _folder(bindings: Path, kind: str, name: str) -> Path:
    stem = name.removeprefix("google_").replace("_", "-")
    return bindings / "lib" / (f"data-google-{stem}" if kind == "data" else stem)


def _shape(folder: Path) -> dict[str, Any]:
    """`{"attributes": {name: {type, required?}}, "blocks": {name: {…shape, single?, required?}}}`.

    Attributes that only the provider sets have no `required` but `computed`.
    """
    declarations = "\n".join(file.read_text() for file in sorted(folder.rglob("*.d.ts")))
    interfaces = dict(_INTERFACE.findall(declarations))
    root = next(name for name in interfaces if name.endswith("Config") and _is_root(name, folder))
    shape = _block(root, interfaces)
    code = (folder / "index.js").read_text()
    body = code[code.index(" extends cdktf.Terraform") :]
    for name in _COMPUTED.findall(body):
        scalar = re.search(rf"get(String|Number|Boolean|List)Attribute\('{name}'\)", body)
        kind = {
            "String": "string",
            "Number": "number",
            "Boolean": "bool",
            "List": ["list", "string"],
        }
        shape["attributes"].setdefault(
            name, {"type": kind[scalar[1]] if scalar else "dynamic", "computed": True}
        )
    return shape


def _is_root(name: str, folder: Path) -> bool:
    stem = "google-provider" if folder.name == "provider" else folder.name
    return name.removesuffix("Config").lower() == stem.replace("-", "")


def _block(name: str, interfaces: dict[str, str]) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    blocks: dict[str, Any] = {}
    for argument, _, optional, typed in _ARGUMENT.findall(interfaces[name]):
        bare = typed.removesuffix(" | cdktf.IResolvable").removesuffix("[]")
        needed = {} if optional else {"required": True}
        if bare in interfaces:
            single = (
                {}
                if typed.removesuffix(" | cdktf.IResolvable").endswith("[]")
                else {"single": True}
            )
            blocks[argument] = {**_block(bare, interfaces), **single, **needed}
        else:
            attributes[argument] = {"type": _type(typed), **needed}
    return {"attributes": attributes, "blocks": blocks}


def _type(typed: str) -> Any:  # noqa: ANN401 (Terraform's notation: a name or a nested list)
    if typed in _SCALARS:
        return _SCALARS[typed]
    if typed.startswith("{"):
        return ["map", "string"]
    return {"string[]": ["list", "string"], "number[]": ["list", "number"]}.get(typed, "dynamic")


if __name__ == "__main__":
    main()
