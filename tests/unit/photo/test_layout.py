"""Object names: only a photo's own objects, however the ids nest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakes import MemoryStore
from worker.photo.events import OBJECT_NAME_MAX_BYTES, PHOTO_ID_MAX_BYTES, VERSION_MAX
from worker.photo.layout import PREFIX_MAX_BYTES, Layout

LAYOUT = Layout("photos/")
DIGEST = "3fd0c1a2b4e5"

# Ids that look like what this worker writes, next to ordinary ones.
segments = st.sampled_from(
    ["a", "b", "17", f"17-{DIGEST}", "manifest.json", "320.webp", "full.webp", "0", ":", "é", "9a"]
)
photo_ids = st.lists(segments, min_size=1, max_size=4).map("/".join)
versions = st.integers(min_value=1, max_value=2**63 - 1)
digests = st.text("0123456789abcdef", min_size=12, max_size=12)
rungs = st.sampled_from(["1", "320", "16383", "full"])


def test_names_are_those_of_the_contract() -> None:
    assert LAYOUT.manifest("a/b") == "photos/a/b/manifest.json"
    assert LAYOUT.rendition("a/b", 17, DIGEST, "320") == f"photos/a/b/17-{DIGEST}/320.webp"


def test_the_longest_name_is_one_that_cloud_storage_takes() -> None:
    longest = Layout("p" * (PREFIX_MAX_BYTES - 1) + "/")
    name = longest.rendition("i" * PHOTO_ID_MAX_BYTES, VERSION_MAX, DIGEST, "16383")
    assert len(name) <= OBJECT_NAME_MAX_BYTES


@pytest.mark.parametrize(
    "name",
    [
        "photos/a/manifest.json",
        f"photos/a/b/17-{DIGEST}/320.webp",  # the photo `a/b`
        f"photos/a/17-{DIGEST}/manifest.json",  # the photo `a/17-...`
        f"photos/a/17-{DIGEST}/5-{DIGEST}/320.webp",  # a rendition of the photo `a/17-...`
        f"photos/a/17-{DIGEST}/320.webp/manifest.json",  # the photo `a/17-.../320.webp`
        f"photos/ab/17-{DIGEST}/320.webp",
        f"photos/a/17-{DIGEST}",
        f"photos/a/17-{DIGEST}/",
        f"photos/a/17-{DIGEST}/320.webp\n",
        f"photos/a/17-{DIGEST}/320.jpg",
        f"photos/a/17-{DIGEST}/0320.webp",
        f"photos/a/17-{DIGEST}/Full.webp",
        f"photos/a/017-{DIGEST}/320.webp",
        f"photos/a/0-{DIGEST}/320.webp",
        f"photos/a/17-{DIGEST.upper()}/320.webp",
        f"photos/a/17-{DIGEST}0/320.webp",
        f"photos/a/17-{DIGEST[1:]}/320.webp",
        "photos/a/17/320.webp",
        f"other/photos/a/17-{DIGEST}/320.webp",
        f"a/17-{DIGEST}/320.webp",
        f"photos/a/\u0661-{DIGEST}/320.webp",  # an Arabic 1
    ],
)
def test_what_is_not_this_photos_is_nobody_to_delete(name: str) -> None:
    assert LAYOUT.own_version("a", name) is None


def test_own_version_reads_the_version() -> None:
    assert LAYOUT.own_version("a", f"photos/a/17-{DIGEST}/320.webp") == 17
    assert LAYOUT.own_version("a", f"photos/a/9000000000000000000-{DIGEST}/full.webp") == 9 * 10**18


@given(photo_id=photo_ids, version=versions, digest=digests, rung=rungs)
def test_own_names_are_accepted_and_listed(
    photo_id: str, version: int, digest: str, rung: str
) -> None:
    name = LAYOUT.rendition(photo_id, version, digest, rung)
    assert LAYOUT.own_version(photo_id, name) == version
    prefix, start, end = LAYOUT.own_range(photo_id)
    assert name.startswith(prefix)
    assert start <= name < end


@given(mine=photo_ids, other=photo_ids, version=versions, digest=digests, rung=rungs)
def test_no_photo_owns_anothers_objects(
    mine: str, other: str, version: int, digest: str, rung: str
) -> None:
    rendition = LAYOUT.rendition(other, version, digest, rung)
    assert (LAYOUT.own_version(mine, rendition) is not None) == (mine == other)
    assert LAYOUT.own_version(mine, LAYOUT.manifest(other)) is None


@given(photos=st.sets(photo_ids, min_size=1, max_size=8), digest=digests)
def test_listing_the_own_range_finds_all_own_names_and_only_those(
    photos: set[str], digest: str
) -> None:
    store = MemoryStore(page_size=3)
    for photo_id in photos:
        store.seed("r", LAYOUT.manifest(photo_id), b"")
        for version in (1, 90):
            store.seed("r", LAYOUT.rendition(photo_id, version, digest, "full"), b"")
    for photo_id in photos:
        prefix, start, end = LAYOUT.own_range(photo_id)
        found = {
            stored.name
            for stored in store.objects("r", prefix, start=start, end=end)
            if LAYOUT.own_version(photo_id, stored.name) is not None
        }
        assert found == {LAYOUT.rendition(photo_id, one, digest, "full") for one in (1, 90)}


def test_listing_an_album_skips_most_of_its_photos() -> None:
    store = MemoryStore()
    for name in ("photos/a/IMG_1/manifest.json", "photos/a/manifest.json"):
        store.seed("r", name, b"")
    prefix, start, end = LAYOUT.own_range("a")
    assert list(store.objects("r", prefix, start=start, end=end)) == []


@pytest.mark.parametrize(
    ("prefix", "name", "is_output"),
    [
        ("photos/", "photos/a/manifest.json", True),
        ("photos/", "photos2/a.jpg", False),
        ("photos/", "photos", False),
        ("photos/", "in/photos/a.jpg", False),
        ("", "anything", True),
    ],
)
def test_own_output_is_told_from_originals(prefix: str, name: str, *, is_output: bool) -> None:
    assert Layout(prefix).is_output(name) is is_output
