"""Limits on originals, at their edges."""

from __future__ import annotations

import pytest

from worker.errors import CorruptOriginal, OriginalTooLarge
from worker.photo.limits import Limits

LIMITS = Limits(max_original_bytes=1000, max_original_pixels=10_000)


@pytest.mark.parametrize("size_bytes", [1, 999, 1000])
def test_sizes_up_to_the_limit_pass(size_bytes: int) -> None:
    LIMITS.check_bytes(size_bytes)


@pytest.mark.parametrize("size_bytes", [1001, 10**12])
def test_more_bytes_are_too_large(size_bytes: int) -> None:
    with pytest.raises(OriginalTooLarge, match="WORKER_MAX_ORIGINAL_BYTES"):
        LIMITS.check_bytes(size_bytes)


def test_an_empty_original_is_corrupt() -> None:
    with pytest.raises(CorruptOriginal, match="empty"):
        LIMITS.check_bytes(0)


@pytest.mark.parametrize("size", [(1, 1), (100, 100), (10_000, 1), (1, 10_000)])
def test_pixels_up_to_the_limit_pass(size: tuple[int, int]) -> None:
    LIMITS.check_pixels(*size)


@pytest.mark.parametrize("size", [(100, 101), (10_001, 1), (65_535, 65_535)])
def test_more_pixels_are_too_large(size: tuple[int, int]) -> None:
    with pytest.raises(OriginalTooLarge, match=f"{size[0]}x{size[1]}.*WORKER_MAX_ORIGINAL_PIXELS"):
        LIMITS.check_pixels(*size)
