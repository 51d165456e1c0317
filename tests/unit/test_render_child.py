"""The child's own judgement: a picture that was decoded to its end is no longer to blame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from worker.errors import CorruptOriginal, RenderCrashed, RenderFailed, RenderOutOfMemory
from worker.imaging import Encoding, Picture
from worker.ladder import Ladder, RungSize
from worker.render_child import _renditions

ENCODING = Encoding(quality=80, effort=4, full_effort=2)


class DecodedPicture:
    """Encodes nothing, for this reason."""

    def __init__(self, complaint: str) -> None:
        self._complaint = complaint

    def renditions(self, _ladder: Ladder, _encoding: Encoding) -> Iterator[tuple[RungSize, bytes]]:
        yield RungSize(rung="320", width=1, height=1), b"webp"
        raise CorruptOriginal(self._complaint)


@pytest.mark.parametrize(
    ("complaint", "kind"),
    [
        ("webpsave: unable to encode wbuffer_write: write failed", RenderOutOfMemory),
        ("webpsave: unable to encode", RenderCrashed),
    ],
)
def test_what_fails_after_the_decode_is_tried_again(
    complaint: str, kind: type[RenderFailed]
) -> None:
    renditions = _renditions(cast("Picture", DecodedPicture(complaint)), "320,full", ENCODING)
    assert next(renditions)[1] == b"webp"
    with pytest.raises(kind, match="after the decode: webpsave"):
        next(renditions)
