"""Targets, watermarks, backgrounds and PNG through real child processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.pool import Came, outcome, recipe_of, render_pool
from tests.support.small_pictures import jpeg, noise, png
from tests.support.waiting import eventually
from tests.unit.render.image.test_likeness import picture
from worker.errors import ConfigurationError
from worker.photo.ladder import Ladder
from worker.photo.looks import Looks
from worker.photo.recipe import Recipe
from worker.photo.watermark import PictureFile, Watermark
from worker.render.image.likeness import Likeness
from worker.render.image.pixels import Pixels
from worker.render.image.resize import resize, resize_ladder
from worker.render.image.webp import Frame
from worker.render.memory import FIXED_BYTES
from worker.system.sandbox import MIB

import pyvips  # isort: skip

ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="24" height="24" viewBox="0 0 24 24">'
    b'<circle cx="12" cy="12" r="11" fill="#0044cc"/></svg>'
)
LADDER = Ladder.parse("320,700,full")


def webp(ladder: str = str(LADDER), **looks: Any) -> Recipe:
    return recipe_of(ladder, **{"effort": 4, "full_effort": 2, **looks})


def rendered(scratch: Path, data: bytes, recipe: Recipe, **pool_options: Any) -> Came:
    with render_pool(scratch, slots=1, recipe=recipe, **pool_options) as pool:
        came = outcome(pool, data, scratch)
    assert not came.reason, came.message
    return came


def images(renditions: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        rung: pyvips.Image.new_from_buffer(data, "").copy_memory()
        for rung, data in renditions.items()
    }


def marked(data: bytes) -> dict[str, Any]:
    """Options of a pool whose renditions have this watermark."""
    file = PictureFile(name="logo.png", data=data)
    watermark = Watermark(sha256=file.sha256, opacity=1.0, position="south-east", scale=0.25)
    return {"recipe": webp(watermark=watermark), "watermark_file": file}


def red(width: int = 40, height: int = 10) -> bytes:
    image = pyvips.Image.black(width, height).new_from_image([255, 0, 0]).cast("uchar")
    return png(image.copy(interpretation="srgb"))


def test_without_any_of_it_the_bytes_are_the_encoders_own(tmp_path: Path) -> None:
    """As they were before there was any of it: the encoder is called directly."""
    data = png(picture(900, 600))
    came = rendered(tmp_path, data, webp())
    full = Pixels(pyvips.Image.new_from_buffer(data, "").copy(interpretation="srgb"))
    *sized, full_size = LADDER.sizes(900, 600)
    largest = resize(full, sized[-1])
    looks = Looks(quality=80, effort=4, full_effort=2)
    expected = {
        size.rung: Frame(each.buffer, each.width, each.height, each.bands).encode(
            looks.tuning(size)
        )
        for size, each in zip(
            [*sized, full_size], [*resize_ladder(largest, sized[:-1]), largest, full], strict=True
        )
    }
    assert came.renditions == expected


def test_targets_reach_the_child(tmp_path: Path) -> None:
    data = png(picture(900, 600))
    plain = rendered(tmp_path, data, webp()).renditions
    most = len(plain["full"]) // 2
    small = rendered(tmp_path, data, webp(target_bytes=most)).renditions
    assert len(small["full"]) <= most < len(plain["full"])
    assert len(small["700"]) <= most
    assert small["320"] == plain["320"]
    came = rendered(tmp_path, data, webp(target_quality=70.0))
    pixels = Pixels(pyvips.Image.new_from_buffer(data, "").copy(interpretation="srgb"))
    assert 68 < Likeness(pixels).score(came.renditions["full"]) < 73


@pytest.mark.parametrize("target", [{}, {"target_quality": 72.0}, {"target_bytes": 30_000}])
def test_a_render_stays_within_what_was_foretold(tmp_path: Path, target: dict[str, Any]) -> None:
    """Its limit has leeway; the prediction itself must hold."""
    recipe = webp("320,1024,2048,full", **target)
    with render_pool(tmp_path, slots=1, recipe=recipe) as pool:
        outcome(pool, jpeg(picture(64, 64)), tmp_path)
        idle = outcome(pool, jpeg(picture(64, 64)), tmp_path).peak_bytes
        (tmp_path / "original").write_bytes(jpeg(picture(3000, 2000)))
        rendering = pool.render(tmp_path / "original", tmp_path)
        assert len(list(rendering)) == 4
    taken = rendering.cost.peak_bytes - idle
    assert FIXED_BYTES < taken <= rendering.limit_bytes + 8 * MIB


def test_a_watermark_is_on_every_rung_and_not_on_the_placeholder(tmp_path: Path) -> None:
    grey = pyvips.Image.black(900, 600, bands=3) + 90
    data = png(grey.cast("uchar").copy(interpretation="srgb"))
    plain = rendered(tmp_path, data, webp())
    came = rendered(tmp_path, data, **marked(red()))
    for image in images(came.renditions).values():
        x, y = round(image.width * 0.9), round(image.height - 0.05 * image.width)
        assert image.getpoint(x, y) == pytest.approx([255, 0, 0], abs=30)
        assert image.getpoint(image.width // 3, y) == pytest.approx([90, 90, 90], abs=6)
    assert came.facts == plain.facts


def test_a_child_keeps_its_watermark_from_one_original_to_the_next(tmp_path: Path) -> None:
    with render_pool(tmp_path, slots=1, **marked(red())) as pool:
        first = outcome(pool, ICON, tmp_path)
        (tmp_path / "watermark").write_bytes(b"what a hijacked child may have written")
        assert outcome(pool, ICON, tmp_path).renditions == first.renditions


def test_a_new_child_gets_the_watermark_whatever_the_last_one_wrote(tmp_path: Path) -> None:
    with render_pool(tmp_path, slots=1, **marked(red())) as pool:
        first = outcome(pool, ICON, tmp_path)
        (tmp_path / "watermark").write_bytes(b"what a hijacked child may have written")
        os.kill(pool.pids[0], signal.SIGKILL)
        eventually(lambda: not pool.alive, "the child is dead")
        assert outcome(pool, ICON, tmp_path).renditions == first.renditions


def test_what_is_no_watermark_stops_the_start(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigurationError, match=r"WORKER_WATERMARK='logo.png': cannot be laid"),
        render_pool(tmp_path, **marked(red()[:60])),
    ):
        pytest.fail("a pool without a watermark")


@pytest.mark.parametrize("suffix", ["webp", "png"])
def test_a_background_fills_what_is_clear(tmp_path: Path, suffix: Any) -> None:
    came = rendered(tmp_path, ICON, webp("64,256", format=suffix, background="#ff8800"))
    for image in images(came.renditions).values():
        assert image.bands == 3
        assert image.getpoint(0, 0) == pytest.approx([255, 136, 0], abs=12)
        assert image.getpoint(image.width // 2, image.height // 2)[2] > 180
    clear = rendered(tmp_path, ICON, webp("64,256", format=suffix))
    assert came.facts is not None
    assert clear.facts is not None
    assert came.facts.color != clear.facts.color


def test_a_drawing_is_drawn_at_the_size_that_is_asked_for(tmp_path: Path) -> None:
    """24 px by its own account: enlarged it would be blurred, and 2,000 px would be wasted."""
    recipe = webp("64,256", format="png")
    came = rendered(tmp_path, ICON, recipe)
    assert came.facts is not None
    assert (came.facts.width, came.facts.height) == (256, 256)
    found = images(came.renditions)
    assert {rung: image.width for rung, image in found.items()} == {"64": 64, "256": 256}
    middle = [found["256"].getpoint(x, 128)[3] for x in range(256)]
    # One pixel, or two, of the edge are neither clear nor full.
    assert sum(0 < alpha < 255 for alpha in middle) <= 4
    assert middle[0] == 0
    assert middle[128] == 255


def test_a_banner_is_drawn_small(tmp_path: Path) -> None:
    """Half a pixel high at this size, and no line for all that."""
    banner = ICON.replace(b'width="24" height="24"', b'width="1000" height="20"')
    came = rendered(tmp_path, banner, webp("24"))
    (image,) = images(came.renditions).values()
    assert (image.width, image.height) == (24, 1)


@pytest.mark.parametrize("size", [(1, 6000), (6000, 24), (500, 6000)])
def test_thin_pictures_meet_a_target_of_looks(tmp_path: Path, size: tuple[int, int]) -> None:
    """Within the memory that was foretold."""
    came = rendered(tmp_path, png(noise(*size)), webp(target_quality=60.0))
    assert set(came.renditions) == {"320", "700", "full"}


def test_a_png_has_every_pixel(tmp_path: Path) -> None:
    original = picture(300, 200)
    recipe = webp("full", format="png", target_bytes=5)
    came = rendered(tmp_path, png(original), recipe)
    (image,) = images(came.renditions).values()
    assert (image - original).abs().max() == 0
    assert (tmp_path / "full.png").exists()
    assert not (tmp_path / "full.webp").exists()


def test_without_placeholders_there_is_none(tmp_path: Path) -> None:
    came = rendered(tmp_path, ICON, webp(), placeholders=False)
    assert came.facts is not None
    assert (came.facts.thumbhash, came.facts.color) == ("", "")
    assert came.renditions == rendered(tmp_path, ICON, webp()).renditions
