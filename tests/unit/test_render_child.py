"""The child's own judgement: a picture that was decoded to its end is no longer to blame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from worker.encoding import Encoding
from worker.errors import CorruptOriginal, RenderCrashed, RenderOutOfMemory
from worker.imaging import Picture
from worker.ladder import Ladder, RungSize
from worker.render_child import _renditions
from worker.vips import pyvips, translated

ENCODING = Encoding(quality=80, effort=4, full_effort=2)


class DecodedPicture:
    """One rendition, and then an encoder that fails."""

    def renditions(self, _ladder: Ladder, _encoding: Encoding) -> Iterator[tuple[RungSize, bytes]]:
        yield RungSize(rung="320", width=1, height=1), b"webp"
        raise CorruptOriginal("webpsave: unable to encode")


def test_what_fails_after_the_decode_is_tried_again() -> None:
    renditions = _renditions(cast("Picture", DecodedPicture()), "320,full", ENCODING)
    assert next(renditions)[1] == b"webp"
    with pytest.raises(RenderCrashed, match="after the decode: webpsave"):
        next(renditions)


@pytest.mark.parametrize(
    "complaint",
    ["webpsave: unable to encode wbuffer_write: write failed", "heif: Insufficient memory"],
)
def test_an_encoder_without_memory_is_not_a_corrupt_original(complaint: str) -> None:
    with pytest.raises(RenderOutOfMemory), translated():
        raise pyvips.Error("unable to call webpsave_buffer", complaint)
