"""Children that answer by a script: what a child could say that a picture has taken over."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from worker.photo.header import Header

_HEAD = """
import json, os, sys, time

FACTS = {"format": "jpeg", "width": 100, "height": 60, "pages": 1, "taken_at": None,
         "camera": None, "thumbhash": "AAAAAAAA", "color": "#000000"}
COST = {"cpu_seconds": 0.1, "peak_bytes": 1}
END = {"facts": FACTS, **COST}
SIZE = {"rung": "32", "width": 32, "height": 19}
SIZES = {"32": (32, 19), "full": (100, 60)}

def say(kind, **fields):
    print(json.dumps({"kind": kind, **fields}), flush=True)

def rendered(request, rung, **changes):
    width, height = SIZES[rung]
    with open(f"{request['folder']}/{rung}.webp", "wb") as file:
        file.write(b"RIFF")
    fields = {"size": {"rung": rung, "width": width, "height": height}, "size_bytes": 4,
              "crc32c": "AAAAAA==", **changes}
    say("RungWritten", **fields)

def end(**facts):
    say("Finished", facts={**FACTS, **facts}, **COST)

def requests():
    for line in sys.stdin:
        yield json.loads(line)

def renders():
    # Measures what is to be measured; the rest is the script's.
    for request in requests():
        if request["kind"] == "MeasureRequest":
            say("Header", **HEADER)
        else:
            yield request

say("Ready", codec="scripted", unconfined=[])
"""

LADDER = "32,full"
"""The ladder that a script's `rendered` knows the sizes of."""

SOUND = """
for request in renders():
    rendered(request, "32")
    rendered(request, "full")
    say("Finished", **END)
"""


def script(monkeypatch: pytest.MonkeyPatch, folder: Path, body: str) -> None:
    """Have every child that is spawned from here on run `body` instead."""
    program, code = folder / "child", folder / "child.py"
    code.write_text(f"HEADER = {_HEADER!r}\n{_HEAD}\n{body}\n")
    # Not Python's path behind `#!`, which may hold no space.
    program.write_text(f"#!/bin/sh\nexec {shlex.quote(_PYTHON)} {shlex.quote(str(code))}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


_PYTHON = sys.executable
_HEADER = asdict(Header(format="jpeg", width=100, height=60, bands=3, bits=8))
