"""libvips, set up once, and its errors as the worker's. Imported in child processes only.

One thread, without a cache between pictures. Of its dozens of loaders it may use those of our
formats, and these only from memory: a path would also open `.csv` or `.v` files, and would let an
SVG read its neighbours.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

# Before the import: libvips reads these when it starts.
os.environ["VIPS_CONCURRENCY"] = "1"
os.environ["VIPS_BLOCK_UNTRUSTED"] = "1"

import pyvips

from worker.errors import CorruptOriginal, OriginalTooLarge, RenderOutOfMemory
from worker.system.sandbox import tells_of_no_memory

__all__ = ["pyvips", "translated", "version"]

pyvips.cache_set_max(0)
pyvips.operation_block_set("VipsForeignLoad", True)  # noqa: FBT003 (its signature)
for _loader in ("Jpeg", "Png", "Webp", "Nsgif", "Tiff", "Heif", "Svg"):
    pyvips.operation_block_set(f"VipsForeignLoad{_loader}Buffer", False)  # noqa: FBT003

_LIBRARY_LIMIT = re.compile(r"Security limit exceeded|beyond the \d+ (?:cumulated )?byte limit")
"""Of libheif, which files it under "memory allocation", and of libtiff (50 MB at once)."""


def version() -> str:
    """For the recipe."""
    return f"libvips-{pyvips.version(0)}.{pyvips.version(1)}.{pyvips.version(2)}"


@contextmanager
def translated() -> Iterator[None]:
    """Turn what libvips raises into the worker's errors."""
    try:
        yield
    except MemoryError as error:
        raise RenderOutOfMemory("the slot's memory limit was reached") from error
    except pyvips.Error as error:
        text = " ".join(str(error).split())
        if _LIBRARY_LIMIT.search(text):
            # Memory is not short: the file asks for too much.
            raise OriginalTooLarge(text) from error
        if tells_of_no_memory(text):
            raise RenderOutOfMemory(text) from error
        raise CorruptOriginal(text) from error
