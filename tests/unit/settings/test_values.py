"""Values that are pictures, places and colours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.errors import ConfigurationError
from worker.photo.watermark import MAX_BYTES
from worker.settings.settings import Settings

LOGO = b'<svg xmlns="http://www.w3.org/2000/svg" width="4" height="1"/>'


def problems(**values: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load({f"WORKER_{name.upper()}": value for name, value in values.items()})
    return caught.value.problems


def test_a_watermark_is_read_when_the_settings_are(tmp_path: Path) -> None:
    file = tmp_path / "logo.svg"
    file.write_bytes(LOGO)
    settings = Settings.load({"WORKER_WATERMARK": str(file), "WORKER_WATERMARK_OPACITY": "0.3"})
    file.unlink()
    watermark = settings.recipe("codec").looks.watermark
    assert watermark is not None
    assert settings.watermark is not None
    assert settings.watermark.data == LOGO
    assert watermark.sha256 == settings.watermark.sha256
    assert (watermark.opacity, watermark.position, watermark.scale) == (0.3, "south-east", 0.2)


def test_what_is_no_watermark_is_told_with_all_other_faults(tmp_path: Path) -> None:
    text, large = tmp_path / "notes.txt", tmp_path / "large.png"
    text.write_bytes(b"not a picture")
    large.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(MAX_BYTES))
    missing, pipe = tmp_path / "missing.png", tmp_path / "pipe.png"
    os.mkfifo(pipe)
    for file, why in (
        (missing, "No such file"),
        (tmp_path, "Is a directory"),
        (pipe, "it is a pipe"),
        (text, "must be a picture"),
        (large, "4 MiB"),
    ):
        wrong, quality = sorted(problems(watermark=str(file), quality="0"), reverse=True)
        assert wrong.startswith(f"WORKER_WATERMARK='{file}'")
        assert why in wrong
        assert quality.startswith("WORKER_QUALITY='0'")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("south-east", "south-east"),
        ("Center", "centre"),
        ("NORTH_WEST", "north-west"),
        ("tile", "tile"),
    ],
)
def test_places_in_any_spelling(written: str, meant: str) -> None:
    assert Settings.load({"WORKER_WATERMARK_POSITION": written}).watermark_position == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("#ffffff", "#ffffff"),
        ("#FFF", "#ffffff"),
        ("1a2b3c", "#1a2b3c"),
        ("a2c", "#aa22cc"),
        ("transparent", None),
        ("Transparent", None),
    ],
)
def test_colours_in_any_spelling(written: str, meant: str | None) -> None:
    assert Settings.load({"WORKER_BACKGROUND": written}).background == meant


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("background", "white", "#rrggbb"),
        ("background", "#12345", "#rrggbb"),
        ("watermark_position", "upper left", "north"),
        ("watermark_opacity", "0", "greater than 0"),
        ("watermark_scale", "1.5", "less than or equal to 1"),
        ("target_quality", "99", "less than or equal to 90"),
        ("target_bytes", "0", "greater than 0"),
    ],
)
def test_what_is_expected_is_said(name: str, value: str, expected: str) -> None:
    (problem,) = problems(**{name: value})
    assert problem.startswith(f"WORKER_{name.upper()}={value!r}")
    assert expected in problem


def test_targets_have_sizes_and_scores() -> None:
    settings = Settings.load({"WORKER_TARGET_BYTES": "100k", "WORKER_TARGET_QUALITY": "72.5"})
    looks = settings.recipe("codec").looks
    assert (looks.target_bytes, looks.target_quality) == (102_400, 72.5)
