"""The pool over real child processes: what comes out of good and of bad originals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.fakes import crc32c, recording_log
from tests.support.small_pictures import corners, decoded, jpeg, noise, png
from worker.errors import (
    CorruptOriginal,
    Draining,
    OriginalTooLarge,
    Permanent,
    SlotUnavailable,
    UnsupportedFormat,
)
from worker.photo.ladder import Ladder
from worker.photo.looks import Looks
from worker.photo.recipe import Recipe
from worker.render.job import RenderSettings
from worker.render.pool import RenderPool

LADDER = Ladder.parse("32,48,full")
MIB = 1 << 20


def settings(
    scratch: Path, *, ladder: Ladder = LADDER, memory_bytes: int = 1024 * MIB
) -> RenderSettings:
    return RenderSettings(
        recipe=Recipe(ladder=ladder, looks=Looks(quality=80, effort=0, full_effort=0), codec=""),
        max_pixels=40_000_000,
        timeout_seconds=60,
        memory_bytes=memory_bytes,
        scratch=scratch,
    )


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RenderPool]:
    pool = RenderPool(settings(tmp_path_factory.getbasetemp()), 1, recording_log()[0])
    pool.start()
    yield pool
    pool.stop()


@pytest.fixture
def render(pool: RenderPool, tmp_path: Path) -> Callable[[bytes], list[str]]:
    """Render bytes to the end: the rungs that came out."""

    def run(data: bytes) -> list[str]:
        original = tmp_path / "original"
        original.write_bytes(data)
        return [rendered.size.rung for rendered in pool.render(original, tmp_path)]

    return run


def test_a_good_picture_gives_every_rung_with_size_and_checksum(
    pool: RenderPool, tmp_path: Path
) -> None:
    original = tmp_path / "original"
    original.write_bytes(jpeg(corners(60, 40)))
    rendering = pool.render(original, tmp_path)
    rungs = {}
    for rendered in rendering:
        data = rendered.path.read_bytes()
        assert rendered.path.parent == tmp_path
        assert (rendered.size_bytes, rendered.crc32c) == (len(data), crc32c(data))
        picture = decoded(data)
        assert (picture.width, picture.height) == (rendered.size.width, rendered.size.height)
        rungs[rendered.size.rung] = (rendered.size.width, rendered.size.height)
    assert rungs == {"32": (32, 21), "48": (48, 32), "full": (60, 40)}
    facts, cost = rendering.facts, rendering.cost
    assert (facts.format, facts.width, facts.height) == ("jpeg", 60, 40)
    assert facts.thumbhash
    assert facts.color.startswith("#")
    assert 0 < cost.cpu_seconds < 60
    assert 0 < cost.seconds < 60
    assert cost.peak_bytes > 10 * MIB


def test_the_recipe_names_what_decides_the_bytes(pool: RenderPool) -> None:
    assert pool.recipe.ladder == LADDER
    assert pool.recipe.looks == Looks(quality=80, effort=0, full_effort=0)
    assert pool.recipe.codec.startswith("libvips-")


def test_a_refused_original_costs_no_child(
    pool: RenderPool, render: Callable[[bytes], list[str]]
) -> None:
    before = pool.pids
    for data, error in _bad():
        with pytest.raises(error):
            render(data)
    assert render(png(corners())) == ["32", "48", "full"]
    assert pool.pids == before
    assert pool.alive


def _bad() -> list[tuple[bytes, type[Permanent]]]:
    whole = jpeg(noise(200, 200))
    return [
        (whole[: len(whole) // 2], CorruptOriginal),
        (whole[:20], CorruptOriginal),
        (b"this is text, and no picture", UnsupportedFormat),
        (b"", UnsupportedFormat),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnsupportedFormat),
        (png(corners(8000, 6000)), OriginalTooLarge),
    ]


def test_facts_and_cost_wait_for_the_last_rendition(pool: RenderPool, tmp_path: Path) -> None:
    original = tmp_path / "original"
    original.write_bytes(jpeg(corners()))
    rendering = pool.render(original, tmp_path)
    next(iter(rendering))
    with pytest.raises(RuntimeError, match="every rendition"):
        _ = rendering.facts
    with pytest.raises(RuntimeError, match="every rendition"):
        _ = rendering.cost
    assert [rendered.size.rung for rendered in rendering] == ["48", "full"]


def test_an_abandoned_rendering_does_not_hold_its_slot(
    pool: RenderPool, render: Callable[[bytes], list[str]], tmp_path: Path
) -> None:
    original = tmp_path / "abandoned"
    original.write_bytes(jpeg(corners()))
    next(iter(pool.render(original, tmp_path)))
    assert render(png(corners())) == ["32", "48", "full"]


def test_a_missing_folder_is_no_fault_of_the_pool(
    pool: RenderPool, render: Callable[[bytes], list[str]], tmp_path: Path
) -> None:
    original = tmp_path / "original"
    original.write_bytes(jpeg(corners()))
    with pytest.raises(SlotUnavailable, match="No such file"):
        list(pool.render(original, tmp_path / "gone"))
    assert render(png(corners())) == ["32", "48", "full"]


def test_a_pool_that_has_not_started_knows_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="start"):
        _ = RenderPool(settings(tmp_path), 1, recording_log()[0]).recipe


def test_a_stopped_pool_refuses_and_has_no_children(tmp_path: Path) -> None:
    pool = RenderPool(settings(tmp_path), 2, recording_log()[0])
    pool.start()
    pool.stop()
    pool.stop()
    assert pool.pids == []
    assert not pool.alive
    with pytest.raises(Draining):
        pool.render(tmp_path / "original", tmp_path)
