"""The gallery page in a real browser: what loads, at which rung, and what hostile text can do."""

from __future__ import annotations

import base64
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pyvips
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, expect, sync_playwright

from tests.conftest import absent
from worker.local.gallery import Gallery
from worker.placeholder import average_color, thumbhash

pytestmark = pytest.mark.browser

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
HOSTILE = '<img src=x onerror="window.pwned = 1">/<script>window.pwned = 2</script>'
RUNGS = (320, 512, 768, 1024, 1600)
PHONE = (360, 740)
DESKTOP = (1440, 900)
DEADLINE_SECONDS = 20.0
OPEN_CELL = ".cell.ready .open"

_RED, _BLUE = [200, 30, 40], [20, 60, 210]

Fetch = Callable[[str], bytes | None]


class Album:
    """A snapshot and its renditions, painted red on the left and blue on the right."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.state: dict[str, Any] = {
            "title": "hanoi-2026",
            "done": False,
            "broker": "embedded broker",
            "photos": [],
        }

    def add(self, photo_id: str, status: str, **more: Any) -> None:
        entry = {
            "photo_id": photo_id,
            "status": status,
            "reason": None,
            "message": None,
            "bytes_in": 4_000_000,
            "bytes_out": None,
            "seconds": None,
            "manifest": None,
        }
        others = [photo for photo in self.state["photos"] if photo["photo_id"] != photo_id]
        # A new object a change: the server's threads never see half of one.
        self.state = {**self.state, "photos": [*others, entry | more]}

    def add_ready(self, photo_id: str, width: int = 2400, height: int = 1600) -> None:
        manifest = self._manifest(photo_id, width, height)
        total = sum(rendition["bytes"] for rendition in manifest["renditions"])
        self.add(photo_id, "ready", bytes_out=total, seconds=0.4, manifest=manifest)

    def _manifest(self, photo_id: str, width: int, height: int) -> dict[str, Any]:
        renditions = []
        for rung in [*RUNGS, max(width, height)]:
            scale = rung / max(width, height)
            size = round(width * scale), round(height * scale)
            data = picture(*size).webpsave_buffer(Q=60, effort=0)
            label = str(rung) if rung in RUNGS else "full"
            name = f"photos/{photo_id}/17-3fd0c1a2b4e5/{label}.webp"
            self.objects[name] = bytes(data)
            renditions.append(
                {
                    "rung": label,
                    "object": name,
                    "width": size[0],
                    "height": size[1],
                    "bytes": len(data),
                    "content_type": "image/webp",
                }
            )
        small = 32 * width // max(width, height), 32 * height // max(width, height)
        rgba = bytes(picture(*small).addalpha().write_to_memory())
        return {
            "schema": "photo-manifest/1",
            "photo_id": photo_id,
            "state": "ready",
            "version": 17,
            "commit_id": "c-17",
            "original": {
                "format": "jpeg",
                "width": width,
                "height": height,
                "bytes": 4_000_000,
                "taken_at": "2026-11-22T01:02:03",
            },
            "placeholder": {
                "thumbhash": base64.b64encode(thumbhash(*small, rgba)).decode(),
                "color": average_color(rgba),
            },
            "renditions": renditions,
            "rejection": None,
            "labels": {"album": HOSTILE},
        }


def picture(width: int, height: int) -> pyvips.Image:
    left = (pyvips.Image.black(width // 2, height) + _RED).cast("uchar")
    right = (pyvips.Image.black(width - width // 2, height) + _BLUE).cast("uchar")
    return left.join(right, "horizontal").copy(interpretation="srgb")


@contextmanager
def serving(album: Album, fetch: Fetch | None = None) -> Iterator[Gallery]:
    gallery = Gallery(snapshot=lambda: album.state, fetch=fetch or album.objects.get)
    gallery.start()
    try:
        yield gallery
    finally:
        gallery.stop()


@pytest.fixture
def album() -> Album:
    album = Album()
    for number in range(4):
        album.add_ready(f"hanoi/IMG_{number:04}")
    album.add_ready("hanoi/tall", 1600, 2400)
    album.add("hanoi/torn", "rejected", reason="corrupt_original", message="ends in row 41")
    album.add("hanoi/later", "waiting")
    return album


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
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
    """A page, and what it complained about; at the end there must be no complaint."""
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


def rung_of(url: str) -> str:
    return url.rpartition("/")[2].removesuffix(".webp")


def loaded(page: Page, photo_id: str) -> dict[str, Any]:
    """Wait until the photo is on show; its numbers."""
    expect(page.locator(".open.shown").get_by_alt_text(photo_id, exact=True)).to_be_attached()
    found = page.get_by_alt_text(photo_id, exact=True).evaluate(
        """(image) => ({
            natural: image.naturalWidth,
            drawn: image.getBoundingClientRect().width,
            ratio: image.getBoundingClientRect().width / image.getBoundingClientRect().height,
            source: image.currentSrc,
            width: image.getAttribute("width"),
            height: image.getAttribute("height"),
            sizes: image.sizes,
            lazy: image.loading,
            decoding: image.decoding,
        })"""
    )
    return dict(found)


def smallest_that_fits(drawn: float) -> str:
    return next(str(rung) for rung in RUNGS if rung >= drawn)


def overflow(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def test_photos_load_at_the_rung_that_fits_their_cell(browser: Browser, album: Album) -> None:
    with serving(album) as gallery, visiting(browser) as (page, _):
        page.goto(gallery.url)
        image = loaded(page, "hanoi/IMG_0000")

        assert image["natural"] > 0
        assert rung_of(image["source"]) == smallest_that_fits(image["drawn"])
        assert float(image["sizes"].removesuffix("px")) == pytest.approx(image["drawn"], abs=1.5)
        assert image["ratio"] == pytest.approx(1.5, abs=0.02)
        assert (image["width"], image["height"]) == ("2400", "1600")
        assert (image["lazy"], image["decoding"]) == ("lazy", "async")
        assert loaded(page, "hanoi/tall")["ratio"] == pytest.approx(2 / 3, abs=0.02)


def test_a_phone_gets_small_rungs_and_no_sideways_scroll(browser: Browser, album: Album) -> None:
    album.add("x" * 300 + "/" + "y" * 300, "waiting")
    album.add("w" * 200, "rejected", reason="render_out_of_memory", message="m" * 400)
    album.add_ready("z" * 200)
    with serving(album) as gallery, visiting(browser, PHONE) as (page, _):
        page.goto(gallery.url)
        image = loaded(page, "hanoi/IMG_0000")

        assert image["drawn"] <= 360
        assert rung_of(image["source"]) == smallest_that_fits(image["drawn"])
        assert rung_of(image["source"]) in {"320", "512"}
        assert overflow(page) <= 0

        page.get_by_alt_text("z" * 200, exact=True).click()
        expect(page.locator(".sheet.shown")).to_be_visible()
        assert page.locator(".facts").evaluate("(e) => e.scrollWidth - e.clientWidth") <= 0
        assert overflow(page) <= 0


def test_a_wide_screen_gets_larger_rungs_than_a_phone(browser: Browser) -> None:
    album = Album()
    for number in range(6):
        album.add_ready(f"hanoi/wide-{number}", 2400, 1200)
    found = []
    for size in (PHONE, (2560, 1300)):
        with serving(album) as gallery, visiting(browser, size) as (page, _):
            page.goto(gallery.url)
            found.append(int(rung_of(loaded(page, "hanoi/wide-0")["source"])))
            assert overflow(page) <= 0

    assert found[0] < found[1]


def test_the_placeholder_stands_in_until_the_photo_is_there(browser: Browser, album: Album) -> None:
    release = threading.Event()

    def held(name: str) -> bytes | None:
        release.wait(DEADLINE_SECONDS)
        return album.objects.get(name)

    try:
        with serving(album, held) as gallery, visiting(browser) as (page, _):
            page.goto(gallery.url, wait_until="commit")
            veil = page.locator(".cell.ready .veil").first
            expect(veil).to_be_visible()
            background = veil.evaluate("(e) => getComputedStyle(e).backgroundImage")
            color = veil.evaluate("(e) => getComputedStyle(e).backgroundColor")
            pixels = page.evaluate(
                """async (url) => {
                    const image = new Image();
                    image.src = url;
                    await image.decode();
                    const canvas = document.createElement("canvas");
                    [canvas.width, canvas.height] = [image.width, image.height];
                    const context = canvas.getContext("2d");
                    context.drawImage(image, 0, 0);
                    const row = context.getImageData(0, image.height / 2, image.width, 1).data;
                    const at = (x) => [...row.slice(x * 4, x * 4 + 4)];
                    return [at(1), at(image.width - 2)];
                }""",
                background.removeprefix('url("').removesuffix('")'),
            )
            box = page.locator(OPEN_CELL).first.bounding_box()

            assert background.startswith('url("data:image/png;base64,')
            assert color == "rgb(110, 45, 125)"
            (red, _, blue, opaque), (red_right, _, blue_right, _) = pixels
            assert red > blue + 60
            assert blue_right > red_right + 60
            assert opaque == 255
            expect(page.locator(".open.shown")).to_have_count(0)

            release.set()

            assert loaded(page, "hanoi/IMG_0000")["natural"] > 0
            expect(veil).to_have_css("opacity", "0")
            assert page.locator(OPEN_CELL).first.bounding_box() == box
    finally:
        release.set()


REFERENCE_PIXELS = [
    # npm thumbhash 0.1.1, thumbHashToRGBA: corners, and (5, 7) third.
    (
        "93f80d1d9a9087879088877988787888c8070cf968",
        (32, 23),
        [[34, 30, 6, 255], [242, 0, 34, 255], [4, 24, 6, 255], [251, 246, 222, 255]],
    ),
    (
        "1a18860b062a22300736589e4035a1f47a788f77768777",
        (19, 32),
        [[16, 22, 22, 224], [93, 35, 75, 188], [98, 87, 94, 243], [110, 100, 105, 44]],
    ),
]


@pytest.mark.parametrize(("hexadecimal", "size", "reference"), REFERENCE_PIXELS)
def test_a_thumbhash_decodes_as_the_reference_does(
    browser: Browser,
    album: Album,
    hexadecimal: str,
    size: tuple[int, int],
    reference: list[list[int]],
) -> None:
    with serving(album) as gallery, visiting(browser) as (page, _):
        page.goto(gallery.url)
        width, height, pixels = page.evaluate(
            """async (hash) => {
                const { decodeThumbhash } = await import("/gallery.js");
                const { width, height, rgba } = decodeThumbhash(hash);
                const at = (x, y) => [...rgba.slice((y * width + x) * 4, (y * width + x) * 4 + 4)];
                const [right, bottom] = [width - 1, height - 1];
                return [width, height, [at(0, 0), at(right, 0), at(5, 7), at(right, bottom)]];
            }""",
            list(bytes.fromhex(hexadecimal)),
        )

    assert (width, height) == size
    for pixel, wanted in zip(pixels, reference, strict=True):
        # The reference cuts fractions off where the page rounds.
        assert pixel == pytest.approx(wanted, abs=1)


def test_photos_arrive_in_the_cells_that_waited_for_them(browser: Browser, album: Album) -> None:
    with serving(album) as gallery, visiting(browser) as (page, _):
        page.goto(gallery.url)
        loaded(page, "hanoi/IMG_0000")
        page.evaluate("for (const c of document.querySelectorAll('.cell')) c.seen = true")
        expect(page.locator("[data-count=waiting]")).to_have_text("1 waiting")
        expect(page.locator("#progress")).to_have_js_property("value", 6)
        expect(page.locator(".cell").last).to_have_class("cell waiting")

        album.add_ready("hanoi/later")

        assert loaded(page, "hanoi/later")["natural"] > 0
        expect(page.locator("[data-count=ready]")).to_have_text("6 ready")
        expect(page.locator("#progress")).to_have_js_property("value", 7)
        cells = page.locator(".cell").evaluate_all("(all) => all.map((cell) => cell.seen)")
        assert cells == [True] * 7

        album.add("hanoi/later", "deregistered")
        album.state = {**album.state, "done": True}

        expect(page.locator(".cell")).to_have_count(6)
        expect(page.get_by_role("status").first).to_have_text("Done")


def test_the_header_sums_up_bytes_and_saving(browser: Browser, album: Album) -> None:
    album.state = {
        **album.state,
        "photos": [photo | {"bytes_out": 1_000_000} for photo in album.state["photos"][:2]]
        + album.state["photos"][-2:],
    }
    with serving(album) as gallery, visiting(browser) as (page, _):
        page.goto(gallery.url)

        expect(page).to_have_title("hanoi-2026")
        expect(page.locator("#bytes")).to_have_text("8 MB originals → 2 MB ladders 75 % saved")
        expect(page.locator("[data-count=rejected]")).to_have_text("1 rejected")


def test_a_rejected_photo_says_why(browser: Browser, album: Album) -> None:
    with serving(album) as gallery, visiting(browser) as (page, _):
        page.goto(gallery.url)
        cell = page.locator(".cell.rejected")

        expect(cell.locator(".reason")).to_have_text("corrupt_original")
        expect(cell.locator(".message")).to_have_text("ends in row 41")
        expect(cell.locator(".name")).to_have_text("hanoi/torn")
        expect(cell.locator(".open")).to_be_hidden()


def test_hostile_text_stays_text(browser: Browser, album: Album) -> None:
    album.add_ready(HOSTILE)
    album.add("bad", "rejected", reason=HOSTILE, message=HOSTILE)
    album.add(HOSTILE + "2", "waiting")
    album.state = {**album.state, "title": HOSTILE, "broker": HOSTILE}
    with serving(album) as gallery, visiting(browser) as (page, _):
        page.goto(gallery.url)

        assert loaded(page, HOSTILE)["natural"] > 0
        expect(page.locator("h1")).to_have_text(HOSTILE)
        expect(page.locator(".rejected .message").last).to_have_text(HOSTILE)
        page.get_by_alt_text(HOSTILE, exact=True).click()
        expect(page.locator(".sheet.shown")).to_be_visible()
        expect(page.locator("#ladder-name")).to_have_text(HOSTILE)
        expect(page.locator("#labels li")).to_have_text("album" + HOSTILE)
        assert page.evaluate("window.pwned") is None
        assert page.locator("img[src=x]").count() == 0


def test_the_ladder_view_shows_every_rung_and_fact(browser: Browser, album: Album) -> None:
    with serving(album) as gallery, visiting(browser) as (page, _):
        page.goto(gallery.url)
        cell = loaded(page, "hanoi/IMG_0001")
        page.get_by_role("button", name="hanoi/IMG_0001").click()
        image = page.locator(".sheet img")
        showing = page.locator("#showing")

        # sizes is 100vw of 1440 px.
        expect(showing).to_contain_text("Rung 1600, ")
        expect(page.locator("tr[aria-current] th")).to_have_text("1600")
        assert int(rung_of(cell["source"])) < 1600
        expect(page.locator("#rows tr")).to_have_count(len(RUNGS) + 1)
        expect(page.locator("#rows tr").first).to_contain_text("320 × 213")  # noqa: RUF001
        expect(page.locator("#original")).to_contain_text("jpeg")
        expect(page.locator("#original")).to_contain_text("2400 × 1600 px")  # noqa: RUF001
        expect(page.locator("#original")).to_contain_text("2026-11-22 01:02:03")
        expect(page.locator("#text-color")).to_have_text("#6e2d7d")
        expect(page.locator("#swatch-hash")).to_have_css(
            "background-image", re.compile('^url\\("data:image/png;')
        )

        page.get_by_role("button", name="512", exact=True).click()
        expect(showing).to_contain_text("Rung 512, ")
        assert rung_of(image.evaluate("(e) => e.currentSrc")) == "512"
        assert image.evaluate("(e) => e.complete && e.naturalWidth > 0")
        expect(page.locator("tr[aria-current] th")).to_have_text("512")
        expect(page.get_by_role("button", name="512", exact=True)).to_have_attribute(
            "aria-pressed", "true"
        )

        page.get_by_role("button", name="Auto").click()
        expect(showing).to_contain_text("Rung 1600, ")

        link = page.get_by_role("link", name="Open rung full")
        with page.context.expect_page() as opened:
            link.click()
        with opened.value as rendition:
            rendition.wait_for_load_state()
            assert rung_of(rendition.url) == "full"


def test_the_keyboard_is_enough(browser: Browser, album: Album) -> None:
    with serving(album) as gallery, visiting(browser) as (page, _):
        page.goto(gallery.url)
        loaded(page, "hanoi/IMG_0000")
        name, dialog = page.locator("#ladder-name"), page.locator("#ladder")

        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="hanoi/IMG_0000")).to_be_focused()
        page.keyboard.press("Enter")
        expect(dialog).to_be_visible()
        expect(page.get_by_role("button", name="Close")).to_be_focused()
        expect(dialog).to_have_accessible_name("hanoi/ IMG_0000")

        page.keyboard.press("ArrowRight")
        expect(name).to_have_text("hanoi/IMG_0001")
        expect(page.locator(".sheet.shown")).to_be_visible()
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        expect(name).to_have_text("hanoi/tall")  # round the end, past what is not ready
        page.keyboard.press("Alt+ArrowUp")
        expect(name).to_have_text("hanoi/tall")

        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(page.get_by_role("button", name="hanoi/tall")).to_be_focused()


def test_who_wants_no_motion_gets_none(browser: Browser, album: Album) -> None:
    with serving(album) as gallery, visiting(browser, reduced_motion="reduce") as (page, _):
        page.goto(gallery.url)
        loaded(page, "hanoi/IMG_0000")

        assert page.evaluate("document.getAnimations().length") == 0


def test_the_page_says_when_the_worker_is_gone_and_recovers(browser: Browser, album: Album) -> None:
    def fail(route: Route) -> None:
        route.fulfill(status=200, body="no JSON")

    with serving(album) as gallery, visiting(browser) as (page, complaints):
        page.goto(gallery.url)
        loaded(page, "hanoi/IMG_0000")
        page.route("**/photos.json", fail)

        expect(page.locator("#state")).to_contain_text("Not connected")
        expect(page.get_by_alt_text("hanoi/IMG_0000", exact=True)).to_be_visible()
        page.unroute("**/photos.json", fail)

        expect(page.locator("#state")).to_have_text("", timeout=DEADLINE_SECONDS * 1000)
        assert complaints
        assert all("JSON" in complaint for complaint in complaints)
        complaints.clear()  # it should warn here
