"""The page of `convert --report` in a real browser: it fits a phone and a desktop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.browsing import DESKTOP, PHONE, cut_off, launched, overflow, visiting
from tests.unit.convert.test_page import summary
from worker.convert.page import page as report

pytestmark = pytest.mark.browser

LONG = "a-name-that-is-long/" + "x" * 120 + ".jpg"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_and_messages_fit(
    browser: Browser, tmp_path: Path, size: tuple[int, int], scheme: str
) -> None:
    told = summary(failures=3, pictures=20)
    told["failures"][0] |= {"name": LONG, "message": "a message of many words " * 20}
    told["best_savings"][0]["name"] = LONG
    file = tmp_path / "report.html"
    file.write_bytes(report(told, {}))
    with visiting(browser, size, color_scheme=scheme) as (page, _):
        page.goto(file.as_uri())

        expect(page.get_by_text("a message of many words").first).to_be_visible()
        assert overflow(page) <= 0
        assert cut_off(page, "main *:not(svg *)") == []
        bars = page.locator("figure:first-child .bars i").evaluate_all(
            "(all) => all.map((bar) => bar.getBoundingClientRect().width)"
        )
        room = page.locator("figure:first-child .bar").first.evaluate("(e) => e.clientWidth")
        assert len(bars) == 3
        assert 100 < max(bars) < room
