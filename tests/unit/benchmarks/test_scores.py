"""References for scores: the original itself, at the size that a contender has made."""

from __future__ import annotations

from pathlib import Path

from benchmarks.rivals.scores import make_references
from tests.support.small_pictures import jpeg, noise

import pyvips  # isort: skip


def test_each_file_is_compared_with_a_picture_of_its_own_size(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(jpeg(noise(65, 43)))
    files = {}
    for number, size in enumerate([(32, 21), (32, 22), (32, 21), (65, 43)]):
        files[tmp_path / f"{number}.webp"] = size
    for file, size in files.items():
        file.write_bytes(noise(*size).webpsave_buffer())
    references = make_references(photo, files, tmp_path / "references")
    assert len(set(references.values())) == 3
    for file, size in files.items():
        reference = pyvips.Image.new_from_buffer(references[file].read_bytes(), "")
        assert (reference.width, reference.height) == size
