"""The gallery page in a real browser: what loads, at which rung, and what hostile text can do."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import pyvips
from playwright.sync_api import Browser, Page, Route, expect

from tests.e2e.browsing import (
    DEADLINE_SECONDS,
    DESKTOP,
    PHONE,
    cut_off,
    launched,
    overflow,
    visiting,
)
from worker.lab.local.gallery import Gallery
from worker.render.image.placeholder import average_color, thumbhash

pytestmark = pytest.mark.browser

HOSTILE = '<img src=x onerror="window.pwned = 1">/<script>window.pwned = 2</script>'
RUNGS = (320, 512, 768, 1024, 1600)
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
            "render_seconds": None,
            "manifest": None,
        }
        others = [photo for photo in self.state["photos"] if photo["photo_id"] != photo_id]
        # A new object a change: the server's threads see all of it or the one before.
        self.state = {**self.state, "photos": [*others, entry | more]}

    def add_ready(self, photo_id: str, width: int = 2400, height: int = 1600) -> None:
        manifest = self._manifest(photo_id, width, height)
        total = sum(rendition["bytes"] for rendition in manifest["renditions"])
        self.add(
            photo_id,
            "ready",
            bytes_out=total,
            seconds=37.7,
            render_seconds=7.8,
            manifest=manifest,
        )

    def _manifest(self, photo_id: str, width: int, height: int) -> dict[str, Any]:
        renditions = []
        for rung in [*(each for each in RUNGS if each < max(width, height)), max(width, height)]:
            scale = rung / max(width, height)
            size = round(width * scale), round(height * scale)
            data = webp(*size)
            label = str(rung) if rung in RUNGS else "full"
            name = f"photos/{photo_id}/17-3fd0c1a2b4e5/{label}.webp"
            self.objects[name] = data
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


@cache
def webp(width: int, height: int) -> bytes:
    return bytes(picture(width, height).webpsave_buffer(Q=60, effort=0))


class Gate:
    """A `fetch` that holds one rung back until it is opened."""

    def __init__(self, album: Album, rung: str) -> None:
        self.album, self.rung = album, rung
        self.asked, self.opened = threading.Event(), threading.Event()

    def __call__(self, name: str) -> bytes | None:
        if rung_of(name) == self.rung:
            self.asked.set()
            self.opened.wait(DEADLINE_SECONDS)
        return self.album.objects.get(name)


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
    with launched() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, album: Album) -> Iterator[Page]:
    """The page of the album on a desktop."""
    with serving(album) as gallery, visiting(browser) as (page, _):
        page.goto(gallery.url)
        yield page


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


def test_photos_load_at_the_rung_that_fits_their_cell(page: Page) -> None:
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


def test_photos_arrive_in_the_cells_that_waited_for_them(album: Album, page: Page) -> None:
    loaded(page, "hanoi/IMG_0000")
    page.evaluate("for (const c of document.querySelectorAll('.cell')) c.seen = true")
    expect(page.locator("[data-count=waiting]")).to_have_text("1 waiting")
    expect(page.locator("#progress")).to_have_js_property("value", 6)
    expect(page.locator(".grid .cell").last).to_have_class("cell waiting")

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


def test_a_rejected_photo_says_why(page: Page) -> None:
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


def test_the_ladder_view_shows_every_rung_and_fact(page: Page) -> None:
    cell = loaded(page, "hanoi/IMG_0001")
    page.get_by_role("button", name="hanoi/IMG_0001").click()
    image = page.locator(".sheet img")
    showing = page.locator("#showing")

    fitting = smallest_that_fits(page.locator(".sheet").evaluate("(e) => e.clientWidth"))
    expect(showing).to_contain_text(f"Rung {fitting}, ")
    expect(page.locator("tr[aria-current] th")).to_have_text(fitting)
    assert int(rung_of(cell["source"])) < int(fitting)
    expect(page.locator("#rows tr")).to_have_count(len(RUNGS) + 2)
    expect(page.locator("#rows tr").nth(1)).to_contain_text("320 × 213")  # noqa: RUF001
    expect(page.locator("#original")).to_contain_text("jpeg")
    expect(page.locator("#original")).to_contain_text("2400 × 1600 px")  # noqa: RUF001
    expect(page.locator("#original")).to_contain_text("2026-11-22 01:02:03")
    expect(page.locator("#original")).to_contain_text("Rendered in7.8 s")
    expect(page.locator("#original")).to_contain_text("with the wait37.7 s")
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
    expect(showing).to_contain_text(f"Rung {fitting}, ")

    link = page.get_by_role("link", name="Open rung full")
    with page.context.expect_page() as opened:
        link.click()
    with opened.value as rendition:
        rendition.wait_for_load_state()
        assert rung_of(rendition.url) == "full"


def test_the_keyboard_is_enough(page: Page) -> None:
    loaded(page, "hanoi/IMG_0000")
    name, dialog = page.locator("#ladder-name"), page.locator("#ladder")

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="1 rejected")).to_be_focused()
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


def shown_rung(page: Page) -> str:
    """Of the picture on the stage, once it is decoded and swapped in."""
    expect(page.locator("#stage")).not_to_have_attribute("aria-busy", "true")
    return rung_of(page.locator(".sheet img").evaluate("(image) => image.currentSrc"))


def test_keys_work_after_a_rung_was_clicked_and_the_rung_is_kept(
    browser: Browser, album: Album
) -> None:
    album.add_ready("hanoi/small", 600, 400)
    with serving(album) as gallery, visiting(browser) as (page, _):
        page.goto(gallery.url)
        page.get_by_role("button", name="hanoi/tall").click()
        rung = page.get_by_role("button", name="1600", exact=True)
        rung.click()
        expect(page.locator("#showing")).to_contain_text("Rung 1600, ")

        page.keyboard.press("ArrowRight")
        expect(page.locator("#ladder-name")).to_have_text("hanoi/small")
        # 600 is all that it has: the nearest.
        expect(page.locator("#showing")).to_contain_text("Rung full, ")
        expect(page.get_by_role("button", name="full", exact=True)).to_be_focused()

        page.keyboard.press("ArrowRight")
        expect(page.locator("#ladder-name")).to_have_text("hanoi/IMG_0000")
        expect(page.locator("#showing")).to_contain_text("Rung 1600, ")
        expect(rung).to_have_attribute("aria-pressed", "true")
        expect(rung).to_be_focused()

        page.get_by_role("link", name="Open rung 320").focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        expect(page.locator("#ladder-name")).to_have_text("hanoi/IMG_0002")

        page.mouse.click(500, 5)  # beside the picture, on an element that cannot take the focus
        page.keyboard.press("ArrowRight")
        expect(page.locator("#ladder-name")).to_have_text("hanoi/IMG_0003")


def test_the_picture_stays_until_the_next_rung_is_decoded(browser: Browser, album: Album) -> None:
    gate = Gate(album, "full")
    try:
        with serving(album, gate) as gallery, visiting(browser) as (page, _):
            page.goto(gallery.url)
            page.get_by_role("button", name="hanoi/IMG_0000").click()
            before = shown_rung(page)

            page.get_by_role("button", name="full", exact=True).click()
            assert gate.asked.wait(DEADLINE_SECONDS)

            expect(page.locator("#showing")).to_contain_text("Loading rung full, ")
            expect(page.locator("#stage")).to_have_attribute("aria-busy", "true")
            on_show = page.locator(".sheet img")
            assert rung_of(on_show.evaluate("(image) => image.currentSrc")) == before
            assert on_show.evaluate("(image) => image.complete && image.naturalWidth > 0")

            gate.opened.set()
            expect(page.locator("#showing")).to_contain_text("Rung full, ")
            assert shown_rung(page) == "full"
    finally:
        gate.opened.set()


def test_a_rung_that_is_gone_says_so_and_the_picture_stays(browser: Browser, album: Album) -> None:
    with serving(album) as gallery, visiting(browser) as (page, complaints):
        page.goto(gallery.url)
        page.get_by_role("button", name="hanoi/IMG_0000").click()
        before = shown_rung(page)
        del album.objects["photos/hanoi/IMG_0000/17-3fd0c1a2b4e5/full.webp"]

        page.get_by_role("button", name="full", exact=True).click()

        expect(page.locator("#showing")).to_have_text("This rung cannot be loaded.")
        assert shown_rung(page) == before
        assert all("404" in complaint for complaint in complaints)
        complaints.clear()  # the browser tells of the 404


def test_back_closes_the_view_and_forward_opens_it_again(browser: Browser, album: Album) -> None:
    with serving(album) as gallery, visiting(browser) as (page, _):
        page.goto("about:blank")
        page.goto(gallery.url)
        page.get_by_role("button", name="hanoi/IMG_0001").click()
        page.keyboard.press("ArrowRight")
        expect(page.locator("#ladder-name")).to_have_text("hanoi/IMG_0002")

        page.go_back()
        expect(page.locator("#ladder")).to_be_hidden()
        expect(page).to_have_url(gallery.url)
        expect(page.get_by_role("button", name="hanoi/IMG_0002")).to_be_focused()

        page.go_forward()
        expect(page.locator("#ladder-name")).to_have_text("hanoi/IMG_0002")

        # Twice at once: the second must not leave the page.
        page.evaluate("for (const _ of [1, 2]) document.getElementById('close').click()")
        expect(page.locator("#ladder")).to_be_hidden()
        page.get_by_role("button", name="hanoi/IMG_0003").click()
        page.keyboard.press("Escape")
        expect(page.locator("#ladder")).to_be_hidden()
        expect(page).to_have_url(gallery.url)
        page.go_back()
        expect(page).to_have_url("about:blank")


def test_an_address_goes_straight_to_a_photo_and_its_rung(browser: Browser, album: Album) -> None:
    odd = "hanoi/50 % #1?.jpg"
    album.add_ready(odd)
    with serving(album) as gallery, visiting(browser) as (page, _):
        page.goto(gallery.url)
        page.get_by_role("button", name=odd).click()
        page.get_by_role("button", name="512", exact=True).click()
        expect(page.locator("#showing")).to_contain_text("Rung 512, ")
        address = page.url
        assert address == f"{gallery.url}#/hanoi/50%20%25%20%231%3F.jpg?rung=512"

        with visiting(browser) as (other, _):
            other.goto(address)
            expect(other.locator("#ladder-name")).to_have_text(odd)
            expect(other.locator("#showing")).to_contain_text("Rung 512, ")
            other.get_by_role("button", name="Close").click()
            expect(other.locator("#ladder")).to_be_hidden()
            expect(other).to_have_url(gallery.url)

            other.goto(f"{gallery.url}#/hanoi/later?rung=320")
            expect(other.locator(".cell.waiting")).to_be_visible()
            expect(other.locator("#ladder")).to_be_hidden()
            album.add_ready("hanoi/later")
            expect(other.locator("#ladder-name")).to_have_text("hanoi/later")
            expect(other.locator("#showing")).to_contain_text("Rung 320, ")


def drawn(page: Page) -> tuple[float, float, float]:
    """Width of the picture on the stage, and how far the stage is scrolled."""
    width, left, top = page.evaluate(
        "[document.querySelector('.sheet').getBoundingClientRect().width,"
        " document.getElementById('frame').scrollLeft, document.getElementById('frame').scrollTop]"
    )
    return width, left, top


def test_a_photo_is_seen_pixel_for_pixel_and_panned(page: Page) -> None:
    page.get_by_role("button", name="hanoi/IMG_0000").click()
    fitting = drawn(page)[0]
    assert fitting < 1100

    page.keyboard.press("z")
    expect(page.locator("#showing")).to_contain_text("Rung full, ")
    expect(page.locator("#showing")).to_contain_text("pixel for pixel")
    width, left, top = drawn(page)
    assert width == 2400
    middle = page.locator("#frame").evaluate("(e) => [e.clientWidth / 2, e.clientHeight / 2]")
    assert (left + middle[0], top + middle[1]) == pytest.approx((1200, 800), abs=2)

    page.keyboard.press("ArrowRight")
    assert drawn(page)[1] > left
    page.mouse.move(500, 400)
    page.mouse.down()
    page.mouse.move(600, 450, steps=4)
    page.mouse.up()
    moved = drawn(page)
    assert (moved[1], moved[2]) == pytest.approx((left + 90 - 100, top - 50), abs=1)
    page.mouse.wheel(0, 60)
    expect(page.locator("#frame")).to_have_js_property("scrollTop", moved[2] + 60)

    page.get_by_role("button", name="768", exact=True).click()
    expect(page.locator("#showing")).to_contain_text("Rung 768, ")
    assert drawn(page)[0] == 768

    page.keyboard.press("Escape")
    expect(page.locator("#zoom")).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#ladder")).to_be_visible()
    assert drawn(page)[0] == fitting
    page.get_by_role("button", name="Auto").click()

    page.mouse.dblclick(300, 300)
    expect(page.locator("#zoom")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#showing")).to_contain_text("pixel for pixel")
    page.mouse.click(300, 300)
    expect(page.locator("#zoom")).to_have_attribute("aria-pressed", "false")


def test_a_tap_enlarges_where_it_falls(browser: Browser, album: Album) -> None:
    with serving(album) as gallery, visiting(browser, PHONE, has_touch=True) as (page, _):
        page.goto(gallery.url)
        page.get_by_role("button", name="hanoi/IMG_0000").tap()
        expect(page.locator("#showing")).to_contain_text("Rung ")
        box = page.locator(".sheet").bounding_box()
        assert box is not None

        page.touchscreen.tap(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)

        expect(page.locator("#showing")).to_contain_text("pixel for pixel")
        # A quarter across the photo is still under the finger.
        assert drawn(page)[1] + box["width"] / 4 == pytest.approx(600, abs=3)
        page.get_by_role("button", name="Pixel for pixel").tap()
        expect(page.locator("#zoom")).to_have_attribute("aria-pressed", "false")


def test_a_phone_cuts_no_text(browser: Browser, album: Album) -> None:
    album.state = {
        **album.state,
        "title": "photo-worker local",
        "broker": "embedded broker (in memory, for development only)",
    }
    album.add("odd/bomb.png", "rejected", reason="original_too_large", message="message " * 60)
    for size in (PHONE, DESKTOP):
        with serving(album) as gallery, visiting(browser, size) as (page, _):
            page.goto(gallery.url)
            loaded(page, "hanoi/IMG_0000")

            lines = "(e) => e.clientHeight / parseFloat(getComputedStyle(e).lineHeight)"
            assert page.locator("h1").evaluate(lines) == pytest.approx(1, abs=0.1)
            assert cut_off(page, "header *, .rejected, .rejected *") == []
            assert overflow(page) <= 0


def test_only_changes_cross_the_wire(browser: Browser) -> None:
    album = Album()
    album.add_ready("one")
    state = album.state
    crowd = [state["photos"][0] | {"photo_id": f"photo-{number}"} for number in range(300)]
    album.state = {**state, "photos": crowd}
    with serving(album) as gallery, visiting(browser) as (page, _):
        with page.expect_response("**/photos.json*") as first:
            page.goto(gallery.url)
        expect(page.locator(".cell.ready")).to_have_count(300)
        with page.expect_response("**/photos.json*") as quiet:
            pass
        album.add("late", "waiting")
        with page.expect_response(lambda answer: "late" in answer.text()) as late:
            pass

        assert len(first.value.body()) > 300 * 500
        assert len(quiet.value.body()) < 300
        assert [photo["photo_id"] for photo in late.value.json()["photos"]] == ["late"]
        expect(page.locator(".cell")).to_have_count(301)


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
        page.route("**/photos.json*", fail)

        expect(page.locator("#state")).to_contain_text("Not connected")
        expect(page.get_by_alt_text("hanoi/IMG_0000", exact=True)).to_be_visible()
        page.unroute("**/photos.json*", fail)

        expect(page.locator("#state")).to_have_text("", timeout=DEADLINE_SECONDS * 1000)
        assert complaints
        assert all("JSON" in complaint for complaint in complaints)
        complaints.clear()  # it should warn here
