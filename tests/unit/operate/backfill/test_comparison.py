"""An original against its photo's manifest: every state, version, recipe and rejection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.support.manifests import NOON, facts_of, manifest, refusal
from worker.operate.backfill.comparison import (
    PUBLISHED,
    Compared,
    Standing,
    compare,
    compare_file,
    seen_in,
)
from worker.photo.manifest import (
    Manifest,
    OriginalFacts,
    State,
    register_no_op,
)
from worker.photo.ports import StoredObject

RECIPE, OLD_RECIPE = "webp/2 q=80", "webp/1 q=75"
GENERATION = 1_000


def original(name: str = "a/b.jpg", generation: int = GENERATION) -> StoredObject:
    return StoredObject(
        bucket="originals",
        name=name,
        generation=generation,
        size_bytes=10,
        crc32c="AAAAAA==",
        created=NOON,
    )


def made_from(generation: int, **other: str) -> OriginalFacts:
    return facts_of(original(generation=generation), **other)


def ready(
    version: int = GENERATION,
    generation: int = GENERATION,
    recipe: str | None = RECIPE,
    **more: Any,
) -> Manifest:
    fields = {"original": made_from(generation), "recipe": recipe, **more}
    return manifest(State.READY, version, **fields)


def rejected(version: int) -> Manifest:
    return manifest(State.REJECTED, version, recipe=RECIPE, rejection=refusal(version))


def tombstone(version: int) -> Manifest:
    return manifest(State.DEREGISTERED, version)


@pytest.mark.parametrize(
    ("current", "standing", "version"),
    [
        (None, Standing.MISSING, GENERATION),
        (ready(), Standing.CURRENT, GENERATION),
        (ready(version=GENERATION - 1, generation=GENERATION - 1), Standing.STALE_VERSION, 1000),
        (ready(recipe=OLD_RECIPE), Standing.STALE_RECIPE, GENERATION),
        # The sweep struck out what was lost.
        (ready(recipe=None), Standing.STALE_RECIPE, GENERATION),
        # `photo-worker register` counts in microseconds of now.
        (ready(version=5_000), Standing.CURRENT, 5_000),
        (ready(version=5_000, recipe=OLD_RECIPE), Standing.STALE_RECIPE, 5_000),
        # A producer that counts 1, 2, 3: its next event must not be older than the backfill's.
        (ready(version=17), Standing.CURRENT, 17),
        (ready(version=17, recipe=OLD_RECIPE), Standing.STALE_RECIPE, 17),
        (ready(version=5_000, generation=7), Standing.NEWER, GENERATION),
        (ready(original=made_from(GENERATION, bucket="other")), Standing.NEWER, GENERATION),
        (ready(original=made_from(GENERATION, object="other")), Standing.NEWER, GENERATION),
        (ready(version=2_000, generation=2_000), Standing.NEWER, GENERATION),
        (rejected(GENERATION), Standing.REJECTED, GENERATION),
        (rejected(5_000), Standing.REJECTED, 5_000),
        (rejected(GENERATION - 1), Standing.STALE_VERSION, GENERATION),
        # An older version is on show, this object was refused.
        (ready(999, 999, rejection=refusal(GENERATION)), Standing.REJECTED, GENERATION),
        (ready(999, 999, rejection=refusal(5_000)), Standing.REJECTED, 5_000),
        (ready(998, 998, rejection=refusal(999)), Standing.STALE_VERSION, GENERATION),
        # On show by an older recipe, and refused under a newer one.
        (ready(recipe=OLD_RECIPE, rejection=refusal(GENERATION)), Standing.REJECTED, GENERATION),
        (ready(17, recipe=OLD_RECIPE, rejection=refusal(17)), Standing.REJECTED, 17),
        (ready(recipe=OLD_RECIPE, rejection=refusal(5_000)), Standing.STALE_RECIPE, GENERATION),
        (ready(rejection=refusal(5_000)), Standing.CURRENT, GENERATION),
        (tombstone(GENERATION), Standing.DEREGISTERED, GENERATION),
        (tombstone(5_000), Standing.DEREGISTERED, GENERATION),
        (tombstone(GENERATION - 1), Standing.MISSING, GENERATION),
        # Only a fence was ever raised.
        (tombstone(0), Standing.MISSING, GENERATION),
    ],
)
def test_how_a_photo_stands_to_its_original(
    current: Manifest | None, standing: Standing, version: int
) -> None:
    compared = compare(original(), current, RECIPE)
    assert (compared.standing, compared.version) == (standing, version)


def manifests() -> st.SearchStrategy[Manifest | None]:
    versions = st.sampled_from([1, GENERATION - 1, GENERATION, GENERATION + 1])
    refusals = st.none() | versions.map(refusal)
    return st.one_of(
        st.none(),
        versions.map(tombstone),
        st.builds(rejected, versions),
        st.builds(
            ready,
            versions,
            versions,
            st.sampled_from([RECIPE, OLD_RECIPE, None]),
            rejection=refusals,
        ),
    )


@given(manifests())
def test_no_event_is_published_that_a_worker_would_find_moot(current: Manifest | None) -> None:
    compared = compare(original(), current, RECIPE)
    if compared.standing in PUBLISHED:
        assert register_no_op(current, compared.event.version, RECIPE) is None


@given(manifests())
def test_a_success_leaves_nothing_to_do(current: Manifest | None) -> None:
    compared = compare(original(), current, RECIPE)
    if compared.standing in PUBLISHED:
        then = ready(compared.event.version)
        assert compare(original(), then, RECIPE).standing is Standing.CURRENT


@given(manifests())
def test_a_tombstone_stands(current: Manifest | None) -> None:
    compared = compare(original(), current, RECIPE)
    if current and current.state is State.DEREGISTERED and current.version >= GENERATION:
        assert compared.standing not in PUBLISHED


def test_the_event_is_the_notifications_and_keeps_the_labels() -> None:
    event = compare(original(), ready(999, 999, labels={"album": "hanoi"}), RECIPE).event
    assert event.model_dump() == {
        "type": "photo.register",
        "photo_id": "a/b.jpg",
        "version": GENERATION,
        "original": "gs://originals/a/b.jpg",
        "generation": str(GENERATION),
        "labels": {"album": "hanoi"},
    }


def test_a_name_that_can_be_no_photo_makes_no_event() -> None:
    with pytest.raises(ValidationError):
        _ = Compared(
            original=original("a//b.jpg"), standing=Standing.MISSING, version=1, labels={}, seen=""
        ).event


@pytest.mark.parametrize(
    ("current", "generation", "standing"),
    [
        (None, 0, Standing.MISSING),
        (None, GENERATION, Standing.MISSING),
        (tombstone(0), 0, Standing.MISSING),
        (tombstone(5), 0, Standing.DEREGISTERED),
        (tombstone(GENERATION), GENERATION, Standing.DEREGISTERED),
        (tombstone(GENERATION - 1), GENERATION, Standing.MISSING),
        (ready(), GENERATION, Standing.STALE_VERSION),
        (ready(), 0, Standing.STALE_VERSION),
        (rejected(GENERATION), GENERATION, Standing.STALE_VERSION),
    ],
)
def test_how_a_photo_stands_to_a_file_of_other_bytes(
    current: Manifest | None, generation: int, standing: Standing
) -> None:
    compared = compare_file(Path("b.jpg"), original(generation=generation), current)
    assert compared.standing is standing
    assert compared.file == Path("b.jpg")


def test_a_later_manifest_is_told_from_the_one_that_was_seen() -> None:
    each = [None, ready(), ready(999), ready(recipe=OLD_RECIPE), rejected(1000), tombstone(1000)]
    each += [ready(rejection=refusal(GENERATION)), ready(rejection=refusal(5_000))]
    assert len({seen_in(one) for one in each}) == len(each)
    fenced = ready().model_copy(update={"fence": 1, "commit_id": "other"})
    assert seen_in(fenced) == seen_in(ready())
