"""Sources: the originals that `SOURCE...` on a command line names.

Looks at names and kinds of files; whoever takes a source reads it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from worker.console.text import plain
from worker.errors import ConfigurationError, UsageFault
from worker.photo.events import check_photo_id

CONTENT_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".avif": "image/avif",
    ".heic": "image/heic",
    ".svg": "image/svg+xml",
}
"""Suffixes that a folder is searched for; a file named outright is taken whatever it is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One original to register: a file to upload first, or an object (`gs://`) that lies there."""

    photo_id: str
    file: Path | None
    url: str | None
    fault: str | None = None
    """Why a file of a folder cannot be a photo; its `photo_id` is for people then."""

    @property
    def bucket(self) -> str | None:
        """Where an object lies."""
        return self.url.removeprefix("gs://").partition("/")[0] if self.url else None


def find_sources(arguments: Iterable[str], photo_id: str | None = None) -> list[Source]:
    """What `SOURCE...` names: objects, files, and the pictures below folders.

    A file's photo id is its name, in a folder its path below that folder; the suffix stays, so
    that `a.jpg` and `a.png` do not overwrite each other. What exists and cannot be read, folders
    too, or has an impossible name in a folder, is a source as well, so that
    `EventPublisher.register` tells it.

    Raises:
        UsageFault: something is not there, or its own name is impossible, or two have one photo id.
    """
    sources = [source for argument in arguments for source in _expand(argument)]
    if photo_id is not None:
        if len(sources) != 1:
            raise UsageFault(f"--photo-id needs exactly one SOURCE, got {len(sources)}")
        sources = [Source(photo_id=photo_id, file=sources[0].file, url=sources[0].url)]
    seen: dict[str, Source] = {}
    for source in sources:
        if source.fault:
            continue
        try:
            check_photo_id(source.photo_id)
        except ValueError as error:
            where = source.file or source.url
            raise UsageFault(f"{str(where)!r} cannot be a photo: its id {error}") from error
        if source.photo_id in seen:
            one, two = (str(each.file or each.url) for each in (seen[source.photo_id], source))
            raise UsageFault(
                f"{one} and {two} would both be photo {source.photo_id!r}; register them apart"
            )
        seen[source.photo_id] = source
    return sources


def _expand(argument: str) -> Iterator[Source]:
    if argument.startswith("gs://"):
        yield _object(argument)
        return
    if not argument:
        raise UsageFault("a SOURCE is empty; name a file, a folder or gs://BUCKET/OBJECT")
    path = _at_home(argument)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageFault(f"{argument}: no such file or folder") from error
    except OSError:
        mode = stat.S_IFREG  # the upload tells why
    if stat.S_ISREG(mode):
        yield Source(photo_id=path.name, file=path, url=None)
        return
    if not stat.S_ISDIR(mode):
        raise UsageFault(f"{argument}: neither a file nor a folder")
    found = _below(path)
    if not found:
        raise UsageFault(f"{argument}: no pictures in this folder")
    for file in found:
        yield _inside(path, file)


def _inside(folder: Path, file: Path) -> Source:
    """A file below a folder, or the folder itself, which cannot be read."""
    name = folder.resolve().name if file == folder else file.relative_to(folder).as_posix()
    try:
        check_photo_id(name)
    except ValueError as error:
        fault = f"cannot be a photo: its id {error}"
        return Source(photo_id=plain(name), file=file, url=None, fault=fault)
    return Source(photo_id=name, file=file, url=None)


def _at_home(argument: str) -> Path:
    """The path with its `~` expanded, which shells leave as it is in `PHOTOS=~/x` after `make`."""
    path = Path(argument)
    try:
        return path if path.exists() else path.expanduser()
    except (OSError, RuntimeError):  # it cannot be looked at, or there is no such user
        return path


def _object(url: str) -> Source:
    bucket, _, name = url.removeprefix("gs://").partition("/")
    if bucket and (not name or name.endswith("/")):
        raise UsageFault(
            f"{url} is no object; `photo-worker backfill {url}` registers all that lie below it"
        )
    return Source(photo_id=name, file=None, url=url)


def _below(folder: Path) -> list[Path]:
    """The pictures below a folder by their suffixes, and the folders that cannot be read."""
    found: list[Path] = []

    def unreadable(error: OSError) -> None:
        found.append(Path(error.filename))

    for above, _, names in os.walk(folder, onerror=unreadable):
        files = (Path(above, name) for name in names)
        found += [file for file in files if file.suffix.lower() in CONTENT_TYPES and _opens(file)]
    return sorted(found)


def _opens(file: Path) -> bool:
    """Whether it is a file, or perhaps one; sockets and the like are none."""
    try:
        return stat.S_ISREG(file.stat().st_mode)
    except OSError:
        return True


def check_allowed(bucket: str, allowed: Collection[str]) -> None:
    """See that originals may lie in a bucket; any will do where none is `allowed` by name.

    Raises:
        ConfigurationError: workers with these settings would refuse every event.
    """
    if allowed and bucket not in allowed:
        raise ConfigurationError(
            [
                (
                    f"WORKER_ORIGINALS_BUCKETS={','.join(allowed)!r}: {bucket!r} is not among "
                    "them, so that workers refuse every event; add it"
                )
            ]
        )
