"""Which originals a run measures, and which it leaves out with a word."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from tests.support.pictures import corners_jpeg
from worker.errors import UsageFault
from worker.lab.bench.photos import open_photos


def test_what_is_no_picture_is_left_out_by_name(tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(corners_jpeg(64, 48))
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "head.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with (
        capture_logs() as logged,
        open_photos([str(tmp_path)], structlog.get_logger()) as photos,
    ):
        [good] = photos
        assert (good.name, good.width, good.height) == ("good.jpg", 64, 48)
    assert [entry["file"] for entry in logged] == [
        str(tmp_path / "empty.jpg"),
        str(tmp_path / "head.png"),
    ]
    assert all(entry["log_level"] == "warning" and entry["reason"] for entry in logged)


def test_where_none_is_left_the_command_line_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_bytes(b"not a picture")
    with (
        capture_logs() as logged,
        pytest.raises(UsageFault, match="none of PHOTOS is a picture"),
        open_photos([str(tmp_path / "notes.jpg")], structlog.get_logger()),
    ):
        pass
    assert len(logged) == 1
