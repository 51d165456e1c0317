"""Standard output that is full, or whose reader has gone, up to the flush at Python's exit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLAN = [sys.executable, "-m", "worker", "plan", "--no-check"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("more", [[], ["--json"]], ids=["text", "json"])
def test_a_full_disk_is_told_in_one_line(more: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*PLAN, *more], stdout=full, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert done.stderr == (
        b"photo-worker: standard output cannot be written: No space left on device\n"
    )
    assert done.returncode == 1


def test_a_reader_that_has_gone_changes_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(PLAN, stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
