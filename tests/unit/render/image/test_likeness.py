"""The metric: as its reference scores, and what is asked of it besides."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.support.small_pictures import noise
from worker.photo.looks import Tuning
from worker.render.image import likeness
from worker.render.image.likeness import Likeness
from worker.render.image.pixels import Pixels
from worker.render.image.webp import Frame

import pyvips  # isort: skip


def picture(width: int, height: int) -> Any:
    """Soft shapes with some grain, in colours."""
    clouds = noise(width // 16 + 2, height // 16 + 2).resize(16, kernel="cubic")
    grain = (noise(width, height).cast("float") - 128) * 0.06
    shape = (pyvips.Image.xyz(width, height)[0] % 97 > 40).ifthenelse(18, -18)
    whole = clouds.crop(8, 8, width, height).cast("float") * 0.8 + 24 + grain + shape
    return whole.rint().cast("uchar").copy(interpretation="srgb").copy_memory()


def uchar(image: Any) -> Any:
    return image.rint().cast("uchar").copy(interpretation="srgb").copy_memory()


DISTORTED: Final[dict[str, Callable[[Any], Any]]] = {
    "the same": lambda image: image,
    "blurred": lambda image: uchar(image.gaussblur(1.0).cast("float")),
    "in steps": lambda image: uchar((image / 16.0).floor() * 16 + 8),
    "blocky": lambda image: image.shrink(4, 4).resize(4, kernel="nearest").copy_memory(),
    "less colour": lambda image: uchar(
        image.cast("float") * 0.9 + image.colourspace("b-w").cast("float") * 0.1
    ),
}


def score(one: Any, other: Any) -> float:
    return Likeness(Pixels(one)).score(bytes(other.webpsave_buffer(lossless=True, exact=True)))


@pytest.mark.parametrize(
    ("distorted", "reference", "off"),
    [
        ("the same", 100.0, 0.5),
        ("blurred", 87.06, 1.0),
        ("in steps", 78.79, 1.0),
        ("blocky", 74.18, 1.0),
        ("less colour", 83.29, 3.5),
    ],
)
def test_it_scores_as_the_metrics_own_code_does(
    distorted: str, reference: float, off: float
) -> None:
    """The figures are those of the Python package `ssimulacra2` 0.3 for these very pixels."""
    original = picture(512, 384)
    assert score(original, DISTORTED[distorted](original)) == pytest.approx(reference, abs=off)


@pytest.mark.parametrize("size", [(1400, 1000), (320, 213), (90, 700), (20, 20)])
def test_a_higher_quality_scores_higher_at_every_size(size: tuple[int, int]) -> None:
    pixels = Pixels(picture(*size))
    frame = Frame(pixels.buffer, pixels.width, pixels.height, pixels.bands)
    likeness = Likeness(pixels)
    scores = [
        likeness.score(frame.encode(Tuning(quality=quality, method=4)))
        for quality in (10, 40, 70, 90)
    ]
    assert all(more - less > 1 for less, more in itertools.pairwise(scores)), scores
    assert scores[-1] > 75


def test_tiles_speak_for_a_large_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    original = picture(1600, 1200)
    worse = DISTORTED["in steps"](original)
    by_tiles = score(original, worse)
    monkeypatch.setattr("worker.render.image.likeness._sampled", lambda image: image)
    assert by_tiles == pytest.approx(score(original, worse), abs=1.5)


@pytest.mark.parametrize("size", [(4000, 380), (300, 3000), (1600, 60)])
def test_tiles_speak_for_a_long_and_thin_picture(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = picture(*size)
    worse = DISTORTED["in steps"](original)
    seen = []
    whole = likeness._sampled

    def sampled(image: Any) -> Any:
        seen.append(whole(image))
        return seen[-1]

    monkeypatch.setattr(likeness, "_sampled", sampled)
    by_tiles = score(original, worse)
    assert {(each.width, each.height) for each in seen} <= {(1536, 256), (256, 1536)}
    monkeypatch.setattr(
        likeness,
        "_sampled",
        lambda image: image.embed(
            0, 0, max(image.width, 256), max(image.height, 256), extend="mirror"
        ),
    )
    assert by_tiles == pytest.approx(score(original, worse), abs=1.5)


def test_a_small_picture_is_as_good_as_its_mirror_images() -> None:
    original = picture(128, 128)
    worse = DISTORTED["in steps"](original)

    def mirrored(image: Any) -> Any:
        return image.embed(0, 0, 256, 256, extend="mirror").copy_memory()

    assert score(original, worse) == pytest.approx(score(mirrored(original), mirrored(worse)))


def test_only_what_can_be_seen_counts() -> None:
    """Below nothing but alpha, colours may differ; alpha itself may not."""
    seen = picture(300, 200)
    clear = seen.bandjoin(pyvips.Image.black(300, 200)).copy(interpretation="srgb").copy_memory()
    other = noise(300, 200).bandjoin(pyvips.Image.black(300, 200))
    assert score(clear, other.copy(interpretation="srgb").copy_memory()) > 99.5
    opaque = seen.bandjoin(pyvips.Image.black(300, 200).invert())
    assert score(clear, opaque.copy(interpretation="srgb").copy_memory()) < 60


def test_pixels_are_not_needed_once_they_were_looked_at() -> None:
    original = picture(300, 200)
    pixels = Pixels(original)
    likeness = Likeness(pixels)
    memoryview(pixels.buffer)[:] = b"\xff" * (300 * 200 * 3)
    assert likeness.score(bytes(original.webpsave_buffer(lossless=True))) > 99.5
