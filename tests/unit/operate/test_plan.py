"""The plan: facts and sizes, for programs and for people."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.small_pictures import corners, png
from worker.errors import ConfigurationError
from worker.operate.plan import as_text, plan, run_plan
from worker.render.capacity import MIB, Capacity
from worker.settings.settings import Settings
from worker.system.machine import Machine

MACHINE = Machine(vcpus=4, memory_bytes=8 << 30)
CAPACITY = Capacity(slots=2, in_flight=6, render_memory_bytes=512 * MIB)


def test_a_plan_is_plain_json_with_what_would_run() -> None:
    planned = plan(Settings.load({}), MACHINE, CAPACITY)
    assert json.loads(json.dumps(planned)) == planned
    assert planned["vcpus"] == 4
    assert planned["memory_bytes"] == 8 << 30
    assert planned["render_slots"] == 2
    assert planned["in_flight"] == 6
    assert planned["memory_for_renders_bytes"] == 512 * MIB


def test_the_largest_original_is_told_by_memory_or_by_the_limit() -> None:
    def largest(memory_bytes: int, **environment: str) -> tuple[object, object]:
        capacity = Capacity(slots=2, in_flight=6, render_memory_bytes=memory_bytes)
        planned = plan(Settings.load(environment), MACHINE, capacity)
        return planned["largest_jpeg_pixels"], planned["largest_progressive_jpeg_pixels"]

    baseline, progressive = largest(512 * MIB)
    assert isinstance(baseline, int)
    assert isinstance(progressive, int)
    assert 10_000_000 < progressive < baseline < 150_000_000
    assert largest(8 << 30) == (150_000_000, 150_000_000)
    assert largest(8 << 30, WORKER_MAX_ORIGINAL_PIXELS="1000") == (1000, 1000)


def test_settings_win_over_the_machine() -> None:
    settings = Settings.load({"WORKER_VCPUS": "3", "WORKER_MEMORY_BYTES": "1GiB"})
    planned = plan(settings, MACHINE, CAPACITY)
    assert (planned["vcpus"], planned["memory_bytes"]) == (3, 1 << 30)


def test_the_estimate_grows_with_the_slots() -> None:
    def expected(slots: int) -> int:
        capacity = Capacity(slots=slots, in_flight=1, render_memory_bytes=1 << 30)
        photos = plan(Settings.load({}), MACHINE, capacity)["expected_photos_an_hour"]
        assert isinstance(photos, int)
        return photos

    assert 500 < expected(1) < 20_000
    assert abs(expected(8) - 8 * expected(1)) <= 8


def test_no_estimate_for_a_ladder_that_was_not_measured() -> None:
    planned = plan(Settings.load({"WORKER_LADDER": "full"}), MACHINE, CAPACITY)
    assert planned["expected_photos_an_hour"] is None
    assert "unknown" in shown(planned)["expected photos an hour"]


def shown(planned: dict[str, object]) -> dict[str, str]:
    return dict(re.split(r"  +", line, maxsplit=1) for line in as_text(planned).splitlines())


def test_a_plan_is_lines_for_people() -> None:
    lines = shown(plan(Settings.load({}), MACHINE, CAPACITY))
    assert lines["memory"] == "8.0 GiB"
    assert lines["memory for renders"] == "512 MiB"
    assert re.fullmatch(r"1\d\d megapixels", lines["largest JPEG"])
    assert lines["drain"] == "20 s"
    assert lines["render slots"] == "2"
    assert lines["expected photos an hour"].startswith("about ")


def test_a_watermark_that_no_worker_could_lay_over_anything(tmp_path: Path) -> None:
    """It begins like a picture, so only a decoder knows."""
    file = tmp_path / "mark.png"
    file.write_bytes(png(corners())[:60])
    with pytest.raises(ConfigurationError, match="WORKER_WATERMARK"):
        run_plan(Settings.load({"WORKER_WATERMARK": str(file)}), check=False, as_json=True)
    file.write_bytes(png(corners()))
    run_plan(Settings.load({"WORKER_WATERMARK": str(file)}), check=False, as_json=True)
