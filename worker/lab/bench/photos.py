"""The originals that a run measures: those of the command line, or samples made here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from worker.errors import Permanent, UsageFault
from worker.operate.sources import find_sources
from worker.render.formats.formats import sniff
from worker.render.formats.skeleton import dissect
from worker.system.scratch import Scratch
from worker.telemetry.logs import Log

FOLDER = "photo-worker-bench-"
"""The prefix of a run's temporary folders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """One original on this machine; `name` is its photo id.

    Width and height are in pixels as they are stored, by the file's structure; 0 where only a
    decoder can tell.
    """

    name: str
    file: Path
    size_bytes: int
    width: int
    height: int
    has_profile: bool


def read_photo(name: str, file: Path) -> Photo:
    """Read one file's structure.

    Raises:
        Permanent: the file does not have the structure of a picture.
        OSError: the file cannot be read.
    """
    data = file.read_bytes()
    anatomy = dissect(sniff(data), data)
    return Photo(
        name=name,
        file=file,
        size_bytes=len(data),
        width=anatomy.width,
        height=anatomy.height,
        has_profile=anatomy.profile_bytes > 0,
    )


@contextmanager
def open_photos(arguments: Sequence[str], log: Log) -> Iterator[list[Photo]]:
    """Find the pictures of files and folders; without arguments, the samples of `local`.

    Other files are left out with a warning, because one of them would end a run of hours.

    Raises:
        UsageFault: a source is missing or in a bucket, or everything was left out.
    """
    with ExitStack() as stack:
        if not arguments:
            from worker.lab.local.samples import write_samples

            folder = stack.enter_context(Scratch(FOLDER))
            write_samples(folder)
            arguments = [str(folder)]
        found = []
        for source in find_sources(arguments):
            if source.file is None:
                raise UsageFault(f"{source.url}: only files on this machine can be measured")
            try:
                found.append(read_photo(source.photo_id, source.file))
            except (Permanent, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                log.warning("left out: no picture", file=str(source.file), reason=reason)
        if not found:
            raise UsageFault("none of PHOTOS is a picture that can be measured")
        yield found


def write_tiny_jpeg(file: Path) -> None:
    """Write a picture of 64 x 48 pixels, to measure an event whose pixels cost almost nothing."""
    import pyvips

    across = pyvips.Image.xyz(64, 48)
    image = (across[0] * 3).bandjoin([across[1] * 4, across[0] + across[1]]).cast("uchar")
    image.copy(interpretation="srgb").jpegsave(str(file), Q=90)
