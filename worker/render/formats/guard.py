"""What our own parsers raise on bytes that they did not expect, as the worker's error.

A mistake in a parser would otherwise look like a crash: three deliveries, each with a new child.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from worker.errors import CorruptOriginal

_P = ParamSpec("_P")
_R = TypeVar("_R")

_SURPRISES = (
    LookupError,
    ValueError,
    ArithmeticError,
    TypeError,
    AttributeError,
    RecursionError,
    EOFError,
    struct.error,
)
"""No MemoryError: that one says nothing of the file."""


def judged(parser: Callable[_P, _R]) -> Callable[_P, _R]:
    """Wrap a parser of originals; `__wrapped__` is the bare one, for tests that want its mistakes.

    Raises:
        CorruptOriginal: the parser stumbled over the file.
    """

    @wraps(parser)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return parser(*args, **kwargs)
        except _SURPRISES as error:
            message = f"its structure makes no sense ({type(error).__name__}: {error})"
            raise CorruptOriginal(message) from error

    return guarded
