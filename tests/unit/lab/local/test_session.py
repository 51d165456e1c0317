"""What a local session tells a shell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from worker.lab.local.session import exports_text


def test_a_shell_reads_back_what_was_exported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "it's $HOME" / "python"
    monkeypatch.setattr(sys, "executable", str(python))
    file = tmp_path / "env"
    file.write_text(exports_text({"A": "gs://plain", "B": 'it\'s `odd` $A "x"', "C": ""}))
    sourced = subprocess.run(
        ["/bin/sh", "-c", '. "$0" && /usr/bin/env -0', str(file)],
        env={"PATH": "/usr/bin"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    told = dict(each.split("=", 1) for each in sourced.stdout.rstrip("\0").split("\0"))
    assert told["PATH"] == f"{python.parent}:/usr/bin"
    assert {name: told[name] for name in "ABC"} == {
        "A": "gs://plain",
        "B": 'it\'s `odd` $A "x"',
        "C": "",
    }
