"""The report's page and its charts: whole, harmless, and asking nobody for anything."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.unit.convert.test_tally import converted
from worker.console.stop import Stop
from worker.convert.drawings import Bar, bars, curve
from worker.convert.memory import MemoryWatch
from worker.convert.options import ConvertOptions
from worker.convert.outcomes import Failed, Passed, PassedOver, RunEnd
from worker.convert.page import page
from worker.convert.summary import RunFacts, as_text, summarise, write_whole
from worker.convert.tally import Tally
from worker.photo.ladder import Ladder
from worker.settings.settings import Settings

NASTY = "<script>alert('\"x\"')</script>\n\udcff.jpg"
STARTED = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)


def summary(*, failures: int = 1, pictures: int = 3) -> dict[str, Any]:
    tally = Tally(None)
    for number in range(pictures):
        tally.saw()
        tally.add(converted(f"{number}{NASTY}", 1000, 10 * number + 1, 400 * number + 1))
    for _ in range(failures):
        tally.saw()
        tally.add(Failed(name=NASTY, reason="corrupt_original", message=NASTY))
    tally.add(PassedOver(name=NASTY, why=Passed.NO_PICTURE))
    watch = MemoryWatch()
    for number in range(10):
        watch.take(number << 24, number)
    options = ConvertOptions(
        source=Path(NASTY), output=Path("out"), sizes=Ladder.exactly("320,full")
    )
    run = RunFacts(
        started=STARTED,
        ended=STARTED + timedelta(seconds=20),
        complete=True,
        options=options,
        recipe=options.recipe(Settings.load({}), "codec"),
        slots=2,
        children=True,
    )
    return summarise(run, tally, watch, RunEnd(Stop()))


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]


def test_names_of_strangers_do_no_harm() -> None:
    told = summary()
    shown = {told["best_savings"][0]["name"]: "data:image/webp;base64,AAAA"}
    text = page(told, shown).decode()
    seen = Seen()
    seen.feed(text)
    assert not {"script", "link", "iframe", "object"} & seen.tags
    assert seen.addresses == ["data:image/webp;base64,AAAA"]
    assert not re.search(r"url\(|@import|https?://", text)
    assert "&lt;script&gt;" in text
    assert "default-src 'none'" in text


def test_a_run_that_did_nothing_has_a_page() -> None:
    text = page(summary(failures=0, pictures=0), {}).decode()
    assert "<svg" not in text
    assert "<h1>No image converted, 0 current already</h1>" in text
    assert "Failures" not in text


def test_a_dry_run_tells_what_it_would_do() -> None:
    told = summary() | {"dry_run": True, "would_convert": 1234, "would_read_bytes": 5 << 20}
    text = page(told, {}).decode()
    assert "<b>1,234</b><span>would be converted</span>" in text
    assert "<b>5.0 MiB</b><span>of originals</span>" in text


def test_the_summary_adds_up() -> None:
    told = summary()
    assert (told["found"], told["converted"], told["failed"], told["skipped"]) == (4, 3, 1, 1)
    assert told["error_rate"] == 0.25
    assert (told["bytes_in"], told["bytes_out"]) == (3000, 33 + 1203)
    assert told["saved_percent"] == pytest.approx(100 * (1 - 1236 / 3000), abs=0.01)
    assert told["image_seconds"]["average"] == 0.5
    assert (told["images_per_second"], told["seconds"]) == (0.15, 20.0)
    assert told["memory"]["peak_bytes"] == 9 << 24
    assert told["rungs"]["1"]["count"] == 3
    assert told["failures"][0]["name"] == NASTY
    lines = as_text(told)
    assert "\udcff" not in lines
    assert "3 converted, 0 current, 1 failed, 1 files passed over" in lines


def test_charts_are_well_formed() -> None:
    for chart in (
        bars([Bar("<320>", 100, "<", "20 %"), Bar("full", 0, "")]),
        bars([]),
        curve([(0.0, 1 << 20), (3700.0, 300 << 20)]),
        curve([(0.0, 0)]),
        curve([]),
    ):
        ET.fromstring(chart)  # noqa: S314 (made a line above)


def test_the_longest_bar_fills_its_room_and_an_empty_row_has_none() -> None:
    text = bars([Bar("a", 50, "50"), Bar("b", 200, "200"), Bar("c", 0, "0")])
    assert re.findall(r"width:([0-9.]+)%", text) == ["25.00", "100.00"]
    assert text.count("<tr>") == 3


def test_a_curve_ends_at_its_corners() -> None:
    text = curve([(0.0, 0), (30.0, 10 << 20), (120.0, 5 << 20)])
    assert 'class="line" points="0.0,100.0 250.0,0.0 1000.0,50.0"' in text
    assert "<span>0 s</span><span>1:00 min</span><span>2:00 min</span>" in text


def test_the_page_says_what_came_of_the_run() -> None:
    told = summary() | {"bytes_in": 30 << 20, "bytes_out": 6 << 20, "saved_percent": 80.0}
    text = page(told, {}).decode()
    assert "3 images: 30.0 MiB became 6.0 MiB in 2 sizes, <em>80 % less</em>" in text
    # Per image: a third of all, and each size beside the originals of its own images.
    assert re.search(r">original<.*>10\.0 MiB<.*>100 %<", text)
    assert "Half of the images take at most 0.5 s. The average is 0.50 s" in text


def test_a_file_is_written_whole_and_through_no_link(tmp_path: Path) -> None:
    half = tmp_path / f".s.json.{os.getpid()}.part"
    half.symlink_to("victim")
    write_whole(tmp_path / "s.json", b"{}")
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]
