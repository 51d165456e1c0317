"""This module finds the originals that `SOURCE...` on a command line names. It reads only names."""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from worker.console.text import plain
from worker.errors import ConfigurationError, UsageFault
from worker.photo.endings import named_like_a_picture
from worker.photo.events import check_photo_id
from worker.system.walk import Entry, walk


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One original to register: a file to upload first, or an object (`gs://`) in its bucket."""

    photo_id: str
    file: Path | None
    url: str | None
    fault: str | None = None
    """The reason why a file cannot be a photo; then `photo_id` is only for messages."""

    @property
    def bucket(self) -> str | None:
        """Return the bucket of an object; `None` for a file."""
        return self.url.removeprefix("gs://").partition("/")[0] if self.url else None

    @property
    def where(self) -> str:
        """Return the file or the URL, for messages."""
        return str(self.file or self.url)


def find_sources(arguments: Iterable[str], photo_id: str | None = None) -> list[Source]:
    """Return what `SOURCE...` names: objects, files, and the pictures below folders.

    A file's photo id is its name, in a folder its path below that folder; the ending stays, so
    that `a.jpg` and `a.png` do not overwrite each other. Files and folders that cannot be read, or
    whose names below a folder are impossible, are sources too; `EventPublisher.register` reports
    them.

    Raises:
        UsageFault: a source does not exist or has an impossible name, or two have one photo id.
    """
    sources = [source for argument in arguments for source in _expand(argument)]
    if photo_id is not None:
        if len(sources) != 1:
            raise UsageFault(f"--photo-id needs exactly one SOURCE, got {len(sources)}")
        sources = [replace(sources[0], photo_id=photo_id)]
    seen: dict[str, Source] = {}
    for source in sources:
        if source.fault:
            continue
        try:
            check_photo_id(source.photo_id)
        except ValueError as error:
            raise UsageFault(f"{source.where!r} cannot be a photo: its id {error}") from error
        if source.photo_id in seen:
            raise UsageFault(
                f"{seen[source.photo_id].where} and {source.where} would both be photo "
                f"{source.photo_id!r}; register them apart"
            )
        seen[source.photo_id] = source
    return sources


def check_allowed(bucket: str, allowed: Collection[str]) -> None:
    """Check that originals may lie in a bucket; an empty `allowed` allows all.

    Raises:
        ConfigurationError: workers with these settings would refuse every event.
    """
    if allowed and bucket not in allowed:
        problem = (
            f"WORKER_ORIGINALS_BUCKETS={','.join(allowed)!r}: {bucket!r} is not among them, so "
            "that workers refuse every event; add it"
        )
        raise ConfigurationError([problem])


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
        mode = stat.S_IFREG  # the upload reports the error
    if stat.S_ISREG(mode):
        yield Source(photo_id=path.name, file=path, url=None)
        return
    if not stat.S_ISDIR(mode):
        raise UsageFault(f"{argument}: neither a file nor a folder")
    found = [entry for entry in walk(str(path)) if _is_source(entry)]
    if not found:
        raise UsageFault(f"{argument}: no pictures in this folder")
    for entry in found:
        yield _inside(path, entry)


def _inside(folder: Path, entry: Entry) -> Source:
    """Return the source of a file below a folder, or of a folder that cannot be read."""
    name = folder.resolve().name if entry.name == "." else entry.name
    try:
        check_photo_id(name)
    except ValueError as error:
        fault = f"cannot be a photo: its id {error}"
        return Source(photo_id=plain(name), file=Path(entry.path), url=None, fault=fault)
    return Source(photo_id=name, file=Path(entry.path), url=None)


def _at_home(argument: str) -> Path:
    """Return the path with its `~` expanded; shells do not expand it in `make PHOTOS=~/x`."""
    path = Path(argument)
    try:
        return path if path.exists() else path.expanduser()
    except (OSError, RuntimeError):  # the path cannot be read, or the user is unknown
        return path


def _object(url: str) -> Source:
    bucket, _, name = url.removeprefix("gs://").partition("/")
    if bucket and (not name or name.endswith("/")):
        raise UsageFault(
            f"{url} is no object; `photo-worker backfill {url}` registers all objects below it"
        )
    return Source(photo_id=name, file=None, url=url)


def _is_source(entry: Entry) -> bool:
    """Return True for a file with a picture's name, and for a folder that cannot be read."""
    if entry.error is not None:
        return True
    if not named_like_a_picture(entry.name):
        return False
    try:
        return stat.S_ISREG(Path(entry.path).stat().st_mode)
    except OSError:
        return True
