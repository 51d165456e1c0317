"""Text for people and for `--json`."""

from __future__ import annotations

import json

import pytest

from worker.console.text import duration, plain, size, to_json


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0 s"), (11.6, "12 s"), (59.6, "1 min"), (245, "4 min 5 s"), (720, "12 min")),
        *((7_500, "2 h 5 min"), (12_301, "3 h 25 min"), (86_400, "1 d"), (273_600, "3 d 4 h")),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        *((0, "0 B"), (1_023, "1,023 B"), (2_048, "2.0 KiB"), (3_565_158, "3.4 MiB")),
        *((512 << 20, "512 MiB"), (5 << 30, "5.0 GiB"), (5_000 << 40, "5,000 TiB")),
    ],
)
def test_sizes(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text


def test_a_terminal_is_told_no_commands() -> None:
    assert plain("a\x1b[2J\n\u202eb é") == "a\\x1b[2J\\n\\u202eb é"


def test_json_of_a_name_that_is_no_text_can_be_written_and_read() -> None:
    text = to_json({"name": "é\udcff"})
    assert "é" in text
    assert json.loads(text.encode()) == {"name": "é\udcff"}
