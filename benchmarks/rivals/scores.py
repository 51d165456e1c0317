"""What is left of a picture: SSIMULACRA2 of renditions, in child processes."""

from __future__ import annotations

import multiprocessing
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRendition:
    """One rung of a photo as one contender has made it with one quality."""

    photo: Path
    file: Path
    size_bytes: int
    contender: str
    quality: int
    rung: str


def score_all(
    renditions: Iterable[ScoredRendition], folder: Path, processes: int
) -> Iterator[tuple[ScoredRendition, float]]:
    """The score of each rendition, as they are finished: 100 is the same, 70 is good.

    The references are kept in `folder` while it goes on.
    """
    of_photo = defaultdict(list)
    for each in renditions:
        of_photo[each.photo].append(each)
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        asked = {}
        for number, (photo, some) in enumerate(of_photo.items()):
            files = [each.file for each in some]
            below = folder / f"references-{number}"
            references = pool.submit(make_references, photo, files, below).result()
            for each in some:
                asked[pool.submit(_score, references[each.file], each.file)] = each
        for scored in as_completed(asked):
            yield asked[scored], scored.result()


def make_references(photo: Path, files: Iterable[Path], folder: Path) -> dict[Path, Path]:
    """The original as PNG in each file's own size: contenders round the shorter side differently.

    Decoded in full and resized once; files of one size share theirs.
    """
    from benchmarks.pictures import decoded, resized, write_png
    from worker.render.image.vips import pyvips

    folder.mkdir()
    original = decoded(photo.read_bytes())
    references = {}
    for file in files:
        same = pyvips.Image.new_from_buffer(file.read_bytes(), "")
        png = folder / f"{same.width}x{same.height}.png"
        if not png.exists():
            write_png(resized(original, same.width, same.height), png)
        references[file] = png
    return references


def _score(reference: Path, file: Path) -> float:
    from benchmarks.pictures import ssimulacra2

    return ssimulacra2(reference, file.read_bytes())
