"""Seconds of renders out of a worker's log that is still being written."""

from __future__ import annotations

import json
from pathlib import Path

from worker.lab.local.child import RenderLog


def handled(photo_id: str, seconds: dict[str, float]) -> bytes:
    line = {"message": "handled", "photo_id": photo_id, "seconds": seconds}
    return json.dumps(line).encode() + b"\n"


def test_the_render_alone_is_told_and_the_newest_counts(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    renders = RenderLog(log)
    assert renders.seconds() == {}

    whole = handled("a", {"download": 20.0, "render": 7.8}) + handled("b", {"commit": 0.1})
    late = handled("c", {"render": 0.5})
    log.write_bytes(whole + late[:20])
    assert renders.seconds() == {"a": 7.8}

    with log.open("ab") as file:
        file.write(late[20:] + b"no JSON\n[1]\n{}\n\xff\n" + handled("a", {"render": 3.0}))
    assert renders.seconds() == {"a": 3.0, "c": 0.5}


def test_a_log_that_cannot_be_read_costs_only_the_seconds(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    renders = RenderLog(log)
    log.mkdir()  # root reads a file of any mode
    assert renders.seconds() == {}
