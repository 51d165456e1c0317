"""What is left of a picture: SSIMULACRA2 of renditions, against a resize that loses nothing.

Needs the Python package `ssimulacra2`, which is no dependency. It takes about two seconds a
megapixel, so rungs are scored in child processes, and only the smaller ones.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "ssimulacra2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """One rung of a photo as one contender has made it with one quality."""

    photo: Path
    file: Path
    size_bytes: int
    contender: str
    quality: int
    rung: str


def can_score() -> bool:
    """Whether the package is there."""
    return importlib.util.find_spec(PACKAGE) is not None


def score_all(
    renditions: Iterable[Rendition], folder: Path, processes: int
) -> Iterator[tuple[Rendition, float]]:
    """The score of each rendition, as they are finished: 100 is the same, 70 is good.

    The references are kept in `folder` while it goes on.
    """
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        of_photo: dict[Path, list[Rendition]] = {}
        for each in renditions:
            of_photo.setdefault(each.photo, []).append(each)
        asked = {}
        for photo, some in of_photo.items():
            files = [str(each.file) for each in some]
            references = pool.submit(_references, str(photo), files, str(folder)).result()
            for each in some:
                asked[pool.submit(_score, references[str(each.file)], str(each.file))] = each
        for scored in as_completed(asked):
            yield asked[scored], scored.result()


def _references(photo: str, files: list[str], folder: str) -> dict[str, str]:
    """The original, decoded in full and resized once with Lanczos 3, as PNG: one for each file.

    Of the file's own size: contenders round the shorter side in different ways.
    """
    from worker.lab.bench.subject import LIMITS
    from worker.render.image.decode import open_original
    from worker.render.image.vips import pyvips

    decoded = open_original(Path(photo).read_bytes(), LIMITS).decode()
    original = decoded.image
    made: dict[tuple[int, int], str] = {}
    references = {}
    for file in files:
        same = pyvips.Image.new_from_buffer(Path(file).read_bytes(), "")
        size = same.width, same.height
        if size not in made:
            image = original
            if size != (original.width, original.height):
                image = original.resize(
                    same.width / original.width, vscale=same.height / original.height
                )
            made[size] = _png(image.pngsave_buffer(compression=1, keep="none"), folder)
        references[file] = made[size]
    return references


def _score(reference: str, file: str) -> float:
    from ssimulacra2 import compute_ssimulacra2

    from worker.render.image.vips import pyvips

    image = pyvips.Image.new_from_buffer(Path(file).read_bytes(), "")
    with tempfile.TemporaryDirectory() as folder:
        shown = _png(image.pngsave_buffer(compression=1, keep="none"), folder)
        return float(compute_ssimulacra2(reference, shown))


def _png(data: bytes, folder: str) -> str:
    handle, path = tempfile.mkstemp(suffix=".png", dir=folder)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    return path
