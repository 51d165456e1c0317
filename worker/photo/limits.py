"""Limits of originals: bytes are checked before the download, pixels before the decode."""

from __future__ import annotations

from dataclasses import dataclass

from worker.errors import CorruptOriginal, OriginalTooLarge


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The largest accepted original, in stored bytes and in decoded pixels."""

    max_original_bytes: int
    max_original_pixels: int

    def check_bytes(self, size_bytes: int) -> None:
        """Refuse an original by its stored size.

        Raises:
            OriginalTooLarge: it has more than `max_original_bytes`.
            CorruptOriginal: it is empty.
        """
        if size_bytes == 0:
            raise CorruptOriginal("the original is empty (0 bytes)")
        if size_bytes > self.max_original_bytes:
            raise OriginalTooLarge(
                f"the original has {size_bytes:,} bytes, the limit is {self.max_original_bytes:,} "
                "(WORKER_MAX_ORIGINAL_BYTES)"
            )

    def check_pixels(self, width: int, height: int) -> None:
        """Refuse an original by its header, before a decoder allocates memory for it.

        Raises:
            OriginalTooLarge: it has more than `max_original_pixels`.
        """
        if width * height > self.max_original_pixels:
            raise OriginalTooLarge(
                f"the original is {width}x{height}, {width * height:,} pixels, the limit is "
                f"{self.max_original_pixels:,} (WORKER_MAX_ORIGINAL_PIXELS)"
            )
