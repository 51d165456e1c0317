"""`terraform validate` and `terraform test` where the provider's registry cannot be reached.

Terraform asks a provider for its schema and then checks types, references, modules and what is
required by itself. This stands in for hashicorp/google with the schema that `provider_schema.py`
distilled: it answers for shapes and creates nothing.

    python scripts/terraform_stand_in.py deploy/provider-schema.json -- terraform validate

Terraform's plugin protocol 5.2 over gRPC; its messages are so few that they are written by hand.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

ADDRESS = "registry.terraform.io/hashicorp/google"
_LIST = 2


def main() -> int:
    """Run the command behind `--` with the stand-in attached; its exit code is ours."""
    split = sys.argv.index("--")
    schema = json.loads(Path(sys.argv[1]).read_text())
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers([_Provider(_schema_response(schema))])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    attached = {
        ADDRESS: {
            "Protocol": "grpc",
            "ProtocolVersion": 5,
            "Pid": os.getpid(),
            "Test": True,
            "Addr": {"Network": "tcp", "String": f"127.0.0.1:{port}"},
        }
    }
    environment = {**os.environ, "TF_REATTACH_PROVIDERS": json.dumps(attached)}
    environment["CHECKPOINT_DISABLE"] = "1"
    try:
        return subprocess.run(sys.argv[split + 1 :], env=environment, check=False).returncode
    finally:
        server.stop(0)


class _Provider(grpc.GenericRpcHandler):
    """Answers each call of the protocol with bytes made beforehand or echoed."""

    def __init__(self, schema: bytes) -> None:
        self._answers: dict[str, Callable[[bytes], bytes]] = {
            "GetSchema": lambda _: schema,
            "PrepareProviderConfig": _echo_config,
            "ValidateResourceTypeConfig": lambda _: b"",
            "ValidateDataSourceConfig": lambda _: b"",
            "Configure": lambda _: b"",
            "Stop": lambda _: b"",
        }

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        service, _, method = call.method.lstrip("/").partition("/")
        answer = self._answers.get(method)
        if service != "tfplugin5.Provider" or answer is None:
            return None
        return grpc.unary_unary_rpc_method_handler(lambda request, _: answer(request))


def _echo_config(request: bytes) -> bytes:
    # The request's only field and the answer's first are the same message: field 1, a DynamicValue.
    return request


def _schema_response(schema: dict[str, Any]) -> bytes:
    parts = [_field(1, _schema(schema["google"]))]
    for number, key in ((2, "resource"), (3, "data")):
        parts += [
            _field(number, _field(1, name.encode()) + _field(2, _schema(shape)))
            for name, shape in schema[key].items()
        ]
    return b"".join(parts)


def _schema(shape: dict[str, Any]) -> bytes:
    return _field(2, _block(shape))


def _block(shape: dict[str, Any]) -> bytes:
    attributes = [_field(2, _attribute(n, a)) for n, a in shape["attributes"].items()]
    nested = [_field(3, _nested(n, b)) for n, b in shape.get("blocks", {}).items()]
    return b"".join(attributes + nested)


def _attribute(name: str, about: dict[str, Any]) -> bytes:
    required, computed = bool(about.get("required")), bool(about.get("computed"))
    # What may be left out may also be filled in by the provider: the bindings do not tell which.
    flags = {4: required, 5: not required and not computed, 6: not required}
    head = _field(1, name.encode()) + _field(2, json.dumps(about["type"]).encode())
    return head + b"".join(_number(number, 1) for number, on in flags.items() if on)


def _nested(name: str, block: dict[str, Any]) -> bytes:
    # Timeouts are the one block that providers declare as a single object.
    nesting = 1 if name == "timeouts" else _LIST
    head = _field(1, name.encode()) + _field(2, _block(block)) + _number(3, nesting)
    least = _number(4, 1) if block.get("required") else b""
    most = _number(5, 1) if block.get("single") and nesting == _LIST else b""
    return head + least + most


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 (seven bits a byte)
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


if __name__ == "__main__":
    sys.exit(main())
