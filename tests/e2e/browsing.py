"""A real browser for the tests of pages: what it complains about, and what does not fit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.conftest import absent

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE = (360, 740)
DESKTOP = (1440, 900)
DEADLINE_SECONDS = 20.0


@contextmanager
def launched() -> Iterator[Browser]:
    """Chromium from PATH; without one the test is skipped."""
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        absent(f"none of {', '.join(BROWSERS)} is on PATH: `apt-get install chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def visiting(
    browser: Browser, size: tuple[int, int] = DESKTOP, **options: Any
) -> Iterator[tuple[Page, list[str]]]:
    """A page, and what it complained about; at the end the list must be empty."""
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            complaints.append(message.text)

    viewport = {"width": size[0], "height": size[1]}
    context = browser.new_context(viewport=viewport, device_scale_factor=1, **options)  # type: ignore[arg-type]  # a TypedDict
    try:
        page = context.new_page()
        page.set_default_timeout(DEADLINE_SECONDS * 1000)
        page.on("console", hear)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.add_init_script(
            "addEventListener('securitypolicyviolation', (event) =>"
            " console.error(`${event.violatedDirective} ${event.blockedURI}`));"
        )
        yield page, complaints
        assert complaints == []
    finally:
        context.close()


def overflow(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def cut_off(page: Page, selector: str) -> list[str]:
    """Boxes whose content is larger than they are, so that some of it is hidden."""
    found = page.locator(selector).evaluate_all(
        "(all) => all.filter((e) => getComputedStyle(e).display !== 'inline' && e.clientWidth &&"
        " (e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1))"
        ".map((e) => e.outerHTML.slice(0, 80))"
    )
    return list(found)
