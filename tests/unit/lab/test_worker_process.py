"""A worker's log, read while it is still being written."""

from __future__ import annotations

import json
from pathlib import Path

from worker.lab.local.session import render_seconds
from worker.lab.worker_process import WorkerLog


def handled(photo_id: str, seconds: dict[str, float]) -> bytes:
    line = {"message": "handled", "photo_id": photo_id, "seconds": seconds}
    return json.dumps(line).encode() + b"\n"


def test_whole_lines_of_json_are_entries(tmp_path: Path) -> None:
    log = WorkerLog(tmp_path / "worker.log")
    assert log.entries() == []

    whole = handled("a", {"download": 20.0, "render": 7.8}) + handled("b", {"commit": 0.1})
    late = handled("c", {"render": 0.5})
    (tmp_path / "worker.log").write_bytes(whole + late[:20])
    assert [entry["photo_id"] for entry in log.entries("handled")] == ["a", "b"]
    assert render_seconds(log) == {"a": 7.8}

    with (tmp_path / "worker.log").open("ab") as file:
        file.write(late[20:] + b"no JSON\n[1]\n{}\n\xff\n" + handled("a", {"render": 3.0}))
    assert render_seconds(log) == {"a": 3.0, "c": 0.5}
    assert [entry["seconds"] for entry in log.entries(photo_id="b")] == [{"commit": 0.1}]
    assert log.entries_after(3) == [{}, *log.entries(photo_id="a")[1:]]


def test_a_log_that_is_gone_or_cannot_be_read_is_empty(tmp_path: Path) -> None:
    for path in (tmp_path / "gone" / "worker.log", tmp_path):  # root reads a file of any mode
        log = WorkerLog(path)
        assert (log.entries(), log.last_lines()) == ([], "")
