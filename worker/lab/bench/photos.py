"""Which originals a run measures: those that the command line names, or samples made here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from worker.errors import Permanent, UsageFault
from worker.operate.sources import Source, find_sources
from worker.render.formats.formats import sniff
from worker.render.formats.skeleton import Anatomy, dissect
from worker.system.scratch import Scratch
from worker.telemetry.logs import Log

FOLDER = "photo-worker-bench-"
"""What the names of a run's temporary folders begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """One original on this machine; `name` is its photo id."""

    name: str
    file: Path

    @property
    def size_bytes(self) -> int:
        """Of the file."""
        return self.file.stat().st_size

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as they are stored, by its skeleton; 0 where only a decoder can tell."""
        anatomy = self._dissect()
        return anatomy.width, anatomy.height

    @property
    def pixels(self) -> int:
        """As its skeleton says; 0 where only a decoder could tell."""
        width, height = self.size
        return width * height

    @property
    def has_profile(self) -> bool:
        """Whether it carries a colour profile."""
        return self._dissect().profile_bytes > 0

    def _dissect(self) -> Anatomy:
        try:
            return _dissect(self.file)
        except Permanent:
            return Anatomy()


@contextmanager
def open_photos(arguments: Sequence[str], log: Log) -> Iterator[list[Photo]]:
    """The pictures that files and folders hold; without any, the samples of `local`.

    What no picture can be, by its skeleton, is left out with a warning.

    Raises:
        UsageFault: something is not there, lies in a bucket, or nothing is left.
    """
    if arguments:
        yield _pictures([_local(source) for source in find_sources(arguments)], log)
        return
    from worker.lab.local.samples import write_samples

    with Scratch(FOLDER) as folder:
        write_samples(folder)
        yield [_local(source) for source in find_sources([str(folder)])]


def tiny_jpeg() -> bytes:
    """A picture of 64 x 48 pixels: what an event costs when its pixels cost nothing."""
    import pyvips

    across = pyvips.Image.xyz(64, 48)
    image = (across[0] * 3).bandjoin([across[1] * 4, across[0] + across[1]]).cast("uchar")
    return bytes(image.copy(interpretation="srgb").jpegsave_buffer(Q=90))


def _pictures(photos: Sequence[Photo], log: Log) -> list[Photo]:
    # Here, because further on one file that is none would end a run of hours.
    found = []
    for photo in photos:
        try:
            _dissect(photo.file)
        except (Permanent, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            log.warning("left out: no picture", file=str(photo.file), reason=reason)
        else:
            found.append(photo)
    if not found:
        raise UsageFault("none of PHOTOS is a picture that can be measured")
    return found


def _dissect(file: Path) -> Anatomy:
    data = file.read_bytes()
    return dissect(sniff(data), data)


def _local(source: Source) -> Photo:
    if source.file is None:
        raise UsageFault(f"{source.url}: only files on this machine can be measured")
    return Photo(name=source.photo_id, file=source.file)
