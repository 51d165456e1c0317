"""What a backfill says, before it publishes, of photos that other settings made."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.support.fakes import recording_log
from worker.errors import ConfigurationError
from worker.operate.backfill.comparison import Compared, Standing
from worker.operate.backfill.inventory import Item
from worker.operate.backfill.pages import Looked
from worker.operate.backfill.recipes import RecipeWatch, differences
from worker.photo.ports import StoredObject

HERE = "webp/2 q=70 effort=2/1 codec=libwebp-1.6"
THEIRS = "webp/2 q=80 effort=2/1 codec=libwebp-1.6"


def looked(name: str, standing: Standing, made_by: str | None) -> Looked:
    stored = StoredObject(
        bucket="originals",
        name=name,
        generation=1,
        size_bytes=1,
        crc32c="",
        created=datetime(2026, 11, 22, tzinfo=UTC),
    )
    compared = Compared(
        original=stored, standing=standing, version=1, labels={}, seen="", made_by=made_by
    )
    return Looked(item=Item(name=name), compared=compared)


PAGES = [
    [looked("a", Standing.MISSING, None), Looked(item=Item(name="b"), failure="so")],
    [looked("c", Standing.STALE_RECIPE, THEIRS), looked("d", Standing.CURRENT, HERE)],
    [looked("e", Standing.STALE_RECIPE, THEIRS)],
]


def test_the_recipes_are_told_apart_once_and_before_the_page_is_published() -> None:
    log, entries = recording_log()
    pages = RecipeWatch(here=HERE, usual=None, dry_run=False, log=log)(PAGES)
    assert next(pages) == PAGES[0]
    assert entries == []
    assert next(pages) == PAGES[1]
    (entry,) = entries
    assert (entry["level"], entry["theirs"], entry["here"]) == ("warning", "q=80", "q=70")
    assert list(pages) == PAGES[2:]
    assert len(entries) == 1


def test_flags_that_only_this_backfill_has_are_refused() -> None:
    log, entries = recording_log()
    watch = RecipeWatch(here=HERE, usual=THEIRS, dry_run=False, log=log)
    pages = watch(PAGES)
    assert next(pages) == PAGES[0]
    with pytest.raises(ConfigurationError, match=r"ask for q=70, .* made with q=80"):
        next(pages)
    assert entries == []


@pytest.mark.parametrize("change", [{"dry_run": True}, {"usual": "webp/2 q=60"}])
def test_a_dry_run_and_flags_beside_other_settings_are_warned(change: dict[str, object]) -> None:
    log, entries = recording_log()
    watch = RecipeWatch(here=HERE, usual=THEIRS, dry_run=False, log=log)
    assert list(replace(watch, **change)(PAGES)) == PAGES  # type: ignore[arg-type]
    assert len(entries) == 1


def test_recipes_that_differ_by_their_order_are_shown_whole() -> None:
    assert differences("a=1 b=2", "b=2 a=1") == ("a=1 b=2", "b=2 a=1")
    assert differences("a=1 b=2", "a=1 b=3 c=4") == ("b=2", "b=3 c=4")
