"""What the fakes have besides `tests/contract/test_store.py`, which they pass as well."""

from __future__ import annotations

import pytest

from tests.support.fakes import MemoryStore, Once, crc32c, raising
from worker.errors import PreconditionFailed, StorageUnavailable


def write(store: MemoryStore, name: str, data: bytes, if_generation: int) -> int:
    stored = store.write(
        "b", name, data, content_type="t", cache_control="c", if_generation=if_generation
    )
    return stored.generation


def test_crc32c_is_the_published_check_value() -> None:
    assert crc32c(b"123456789") == "4waSgw=="


@pytest.mark.parametrize("page_size", [1, 2, 3, 1000])
def test_listing_is_in_order_and_bounded(page_size: int) -> None:
    store = MemoryStore(page_size)
    for name in ("p/9", "p/1", "p/5", "q/5", "p", "p/3"):
        store.seed("b", name, b"")
    store.seed("other", "p/4", b"")
    assert [one.name for one in store.objects("b", "p/")] == ["p/1", "p/3", "p/5", "p/9"]
    assert [one.name for one in store.objects("b", "p/", start="p/3", end="p/9")] == ["p/3", "p/5"]


def test_a_fault_before_changes_nothing_and_one_after_is_a_lost_response() -> None:
    store = MemoryStore()
    store.before = Once("write", "x", raising(StorageUnavailable("before")))
    with pytest.raises(StorageUnavailable, match="before"):
        write(store, "x", b"1", 0)
    assert store.entry("b", "x") is None

    store.after = Once("write", "x", raising(StorageUnavailable("after")))
    with pytest.raises(StorageUnavailable, match="after"):
        write(store, "x", b"1", 0)
    assert store.entry("b", "x") is not None
    assert store.asked("write") == ["x", "x"]


def test_a_hook_may_use_the_store() -> None:
    store = MemoryStore()
    store.before = Once("write", "x", lambda: write(store, "x", b"another worker's", 0))
    with pytest.raises(PreconditionFailed):
        write(store, "x", b"1", 0)
    assert store.read("b", "x") is not None
