"""An archive is a JSON Lines file of dead letters; `purge` writes it, `replay --from` reads it."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from worker.errors import InvalidArchive, UsageFault
from worker.photo.dead_letter import DeadLetter

_PAGE = 500


class Archive:
    """`replay.Letters` from a file; the file is not changed."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.arrived = 0

    def letters(self) -> Iterator[DeadLetter]:
        """Yield the letters one after the other.

        Raises:
            UsageFault: the file cannot be read.
            InvalidArchive: a line is no dead letter; the message has the line's number.
        """
        try:
            with self._file.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, start=1):
                    if line.strip():
                        yield self._letter(number, line)
        except OSError as error:
            raise UsageFault(f"cannot read the archive {self._file}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise InvalidArchive(f"{self._file}: {error}") from error

    def pages(self) -> Iterator[list[DeadLetter]]:
        """See `replay.Letters`; the whole file is read before the first page.

        Raises:
            UsageFault, InvalidArchive: see `letters`.
        """
        for _ in self.letters():
            pass
        letters = self.letters()
        while page := list(itertools.islice(letters, _PAGE)):
            yield page

    def ack(self, letters: Iterable[DeadLetter]) -> None:
        """See `replay.Letters`; the file keeps them."""

    def _letter(self, number: int, line: str) -> DeadLetter:
        try:
            letter = DeadLetter.from_dict(json.loads(line))
            # Half of a surrogate pair is valid JSON, but cannot be published.
            attributes = itertools.chain.from_iterable(letter.attributes.items())
            for text in (letter.message_id, letter.ordering_key, *attributes):
                text.encode()
        except (ValueError, TypeError, RecursionError, InvalidArchive) as error:
            raise InvalidArchive(f"{self._file}, line {number}: {error}") from error
        return letter


class ArchiveWriter:
    """Writes a new archive. Every method raises `UsageFault` if the file cannot be written."""

    def __init__(self, file: Path) -> None:
        """Create the file; an existing file is a `UsageFault`."""
        self._file = file
        self._lines: IO[str]
        try:
            # Only the user may read it: photo ids and labels may say something about people.
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise UsageFault(f"{file} exists already; name another with --archive") from error
        except OSError as error:
            raise _unwritable(file, error) from error
        self._lines = os.fdopen(descriptor, "w", encoding="utf-8")

    def write(self, letter: DeadLetter) -> None:
        """Append a letter in ASCII: UTF-8 cannot encode half of a surrogate pair in an event."""
        with self._writing():
            self._lines.write(json.dumps(letter.as_dict()) + "\n")

    def sync(self) -> None:
        """Sync the file to disk, so that it survives a crash of the machine."""
        with self._writing():
            self._lines.flush()
            os.fsync(self._lines.fileno())

    def close(self) -> None:
        """Close the file."""
        with self._writing():
            self._lines.close()

    def discard(self) -> None:
        """Remove the file."""
        self._file.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _unwritable(self._file, error) from error


def _unwritable(file: Path, error: OSError) -> UsageFault:
    return UsageFault(f"cannot write the archive {file}: {error.strerror}")
