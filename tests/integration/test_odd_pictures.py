"""Odd files through the real render pool: each has its expected renditions or its reason.

The files lie in a folder beside the repository (`../shared/odd`), with other people's licences, and
are not part of it; without the folder these tests are skipped. Seconds and peak memory of each row
are printed with `--capture=no` and recorded, never asserted: the pool's own limits do that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.pictures import corners_jpeg, is_upright
from tests.support.pool import PIXELS_ONLY, Came, chunks, outcome, render_pool
from worker.render.pool import RenderPool

import pyvips  # isort: skip

ODD = Path(__file__).parents[3] / "shared" / "odd"

pytestmark = pytest.mark.skipif(not ODD.is_dir(), reason="no folder of odd files")

UNSUPPORTED, CORRUPT, TOO_LARGE = "unsupported_format", "corrupt_original", "original_too_large"
NO_MEMORY, TIMEOUT = "render_out_of_memory", "render_timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ok:
    """What a reader gets: format by content, size as displayed, alpha, pages, average colour.

    `alpha` is whether any pixel is not opaque: an alpha channel without one costs only bytes.
    """

    format: str
    size: tuple[int, int]
    alpha: bool = False
    pages: int = 1
    color: str = ""
    taken_at: str | None = None
    camera: str | None = None


SEEDING = "#605834"
"""The average colour of the photo that most of the made files are of."""

LANDSCAPE = Ok(format="jpeg", size=(1800, 1200), color="#627486")
SMALL = Ok(format="jpeg", size=(580, 326), color=SEEDING)
ICON = Ok(format="svg", size=(2000, 2000), alpha=True, color="#000000")

EXPECTED: dict[str, Ok | str | set[str]] = {
    **{f"orientation_landscape_{n}.jpg": LANDSCAPE for n in range(1, 9)},
    "orientation_portrait_6.jpg": Ok(format="jpeg", size=(1200, 1800), color="#909ca3"),
    "jpg-orientation-0.jpg": SMALL,
    "jpg-cmyk-icc.jpg": Ok(format="jpeg", size=(2320, 1304), color=SEEDING),
    "jpg-display-p3.jpg": Ok(format="jpeg", size=(2320, 1304), color=SEEDING),
    "jpg-garbage-icc.jpg": SMALL,
    "jpg-truncated-50.jpg": CORRUPT,
    "jpg-truncated-99.jpg": CORRUPT,
    "jpg-zeroed-middle.jpg": CORRUPT,
    "jpg-utf8-mangled.jpg": UNSUPPORTED,
    "jpg-sof-65500sq-baseline.jpg": TOO_LARGE,
    "jpg-sof-12000sq-progressive.jpg": {CORRUPT, NO_MEMORY, TOO_LARGE},
    "polyglot-jpg-zip.jpg": SMALL,
    "png-bomb-1bit-60000sq.png": TOO_LARGE,
    "png-iccp-bomb-200MB.png": TOO_LARGE,
    "png-dims-20x20000.png": Ok(format="png", size=(20, 20_000)),
    "png-gray16-ramp.png": Ok(format="png", size=(512, 512), color="#7f7f7f"),
    "png-truncated-50.png": CORRUPT,
    "svg-renamed.jpg": Ok(format="svg", size=(2000, 2000), color="#cc3333"),
    "gif-0-frames.gif": CORRUPT,
    "tiff-ifd-loop.tif": CORRUPT,
    "tiff-float-inf-nan.tif": Ok(format="tiff", size=(2320, 1304)),
    "avif-truncated-50.avif": CORRUPT,
    "heic-ftyp-only.heic": CORRUPT,
    "webp-alpha.webp": Ok(format="webp", size=(2320, 1304), alpha=True),
    "zero-bytes.jpg": UNSUPPORTED,
    "text.jpg": UNSUPPORTED,
    "pdf.jpg": UNSUPPORTED,
    "svg-billion-laughs.svg": UNSUPPORTED,
    "svg-xxe-file.svg": UNSUPPORTED,
    "svg-ssrf-http-loopback.svg": UNSUPPORTED,
    "svg-image-relative.svg": UNSUPPORTED,
    "svg-use-bomb-1e9.svg": TOO_LARGE,
    "svg-blur-chain-200.svg": TOO_LARGE,
    "svg-dims-nodims.svg": UNSUPPORTED,
    "svg-script.svg": Ok(format="svg", size=(2000, 2000), color="#cc3333"),
    "svg-text-fonts.svg": Ok(format="svg", size=(2000, 600), alpha=True),
    "canary.png": Ok(format="png", size=(200, 200), color="#00ff00"),
    "gif-frame-20000sq-tinydata.gif": TOO_LARGE,
    "webp-anim-canvas-16383sq-2frames.webp": TOO_LARGE,
    "jpg-legit-scanbomb-4096sq-880scans.jpg": TOO_LARGE,
    "avif-16384x8192-solid.avif": {TOO_LARGE, NO_MEMORY, TIMEOUT},
    "svg-embedded-png-20000sq.svg": TOO_LARGE,
    "wuffs-animated-red-blue.gif": Ok(format="gif", size=(64, 48), pages=4),
    "wuffs-animated-red-blue.apng": Ok(format="png", size=(64, 48), pages=4),
    "wuffs-hippopotamus.interlaced.truncated.png": CORRUPT,
    "wuffs-peacock.progressive.truncated.jpeg": CORRUPT,
    "pngsuite-basn0g16.png": Ok(format="png", size=(32, 32)),
    "pngsuite-basn6a16.png": Ok(format="png", size=(32, 32), alpha=True),
    "pngsuite-basi6a16.png": Ok(format="png", size=(32, 32), alpha=True),
    "pngsuite-tbbn3p08.png": Ok(format="png", size=(32, 32), alpha=True),
    "pngsuite-xcsn0g01.png": CORRUPT,
    "pngsuite-xs1n0g01.png": UNSUPPORTED,
    "immich-IMG_2682.heic": Ok(
        format="heic",
        size=(4032, 3024),
        color="#48555a",
        taken_at="2019-03-21T11:04:22",
        camera="Apple iPhone 7",
    ),
    "immich-10bit-HDR-P3-nclx.avif": Ok(format="avif", size=(3681, 5594), color="#648d89"),
    "immich-portrait-orientation-6.jpg": Ok(format="jpeg", size=(840, 700)),
    "immich-gps.jpg": Ok(format="jpeg", size=(150, 103)),
    "tabler-bleach-no-chlorine.svg": ICON,
    "tabler-blob-dashed.svg": ICON,
    "tabler-bluetooth-off.svg": ICON,
}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RenderPool]:
    with render_pool(tmp_path_factory.getbasetemp(), memory_bytes=1536 << 20) as pool:
        yield pool


def test_every_file_has_a_row() -> None:
    assert {path.name for path in ODD.iterdir()} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_an_odd_file(
    name: str, pool: RenderPool, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    came = outcome(pool, (ODD / name).read_bytes(), tmp_path)
    record_property("seconds", round(came.seconds, 3))
    record_property("peak_bytes", came.peak_bytes)
    print(  # noqa: T201
        f"\n{name:46}{came.reason or 'ok':22}{came.seconds:7.2f} s {came.peak_bytes >> 20:5} MiB"
    )
    expected = EXPECTED[name]
    if isinstance(expected, Ok):
        assert not came.reason, came.message
        assert_as_expected(came, expected)
    else:
        assert came.reason in ({expected} if isinstance(expected, str) else expected), came
        assert came.message
    assert pool.serving


def assert_as_expected(came: Came, expected: Ok) -> None:
    facts = came.facts
    assert facts is not None
    assert (facts.format, (facts.width, facts.height)) == (expected.format, expected.size)
    assert (facts.pages, facts.taken_at, facts.camera) == (
        expected.pages,
        expected.taken_at,
        expected.camera,
    )
    if expected.color:
        assert color_distance(facts.color, expected.color) <= 8, facts.color
    for webp in came.renditions.values():
        assert set(chunks(webp)) <= PIXELS_ONLY
        image = pyvips.Image.new_from_buffer(webp, "")
        assert (bool(image.hasalpha()), image.format) == (expected.alpha, "uchar")
    full = pyvips.Image.new_from_buffer(came.renditions["full"], "")
    wanted = tuple(min(edge, 16_383) for edge in expected.size)
    assert max(abs(full.width - wanted[0]), abs(full.height - wanted[1])) <= 4


def color_distance(one: str, other: str) -> int:
    return max(abs(int(one[at : at + 2], 16) - int(other[at : at + 2], 16)) for at in (1, 3, 5))


def test_every_orientation_of_a_photo_is_the_same_picture(pool: RenderPool, tmp_path: Path) -> None:
    pictures = []
    for number in range(1, 9):
        data = (ODD / f"orientation_landscape_{number}.jpg").read_bytes()
        webp = outcome(pool, data, tmp_path).renditions["320"]
        pictures.append(pyvips.Image.new_from_buffer(webp, "").copy_memory())
    first = pictures[0]
    for picture in pictures[1:]:
        assert (picture - first).abs().avg() < 4
    assert (first.rot180() - first).abs().avg() > 20  # or else the comparison is empty


def test_other_renders_go_on_beside_bombs(pool: RenderPool, tmp_path: Path) -> None:
    bombs = [
        "avif-16384x8192-solid.avif",
        "jpg-sof-12000sq-progressive.jpg",
        "svg-embedded-png-20000sq.svg",
        "gif-frame-20000sq-tinydata.gif",
    ]
    done: list[str] = []

    def explode() -> None:
        for name in bombs:
            folder = tmp_path / name
            folder.mkdir()
            done.append(outcome(pool, (ODD / name).read_bytes(), folder).reason)

    thread = threading.Thread(target=explode)
    thread.start()
    photos = 0
    while thread.is_alive() or photos < 3:
        folder = tmp_path / str(photos)
        folder.mkdir()
        came = outcome(pool, corners_jpeg(800, 600, 6), folder)
        assert is_upright(came.renditions["full"])
        photos += 1
    thread.join()
    assert all(done)
    assert len(done) == len(bombs)


def test_no_position_leaves_a_photo(pool: RenderPool, tmp_path: Path) -> None:
    for name in ("immich-gps.jpg", "immich-IMG_2682.heic"):
        came = outcome(pool, (ODD / name).read_bytes(), tmp_path)
        for webp in came.renditions.values():
            assert set(chunks(webp)) <= PIXELS_ONLY


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99, 0.9999])
def test_a_heic_that_ends_early_is_refused(share: float, pool: RenderPool, tmp_path: Path) -> None:
    # libheif itself makes a photo of grey tiles from the first tenth.
    data = (ODD / "immich-IMG_2682.heic").read_bytes()
    came = outcome(pool, data[: int(len(data) * share)], tmp_path)
    assert came.reason == CORRUPT
