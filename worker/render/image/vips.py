"""libvips, set up once, and its errors as the worker's. Imported in child processes only.

One thread, without a cache between pictures. Of its dozens of loaders it may use those of our
formats, and these only from memory: a path would also open `.csv` or `.v` files, and would let an
SVG read its neighbours.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

# Before the import: libvips reads these when it starts.
os.environ["VIPS_CONCURRENCY"] = "1"
os.environ["VIPS_BLOCK_UNTRUSTED"] = "1"

import pyvips

from worker.errors import CorruptOriginal, OriginalTooLarge, RenderOutOfMemory, UnsupportedFormat
from worker.system.sandbox import tells_of_no_memory

__all__ = ["complaints", "forget_complaints", "pyvips", "translated", "version"]

pyvips.cache_set_max(0)
pyvips.operation_block_set("VipsForeignLoad", True)  # noqa: FBT003 (its signature)
for _loader in ("Jpeg", "Png", "Webp", "Nsgif", "Tiff", "Heif", "Svg"):
    pyvips.operation_block_set(f"VipsForeignLoad{_loader}Buffer", False)  # noqa: FBT003

_LIBRARY_LIMIT = re.compile(
    r"(?:Security|Resource) limit exceeded|beyond the \d+ (?:cumulated )?byte limit"
)
"""Of libheif, which files it under "memory allocation", libxml2, and libtiff (50 MB at once)."""


_DECODER_LIMIT = re.compile(r"Unsupported color conversion request")
"""Of libjpeg, which converts no colours of a lossless JPEG."""

_CALL = re.compile(r"^unable to (?:call \w+|write to memory)\s*")
"""Which of libvips' functions failed: of no use to whoever has the file."""

_COMPLAINTS = 4


class _Complaints(logging.Handler):
    """The last warnings of decoders, which libvips prints rather than add them to its errors.

    libpng's reasons come only here.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().removeprefix("VIPS: ")
        if text not in self.texts and not text.startswith("error in tile"):
            self.texts = [*self.texts, text][-_COMPLAINTS:]


_complaints = _Complaints()
logging.getLogger("pyvips").addHandler(_complaints)


def version() -> str:
    """For the recipe."""
    return f"libvips-{pyvips.version(0)}.{pyvips.version(1)}.{pyvips.version(2)}"


def forget_complaints() -> None:
    """Before a decode whose `complaints` are looked at."""
    pyvips.vips_lib.vips_error_clear()


def complaints() -> str:
    """What decoders warned of since; libvips fails for it only if another strip follows."""
    return str(pyvips.ffi.string(pyvips.vips_lib.vips_error_buffer()), "utf-8", "replace")


def decoders_words(text: str) -> str:
    """Return an error of libvips on one line, without the name of the function that failed."""
    return _CALL.sub("", " ".join(text.split()))


@contextmanager
def translated() -> Iterator[None]:
    """Turn what libvips raises into the worker's errors, in the decoder's words."""
    _complaints.texts = []
    try:
        yield
    except MemoryError as error:
        raise RenderOutOfMemory("the slot's memory limit was reached") from error
    except pyvips.Error as error:
        text = decoders_words(str(error))
        if _LIBRARY_LIMIT.search(text):
            # Memory is not short: the file asks for too much.
            raise OriginalTooLarge(text) from error
        if tells_of_no_memory(text):
            raise RenderOutOfMemory(text) from error
        if _DECODER_LIMIT.search(text):
            raise UnsupportedFormat(f"a variety that is not read: {text}") from error
        told = [text, *(each for each in _complaints.texts if each not in text)]
        said = "; ".join(filter(None, told))
        raise CorruptOriginal(said or "the decoder refuses it without a reason") from error
