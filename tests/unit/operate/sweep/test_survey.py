"""The survey: photos out of one ordered listing, nested ids and all, in flat memory."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakes import MemoryStore
from tests.support.workers import LAYOUT, RENDITIONS
from worker.console.stop import Stop
from worker.operate.sweep.survey import PARALLEL, Survey, SurveyedPhoto
from worker.photo.layout import Owner
from worker.photo.ports import StoredObject

D = "3fd0c1a2b4e5"
IDS = ("a", "a/b", f"a/17-{D}", f"a/17-{D}/18-{D}", "a/9", "ab", "a-b", "a/b/c", "z", "0", "a.b")


def own(photo_id: str, version: int = 17, rung: str = "320") -> str:
    return LAYOUT.rendition(photo_id, version, D, rung)


def store_of(names: set[str]) -> MemoryStore:
    store = MemoryStore(page_size=3)
    for name in names:
        store.seed(RENDITIONS, name, b"x")
    return store


def surveyed(store: MemoryStore, start: str | None = None) -> list[SurveyedPhoto]:
    return list(Survey(store, RENDITIONS, LAYOUT, start).photos())


def as_map(photos: list[SurveyedPhoto]) -> dict[str, list[str]]:
    return {photo.photo_id: [each.name for each in photo.renditions] for photo in photos}


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (own("a"), Owner("a", 17)),
        (own(f"a/17-{D}", 18, "full"), Owner(f"a/17-{D}", 18)),
        (LAYOUT.manifest("a/b"), Owner("a/b", None)),
        (LAYOUT.manifest(f"a/17-{D}"), Owner(f"a/17-{D}", None)),
        (f"photos/a/17-{D}/notes.txt", None),
        (f"photos/a/17-{D}/0320.webp", None),
        ("photos/a/17-xyz/320.webp", None),
        (f"photos/17-{D}/320.webp", None),
        ("photos/manifest.json", None),
        ("photos/a/320.webp", None),
        ("elsewhere/a/manifest.json", None),
    ],
)
def test_a_name_alone_says_whose_it_is(name: str, place: Owner | None) -> None:
    assert LAYOUT.owner(name) == place


NAMES = st.sets(
    st.one_of(
        st.builds(
            own,
            st.sampled_from(IDS),
            st.sampled_from((1, 17, 18)),
            st.sampled_from(("320", "full")),
        ),
        st.builds(LAYOUT.manifest, st.sampled_from(IDS)),
        st.sampled_from(("photos/x.txt", f"photos/a/17-{D}/x.txt", "photos/a//manifest.json")),
    )
)


@given(NAMES)
def test_every_photo_is_seen_once_with_all_that_is_its_own(names: set[str]) -> None:
    expected: dict[str, list[str]] = {}
    foreign = 0
    for name in sorted(names):
        place = LAYOUT.owner(name)
        if place is None or place.photo_id.endswith("/"):
            foreign += 1
            continue
        own_names = expected.setdefault(place.photo_id, [])
        if place.version is not None:
            own_names.append(name)
    survey = Survey(store_of(names), RENDITIONS, LAYOUT)
    photos = list(survey.photos())
    assert as_map(photos) == expected
    assert len(photos) == len(expected)
    assert (survey.seen.objects, survey.seen.foreign) == (len(names), foreign)


@given(NAMES)
def test_a_survey_goes_on_where_the_last_one_stood(names: set[str]) -> None:
    store = store_of(names)
    photos = surveyed(store)
    for index, photo in enumerate(photos):
        rest = as_map(surveyed(store, photo.resume_at))
        for later in photos[index:]:
            assert rest[later.photo_id] == [each.name for each in later.renditions]


def test_memory_does_not_grow_with_the_bucket() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)

    class Endless(MemoryStore):
        def objects(self, *_: object, **__: object) -> Iterator[StoredObject]:
            yield stored(own("album"))
            for number in range(30_000):
                photo_id = f"album/{number:09}"
                yield stored(own(photo_id))
                yield stored(LAYOUT.manifest(photo_id))

    def stored(name: str) -> StoredObject:
        return StoredObject(
            bucket=RENDITIONS, name=name, generation=1, size_bytes=1, crc32c="", created=moment
        )

    survey = Survey(Endless(), RENDITIONS, LAYOUT)
    tracemalloc.start()
    try:
        photos = sum(1 for _ in survey.photos())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert photos == 30_001
    assert peak < 100_000


def test_judgements_come_in_order_and_not_far_ahead() -> None:
    store = store_of({LAYOUT.manifest(f"p{number:03}") for number in range(100)})
    begun: list[str] = []
    gate = threading.Event()

    def judge(photo: SurveyedPhoto) -> str:
        begun.append(photo.photo_id)
        gate.wait(10)
        return photo.photo_id

    survey = Survey(store, RENDITIONS, LAYOUT)
    judged = survey.judge(judge)
    gate.set()
    first = next(judged)
    assert first.result == first.photo.photo_id == "p000"
    assert first.resume_at == LAYOUT.manifest("p001")
    assert len(begun) <= PARALLEL + 2
    rest = list(judged)
    assert [each.result for each in rest] == [f"p{number:03}" for number in range(1, 100)]
    assert rest[-1].resume_at is None


def test_what_a_judge_raises_ends_the_survey() -> None:
    def judge(photo: SurveyedPhoto) -> None:
        raise LookupError(photo.photo_id)

    with pytest.raises(LookupError, match="a"):
        list(Survey(store_of({own("a")}), RENDITIONS, LAYOUT).judge(judge))


def test_a_survey_that_is_stopped_says_where_to_go_on() -> None:
    store = store_of({LAYOUT.manifest(f"p{number:03}") for number in range(100)})
    stop = Stop()
    judged = []
    for each in Survey(store, RENDITIONS, LAYOUT, stop=stop).judge(lambda photo: photo.photo_id):
        judged.append(each.result)
        stop.ask()
    assert 1 <= len(judged) <= PARALLEL + 2
    rest = [photo.photo_id for photo in surveyed(store, each.resume_at)]
    assert judged + rest == [f"p{number:03}" for number in range(100)]
