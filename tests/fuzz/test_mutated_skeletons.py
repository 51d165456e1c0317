"""Mutated files through the bare parsers: each is read, or refused for good.

`FUZZ_SKELETONS` says how many (`make fuzz`: 20,000), `FUZZ_FIRST` from which number on.
"""

from __future__ import annotations

import os
import struct
import sys

import pytest

from tests.fuzz.mutations import mutated, seeds
from tests.support.skeletons import SHORT, heif, png, tiff
from worker.errors import CorruptOriginal, Permanent
from worker.photo.limits import Limits
from worker.render.formats import formats, skeleton, svg
from worker.render.formats.tiff import read_exif

FILES = int(os.environ.get("FUZZ_SKELETONS", "1500"))
FIRST = int(os.environ.get("FUZZ_FIRST", "1"))
LIMITS = Limits(max_original_bytes=sys.maxsize, max_original_pixels=20_000_000)


def pictures() -> dict[str, bytes]:
    """The sound pictures, and small skeletons in which an injury nearly always hits a field."""
    profile = struct.pack(">4sHH", b"nclx", 9, 16)
    colour = struct.pack(">I4s", 8 + len(profile), b"colr") + profile
    return {
        **seeds(),
        "heif-bare": heif(properties=colour, kinds=(b"grid", b"hvc1", b"Exif"), has=(1,)),
        "avif-bare": heif(brand=b"avif", kinds=(b"av01",)),
        "png-bare": png(),
        "tiff-bare": tiff([(0x100, SHORT, 9), (0x101, SHORT, 9), (0x10F, 2, b"Maker of it")]),
    }


@pytest.mark.timeout(60 + FILES // 20)
def test_no_parser_raises_anything_but_a_verdict() -> None:
    sound = pictures()
    for number in range(FIRST, FIRST + FILES):
        what, data = mutated(number, sound)
        try:
            read_exif(data)
            name = formats.sniff.__wrapped__(data)  # type: ignore[attr-defined]
            if name == "svg":
                svg.read_drawing.__wrapped__(data, LIMITS)  # type: ignore[attr-defined]
            else:
                skeleton.dissect.__wrapped__(name, data)  # type: ignore[attr-defined]
        except Permanent:
            continue
        except Exception as error:
            raise AssertionError(f"file {number} ({what}): {error!r}") from error


@pytest.mark.parametrize("mistake", [IndexError("list"), struct.error("unpack"), TypeError("x")])
def test_a_mistake_of_a_parser_is_the_files_fault(
    mistake: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(_data: bytes, _anatomy: skeleton.Anatomy) -> None:
        raise mistake

    monkeypatch.setitem(skeleton._WALKS, "png", stumble)
    with pytest.raises(CorruptOriginal, match="structure makes no sense"):
        skeleton.dissect("png", png())
