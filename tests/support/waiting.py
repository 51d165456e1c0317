"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 60.0


def eventually(
    probe: Callable[[], T], what: str = "the condition", *, seconds: float = PATIENCE_SECONDS
) -> T:
    """The first true result of `probe`; fails, naming `what`, after a deadline."""
    give_up = time.monotonic() + seconds
    while not (result := probe()):
        assert time.monotonic() < give_up, f"not in {seconds:.0f} s: {what}"
        time.sleep(0.02)
    return result
