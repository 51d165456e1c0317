"""`photo-worker convert` over ten thousand tiny files: memory stays flat."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conversions import convert, left_over
from tests.support.small_pictures import corners, png

MANY, FIRST = 10_000, 1_000
LEEWAY_BYTES = 12 << 20


@pytest.mark.timeout(900)
def test_ten_thousand_tiny_files_take_no_more_memory_than_a_thousand(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    tiny = png(corners(8, 8))
    for number in range(MANY):
        folder = source / f"{number // 1000}"
        folder.mkdir(parents=True, exist_ok=True)
        # Half of them fail.
        (folder / f"{number:05}.png").write_bytes(tiny if number % 2 else tiny[:-20])
    arguments = (source, out, "--sizes", "full", "--json")
    first = convert(*arguments, "--limit", FIRST, seconds=600)
    assert first.code == 7, first.errors
    rest = convert(*arguments, seconds=600)
    assert rest.code == 7, rest.errors
    one, all_of_them = first.summary, rest.summary
    assert one["converted"] + one["failed"] == FIRST
    assert one["converted"] + all_of_them["converted"] == MANY // 2
    assert all_of_them["failed"] == MANY // 2
    assert len((out / "failures.jsonl").read_bytes().splitlines()) == MANY // 2
    assert sum(1 for _ in out.rglob("*.webp")) == MANY // 2
    peak, before = (each["memory"]["parent_peak_bytes"] for each in (all_of_them, one))
    assert peak < before + LEEWAY_BYTES
    assert left_over(out) == []
