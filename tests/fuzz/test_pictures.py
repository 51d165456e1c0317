"""Mutated pictures through real render slots: each ends in a whole ladder or in a typed error."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import recording_log
from tests.pictures import corners_jpeg, upright
from worker.errors import Permanent
from worker.ladder import Ladder
from worker.renderer import RenderPool, RenderSettings

ROUNDS = 60
SEEDS = {
    "jpeg": corners_jpeg(240, 160, 6),
    "progressive": bytes(upright(240, 160).jpegsave_buffer(interlace=True)),
    "png": bytes(upright(120, 80).pngsave_buffer()),
    "interlaced": bytes(upright(120, 80).pngsave_buffer(interlace=True)),
    "webp": bytes(upright(240, 160).webpsave_buffer()),
    "gif": bytes(upright(120, 80).gifsave_buffer()),
    "tiff": bytes(upright(120, 80).tiffsave_buffer(compression="deflate")),
}


@pytest.fixture(scope="module")
def pool() -> Iterator[RenderPool]:
    settings = RenderSettings(
        ladder=Ladder.parse("64,full"),
        quality=80,
        effort=0,
        full_effort=0,
        max_pixels=10_000_000,
        timeout_seconds=20,
        slot_memory_bytes=1 << 30,
    )
    pool = RenderPool(settings, 2, recording_log()[0])
    pool.start()
    yield pool
    pool.stop()


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, a piece removed, doubled or zeroed, or the end cut off."""
    picture = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(picture))
        piece = slice(at, at + chance.randint(1, 64))
        match chance.randrange(5):
            case 0:
                picture[at] = chance.randrange(256)
            case 1:
                del picture[piece]
            case 2:
                picture[at:at] = picture[piece]
            case 3:
                picture[piece] = bytes(len(picture[piece]))
            case _:
                del picture[max(at, 16) :]
        if not picture:
            return b"\0"
    return bytes(picture)


@pytest.mark.parametrize("kind", SEEDS)
def test_a_mutated_picture_ends_in_a_ladder_or_a_reason(
    kind: str, pool: RenderPool, tmp_path: Path
) -> None:
    chance = random.Random(kind)  # noqa: S311 (repeatable, not secret)
    original = tmp_path / "original"
    for _ in range(ROUNDS):
        original.write_bytes(mutated(SEEDS[kind], chance))
        rendering = pool.render(original, tmp_path)
        try:
            rendered = list(rendering)
        except Permanent as error:
            assert str(error)
            continue
        assert [each.size.rung for each in rendered][-1] == "full"
        assert rendering.facts.width > 0
        assert all(each.path.stat().st_size == each.size_bytes for each in rendered)
    assert pool.alive
